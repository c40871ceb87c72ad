//! Settlements in both databases: the statements and what their rows mean.

mod transactions;

use sqlx::FromRow;

pub(super) use transactions::settlement_transactions;

use super::rows::{amount, column, corrupt};
use crate::{
    calendar::Day,
    clock::UnixMs,
    ids::{AgentId, PaymentId},
    money::Currency,
    payments::settlement::{
        Claimed, Ending, Finished, InFlight, MessageHash, Record, SettlementState, Sponsored, TermsHash,
    },
    store_error::StoreError,
};

pub(super) const SETTLEMENTS: &str = "settlements";
pub(super) const SPONSORED_LAMPORTS: &str = "sponsored_lamports";

macro_rules! record_columns {
    () => {
        "s.message, s.terms, s.state, s.failure, s.journalled_at_ms, s.last_valid_height, s.fee_lamports, \
         s.payment_id, s.signature, t.payer, t.amount, t.slot, t.currency, t.agent_id"
    };
}

/// Takes a message that is free, or whose claimant's lease has run out with nothing journalled.
pub(super) const CLAIM: &str = "\
    INSERT INTO settlements AS kept (message, terms, state, holder, attempt, lease_until_ms, claimed_at_ms) \
    VALUES ($1, $2, 'claimed', $3, $4, $5, $6) \
    ON CONFLICT (message) DO UPDATE SET \
        terms = excluded.terms, holder = excluded.holder, attempt = excluded.attempt, \
        lease_until_ms = excluded.lease_until_ms, claimed_at_ms = excluded.claimed_at_ms \
    WHERE kept.state = 'claimed' \
        AND (kept.lease_until_ms < excluded.claimed_at_ms OR kept.attempt = excluded.attempt)";

pub const FIND_SETTLEMENT: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM settlements s LEFT JOIN transactions t ON t.id = s.payment_id WHERE s.message = $1"
);

pub const FIND_SETTLEMENT_BY_SIGNATURE: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM settlements s LEFT JOIN transactions t ON t.id = s.payment_id WHERE s.signature = $1"
);

pub(super) const ABANDON: &str =
    "DELETE FROM settlements WHERE message = $1 AND attempt = $2 AND state = 'claimed'";

/// The unique constraints decide whether another payment has the transaction.
pub(super) const ENTER_PENDING: &str = "\
    INSERT INTO transactions (id, state, owner, signature, payer, recipient, currency, amount, resource, network, \
        verified_at_ms, source, asset, last_valid_height, agent_id) \
    VALUES ($1, 'pending', $2, $3, $4, $5, $6, $7, $8, $9, $10, 'x402', $11, $12, $13) ON CONFLICT DO NOTHING";

pub(super) const JOURNAL: &str = "\
    UPDATE settlements SET state = 'pending', holder = $3, lease_until_ms = $4, payment_id = $5, signature = $6, \
        fee_payer = $7, x402_version = $8, last_valid_height = $9, key_id = $10, fee_lamports = $11, \
        journalled_at_ms = $12, bytes = $13 \
    WHERE message = $1 AND attempt = $2 AND state = 'claimed'";

/// Reserves a fee unless that would be more than the cap.
pub(super) const RESERVE_FEE: &str = "\
    INSERT INTO sponsored_lamports AS kept (day, key_id, reserved, spent) SELECT $1, $2, $3, 0 WHERE $3 <= $4 \
    ON CONFLICT (day, key_id) DO UPDATE SET reserved = kept.reserved + excluded.reserved \
    WHERE kept.reserved + kept.spent + excluded.reserved <= $4";

pub(super) const RELEASE_FEE: &str = "\
    UPDATE sponsored_lamports SET reserved = reserved - $3, spent = spent + $4 WHERE day = $1 AND key_id = $2";

pub(super) const SPONSORED: &str =
    "SELECT reserved, spent FROM sponsored_lamports WHERE day = $1 AND key_id = $2";

/// The first to end a settlement finds it pending.
pub(super) const END: &str = "\
    UPDATE settlements SET state = $2, failure = $3, finished_at_ms = $4, bytes = NULL \
    WHERE message = $1 AND state = 'pending' RETURNING payment_id, key_id, fee_lamports, journalled_at_ms";

