//! Whether the fee payers can pay: their balances, read again and again, and the floor below which nothing is settled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use solana_pubkey::Pubkey;
use tokio::{sync::Notify, time::timeout};

use super::accounts::AccountReader;
use crate::{
    clock::{Clock, UnixMs},
    metrics::Metrics,
};

/// How often balances are read.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long after a fee was paid they are read: until it shows, and so that many payments cause one reading.
const SETTLED_DELAY: Duration = Duration::from_secs(2);
/// How long reading one balance may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without a reading a balance counts as unknown.
const STALE_AFTER: Duration = Duration::from_mins(2);
/// A balance below so many times the floor is getting low.
const LOW_FACTOR: u64 = 2;

/// How a fee payer's balance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funds {
    Enough,
    /// Settling goes on, but not for long. Lamports.
    Low(u64),
    /// Below the floor: nothing is settled. Lamports.
    Short(u64),
    /// Not read yet, or not for a while.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    lamports: u64,
    at: UnixMs,
}

/// The fee payers' balances as they were last read.
#[derive(Debug)]
pub struct FeePayerFunds {
    addresses: Vec<Pubkey>,
    /// Lamports.
    floor: u64,
    readings: Mutex<HashMap<Pubkey, Reading>>,
    accounts: Arc<dyn AccountReader>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    wake: Notify,
}

impl FeePayerFunds {
    /// `floor` is in lamports.
    #[must_use]
    pub fn new(
        addresses: Vec<Pubkey>,
        floor: u64,
        accounts: Arc<dyn AccountReader>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.solana.fee_payer_floor(floor);
        let (readings, wake) = (Mutex::default(), Notify::new());
        Self { addresses, floor, readings, accounts, clock, metrics, wake }
    }

    /// Reads the balances now and then, from now on.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.read_all().await;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.wake.notified() => tokio::time::sleep(SETTLED_DELAY).await,
            }
        }
    }

    /// Has the balances read soon: a fee has just been paid. Asking often meanwhile asks once.
    pub fn changed(&self) {
        self.wake.notify_one();
    }

    /// Reads every balance. One that cannot be read stays as it was.
    pub async fn read_all(&self) {
        for address in &self.addresses {
            let name = address.to_string();
            match timeout(READ_TIMEOUT, self.accounts.balance(address)).await {
                Ok(Ok(lamports)) => {
                    self.keep(*address, lamports);
                    self.metrics.solana.fee_payer_balance(&name, lamports, lamports >= self.floor);
                }
                Ok(Err(error)) => {
                    self.metrics.solana.fee_payer_balance_error(&name);
                    let cause = &error as &dyn std::error::Error;
                    tracing::warn!(fee_payer = name, error = cause, "the balance cannot be read");
                }
                Err(_) => {
                    self.metrics.solana.fee_payer_balance_error(&name);
                    tracing::warn!(fee_payer = name, "the balance cannot be read in time");
                }
            }
        }
    }

    fn keep(&self, address: Pubkey, lamports: u64) {
        let reading = Reading { lamports, at: self.clock.now() };
        let before = self.readings.lock().unwrap_or_else(PoisonError::into_inner).insert(address, reading);
        let was_enough = before.is_none_or(|before| before.lamports >= self.floor);
        if lamports < self.floor && was_enough {
            let floor = self.floor;
            tracing::error!(fee_payer = %address, lamports, floor, "the fee payer runs dry: nothing is settled");
        }
    }

    /// How a fee payer stands. One that was short when it was last read is short until it is read again.
    #[must_use]
    pub fn of(&self, address: &Pubkey) -> Funds {
        let reading = self.readings.lock().unwrap_or_else(PoisonError::into_inner).get(address).copied();
        match reading {
            Some(Reading { lamports, .. }) if lamports < self.floor => Funds::Short(lamports),
            Some(Reading { at, .. }) if at + STALE_AFTER < self.clock.now() => Funds::Unknown,
            Some(Reading { lamports, .. }) if lamports < self.floor.saturating_mul(LOW_FACTOR) => {
                Funds::Low(lamports)
            }
            Some(_) => Funds::Enough,
            None => Funds::Unknown,
        }
    }

    /// Whether fees of this fee payer may be spent. A balance that is unknown stops nothing: that would make a node that
    /// cannot be read as bad as an empty purse, and the chain judges either way.
    #[must_use]
    pub fn allow_settling(&self, address: &Pubkey) -> bool {
        !matches!(self.of(address), Funds::Short(_))
    }

    /// The fee payers, each with how it stands.
    pub fn overview(&self) -> impl Iterator<Item = (Pubkey, Funds)> {
        self.addresses.iter().map(|address| (*address, self.of(address)))
    }
}
