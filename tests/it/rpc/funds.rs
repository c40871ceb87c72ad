//! The fee payers' balances, watched.

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::funds::{FeePayerFunds, Funds},
    clock::Clock,
    sandbox::faults::{ALWAYS, ANY},
    shutdown::Shutdown,
};
use serde_json::json;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use crate::harness::{TestApp, wire::PATIENCE};

const FLOOR: u64 = 10_000_000;

struct Purse {
    cluster: Cluster,
    address: Pubkey,
    funds: FeePayerFunds,
}

impl Purse {
    /// A fee payer with so many lamports, read once.
    async fn with(lamports: u64) -> Self {
        let cluster = Cluster::start(1).await;
        let address = Pubkey::new_unique();
        let clock: Arc<dyn Clock> = cluster.chain.clock.clone();
        let funds = FeePayerFunds::new(
            vec![address],
            FLOOR,
            Arc::new(cluster.rpc.clone()),
            clock,
            Arc::clone(&cluster.metrics),
        );
        let purse = Self { cluster, address, funds };
        purse.add(lamports).await;
        purse
    }

    async fn add(&self, lamports: u64) {
        if lamports > 0 {
            self.cluster.chain.sandbox.airdrop(&self.address, lamports).unwrap();
            self.cluster.chain.sandbox.advance_slots(1);
        }
        self.funds.read_all().await;
    }

    fn state(&self) -> (Funds, bool) {
        (self.funds.of(&self.address), self.funds.allow_settling(&self.address))
    }