pub(super) const END_PAYMENT: &str =
    "UPDATE transactions SET state = $2, slot = $3, ended_at_ms = $4 WHERE id = $1 RETURNING owner, agent_id";

pub(super) const ADOPT: &str = "\
    UPDATE transactions SET owner = $3 WHERE owner IS NULL \
        AND id = (SELECT payment_id FROM settlements WHERE message = $1 AND terms = $2) \
    RETURNING id, state, payer, currency, amount, verified_at_ms";

pub const ADOPT_EVENTS: &str = "\
    UPDATE analytics_events SET owner = $2, agent_id = $3 WHERE payment_id = $1 AND owner IS NULL RETURNING id";

pub(super) const ADOPT_AGENT: &str = "UPDATE transactions SET agent_id = $2 WHERE id = $1";

/// A payment that has found its owner.
#[derive(FromRow)]
pub(super) struct AdoptedRow {
    pub id: String,
    pub state: String,
    pub payer: String,
    pub currency: Option<String>,
    pub amount: i64,
    pub verified_at_ms: i64,
}

pub(super) const TELL_END: &str = "\
    INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms, agent_id) \
    VALUES ($1, $2, $3, $4, $5, $6)";

pub const LAPSED_SETTLEMENTS: &str = "\
    SELECT message FROM settlements WHERE state = 'pending' AND lease_until_ms < $1 \
    ORDER BY lease_until_ms LIMIT $2";

/// The outer condition holds off a claim that is taken anew while the batch is picked.
pub const FORGET_CLAIMS: &str = "\
    DELETE FROM settlements WHERE state = 'claimed' AND lease_until_ms < $1 AND message IN (\
        SELECT message FROM settlements WHERE state = 'claimed' AND lease_until_ms < $1 \
        ORDER BY lease_until_ms LIMIT $2)";

/// The UTC day, in days since the epoch.
pub(super) const fn day(at: UnixMs) -> i64 {
    Day::of(at).0
}

/// What a key's fees are kept under, or everyone's.
pub(super) fn subject(key_id: Option<&str>) -> &str {
    key_id.unwrap_or_default()
}

/// A number as a column holds it. Past 2^63 it is cut off: such a height or fee is beyond anything real.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|error| corrupt(SETTLEMENTS, &error))
}

fn hash(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| corrupt(SETTLEMENTS, &"a hash of another length"))
}

/// A settlement and its payment. All that the journal adds is null before.
#[derive(FromRow)]
pub(super) struct SettlementRow {
    message: Vec<u8>,
    terms: Vec<u8>,
    state: String,
    failure: Option<String>,
    journalled_at_ms: Option<i64>,
    last_valid_height: Option<i64>,
    fee_lamports: Option<i64>,
    payment_id: Option<String>,
    signature: Option<String>,
    payer: Option<String>,
    amount: Option<i64>,
    slot: Option<i64>,
    currency: Option<String>,
    agent_id: Option<String>,
}

/// A journalled settlement, as its row reads.
pub(super) struct Booked {
    terms: TermsHash,
    record: Record,
    fee_lamports: u64,
    currency: Option<Currency>,
    agent: Option<AgentId>,
}

impl SettlementRow {
    /// `None` for a claim.
    pub(super) fn booked(self) -> Result<Option<Booked>, StoreError> {
        if self.state == "claimed" {
            return Ok(None);
        }
        let state = self.settlement_state()?;
        let missing = || corrupt(SETTLEMENTS, &"a journal entry is incomplete");
        let record = Record {
            message: MessageHash(hash(self.message)?),
            payment: PaymentId::from_stored(self.payment_id.ok_or_else(missing)?),
            signature: column(SETTLEMENTS, &self.signature.ok_or_else(missing)?)?,
            payer: column(SETTLEMENTS, &self.payer.ok_or_else(missing)?)?,
            amount: amount(SETTLEMENTS, self.amount.ok_or_else(missing)?)?,
            journalled_at: UnixMs(self.journalled_at_ms.ok_or_else(missing)?),
            last_valid_block_height: unsigned(self.last_valid_height.ok_or_else(missing)?)?,
            state,
        };
        let fee_lamports = unsigned(self.fee_lamports.ok_or_else(missing)?)?;
        Ok(Some(Booked {
            terms: TermsHash(hash(self.terms)?),
            record,
            fee_lamports,
            currency: self.currency.map(|currency| column(SETTLEMENTS, &currency)).transpose()?,
            agent: self.agent_id.map(AgentId::from_stored),
        }))
    }

    fn settlement_state(&self) -> Result<SettlementState, StoreError> {
        let slot = || {
            let slot = self.slot.ok_or_else(|| corrupt(SETTLEMENTS, &"a landed settlement has no slot"))?;
            unsigned(slot)
        };
        Ok(SettlementState::Ended(match self.state.as_str() {
            "pending" => return Ok(SettlementState::Pending),
            "settled" => Ending::Settled { slot: slot()? },
            "failed" => Ending::Failed { slot: slot()?, reason: self.failure.clone().unwrap_or_default() },
            "expired" => Ending::Expired,
            other => return Err(corrupt(SETTLEMENTS, &format!("state {other}"))),
        }))
    }
}

/// What stands under a message that could not be claimed. A row that is gone was given back a moment ago: whoever looks
/// again finds it free.
pub(super) fn claimed(row: Option<SettlementRow>, terms: TermsHash) -> Result<Claimed, StoreError> {
    let booked = row.map(SettlementRow::booked).transpose()?.flatten();
    Ok(match booked {
        None => Claimed::Verifying,
        Some(booked) if booked.terms == terms => Claimed::Booked(Box::new(booked.record)),
        Some(_) => Claimed::OtherTerms,
    })
}

pub(super) fn record(row: Option<SettlementRow>) -> Result<Option<Record>, StoreError> {
    Ok(row.map(SettlementRow::booked).transpose()?.flatten().map(|booked| booked.record))
}

pub(super) fn finished(row: Option<SettlementRow>, first: bool) -> Result<Option<Finished>, StoreError> {
    let booked = row.map(SettlementRow::booked).transpose()?.flatten();
    Ok(booked.map(|booked| Finished {
        record: booked.record,
        first,
        reserved_lamports: booked.fee_lamports,
        agent: booked.agent,
        currency: booked.currency,
    }))
}

#[derive(FromRow)]
pub(super) struct InFlightRow {
    message: Vec<u8>,
    terms: Vec<u8>,
    signature: String,
    bytes: Vec<u8>,
    last_valid_height: i64,
    journalled_at_ms: i64,
}

impl TryFrom<InFlightRow> for InFlight {
    type Error = StoreError;

    fn try_from(row: InFlightRow) -> Result<Self, StoreError> {
        Ok(Self {
            message: MessageHash(hash(row.message)?),
            terms: TermsHash(hash(row.terms)?),
            signature: column(SETTLEMENTS, &row.signature)?,
            transaction: row.bytes.into(),
            last_valid_block_height: unsigned(row.last_valid_height)?,
            journalled_at: UnixMs(row.journalled_at_ms),
        })
    }
}

/// Those that can be read: what is wrong with one keeps no other from its end.
pub(super) fn in_flight(rows: Vec<InFlightRow>) -> Vec<InFlight> {
    let read = |row: InFlightRow| {
        let signature = row.signature.clone();
        InFlight::try_from(row)
            .inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    signature,
                    "a settlement is left alone"
                );
            })
            .ok()
    };
    rows.into_iter().filter_map(read).collect()
}

pub(super) fn messages(rows: Vec<Vec<u8>>) -> Result<Vec<MessageHash>, StoreError> {
    rows.into_iter().map(|row| hash(row).map(MessageHash)).collect()
}

/// No row: nothing was sponsored.
pub(super) fn sponsored(row: Option<(i64, i64)>) -> Result<Sponsored, StoreError> {
    let (reserved, spent) = row.unwrap_or_default();
    Ok(Sponsored { reserved: unsigned(reserved)?, spent: unsigned(spent)? })
}