    fn sample(&self, name: &str) -> Option<f64> {
        self.cluster.sample(&format!(r#"{name}{{fee_payer="{}"}}"#, self.address))
    }
}

#[tokio::test]
async fn from_short_to_enough() {
    let purse = Purse::with(0).await;
    assert_eq!(purse.state(), (Funds::Short(0), false), "an account that is not there has nothing");
    assert_eq!(purse.sample("fee_payer_up"), Some(0.0));
    purse.add(FLOOR - 1).await;
    assert_eq!(purse.state(), (Funds::Short(FLOOR - 1), false));
    purse.add(1_000_000).await;
    assert_eq!(purse.state(), (Funds::Low(FLOOR + 999_999), true));
    assert_eq!(purse.sample("fee_payer_up"), Some(1.0));
    purse.add(FLOOR).await;
    assert_eq!(purse.state(), (Funds::Enough, true));
    assert_eq!(purse.sample("fee_payer_balance_lamports"), Some(20_999_999.0));
    assert_eq!(purse.cluster.sample("fee_payer_floor_lamports"), Some(10_000_000.0));
}

/// A balance that cannot be read is not zero: what was read last stands, and after a while nobody knows.
#[tokio::test]
async fn a_failed_reading_changes_nothing() {
    let purse = Purse::with(1_000_000_000).await;
    purse.cluster.faults(0).error(ANY, -32603, "internal error", ALWAYS);
    purse.funds.read_all().await;
    assert_eq!(purse.state(), (Funds::Enough, true));
    assert_eq!(purse.sample("fee_payer_balance_lamports"), Some(1e9));
    assert_eq!(purse.sample("fee_payer_balance_errors_total"), Some(1.0));
    purse.cluster.chain.clock.advance(Duration::from_secs(121));
    assert_eq!(purse.state(), (Funds::Unknown, true));
    purse.cluster.faults(0).clear();
    purse.funds.read_all().await;
    assert_eq!(purse.state(), (Funds::Enough, true));
}

#[tokio::test]
async fn a_purse_that_was_short_stays_short_until_it_is_read_again() {
    let purse = Purse::with(FLOOR - 1).await;
    purse.cluster.chain.clock.advance(Duration::from_hours(1));
    assert_eq!(purse.state(), (Funds::Short(FLOOR - 1), false));
}

#[tokio::test]
async fn a_balance_nobody_has_read_is_unknown() {
    let purse = Purse::with(0).await;
    let never = Pubkey::new_unique();
    assert_eq!((purse.funds.of(&never), purse.funds.allow_settling(&never)), (Funds::Unknown, true));
}

/// The balance is read without being asked for, and again soon after a fee was paid.
#[tokio::test]
async fn balances_are_read_at_the_start_and_after_a_fee() {
    let Purse { cluster, address, funds } = Purse::with(FLOOR - 1).await;
    let (funds, shutdown) = (Arc::new(funds), Shutdown::default());
    shutdown.keep_going(Arc::clone(&funds), FeePayerFunds::run);
    let until = async |wanted: Funds| {
        while funds.of(&address) != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    while cluster.calls("getBalance") < vec![2] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.chain.sandbox.airdrop(&address, 1_000_000_000).unwrap();
    cluster.chain.sandbox.advance_slots(1);
    funds.changed();
    // Sooner than the next round.
    tokio::time::timeout(Duration::from_secs(12), until(Funds::Enough)).await.unwrap();
    shutdown.begin();
}

async fn fee_payer(app: &TestApp) -> (u16, serde_json::Value, serde_json::Value) {
    let ready = app.get("/ready", None).await;
    (ready.status, ready.body["components"]["fee_payer"].clone(), ready.body["degraded"].clone())
}

#[tokio::test]
async fn ready_says_that_nothing_is_configured() {
    let app = TestApp::start().await;
    let (status, fee_payer, degraded) = fee_payer(&app).await;
    assert_eq!((status, &fee_payer["status"], degraded), (200, &json!("up"), json!([])));
    assert!(fee_payer["detail"].as_str().unwrap().starts_with("not configured"), "{fee_payer}");
}

/// Asks until the fee payer's balance has been read.
async fn once_read(app: &TestApp) -> (u16, serde_json::Value, serde_json::Value) {
    loop {
        let told = fee_payer(app).await;
        if !told.1["detail"].as_str().unwrap().contains("cannot be read") {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn ready_says_how_the_fee_payer_is() {
    for (floor, expected, word) in [
        ("10000000", "up", "can pay"),
        ("60000000000", "degraded", "low"),
        ("200000000000", "degraded", "SOL"),
    ] {
        let app = TestApp::with(|environment, chain| {
            let key = chain.sandbox.wallets().fee_payer.to_base58_string();
            environment.with("FEE_PAYER_KEYPAIR", key).with("FEE_PAYER_MIN_LAMPORTS", floor)
        })
        .await;
        let (status, told, _) = once_read(&app).await;
        assert_eq!((status, &told["status"]), (200, &json!(expected)), "{told}");
        assert!(told["detail"].as_str().unwrap().contains(word), "{told}");
        let address = app.chain.sandbox.wallets().fee_payer.pubkey();
        let series = format!(r#"fee_payer_balance_lamports{{fee_payer="{address}"}}"#);
        assert!((app.metric(&series).await - 1e11).abs() < 1.0);
    }
}

/// Nobody says that it was topped up, and nothing is settled that would have it read.
#[tokio::test]
async fn a_purse_is_read_again_and_again() {
    let Purse { cluster, address, funds } = Purse::with(FLOOR - 1).await;
    let (funds, shutdown) = (Arc::new(funds), Shutdown::default());
    assert_eq!(funds.of(&address), Funds::Short(FLOOR - 1));
    shutdown.keep_going(Arc::clone(&funds), FeePayerFunds::run);
    // As at the start.
    let deadline = Instant::now() + PATIENCE;
    while cluster.calls("getBalance")[0] < 2 {
        assert!(Instant::now() < deadline, "it is not read");
        sleep(Duration::from_millis(20)).await;
    }
    cluster.chain.sandbox.airdrop(&address, FLOOR).unwrap();
    cluster.chain.sandbox.advance_slots(1);
    while funds.of(&address) != Funds::Low(2 * FLOOR - 1) {
        assert!(Instant::now() < deadline, "it is not read again: {:?}", funds.of(&address));
        sleep(Duration::from_millis(20)).await;
    }
    shutdown.begin();
}
