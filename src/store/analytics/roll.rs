//! Summing up: how far a step goes, and what it adds.

use super::halves;
use crate::{analytics::Log, clock::UnixMs, store::subscriptions::SubscribedRow, subscriptions::Subscribed};

macro_rules! rolled_until {
    () => {
        "SELECT rolled_until_ms FROM rollups WHERE name = $1"
    };
}
pub(in crate::store) use rolled_until;

pub(in crate::store) const ROLLED_UNTIL: &str = rolled_until!();

pub(in crate::store) const MOVE_ON: &str =
    "UPDATE rollups SET rolled_until_ms = $3 WHERE name = $1 AND rolled_until_ms = $2";

/// How many of the subscriptions that are due are looked at, at most.
pub(in crate::store) const DUE_LOOKED_AT: u32 = 1_000;

/// When the first of the subscriptions is due, in whose order they come, that somebody will look after. One that makes no
/// sense is left alone until it is mended, and nobody's events wait for that. Of those that were not looked at nobody knows.
pub(in crate::store) fn first_due(rows: Vec<SubscribedRow>) -> Option<i64> {
    let last = rows.get(DUE_LOOKED_AT as usize - 1).and_then(|row| row.due_at_ms);
    let mut due = rows.into_iter().map(|row| (row.due_at_ms, Subscribed::try_from(row)));
    due.find_map(|(due, read)| due.filter(|_| read.is_ok())).or(last)
}

/// How many of the next lines there are, up to a limit, and the time of the last of them.
pub const NEXT_PROOFS: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT verified_at_ms AS at_ms FROM transactions WHERE id >= $1 AND id < $2 AND source = 'proof' \
        ORDER BY id LIMIT $3) next";
pub const NEXT_ENDED: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT ended_at_ms AS at_ms FROM transactions WHERE ended_at_ms >= $1 AND ended_at_ms < $2 \
        ORDER BY ended_at_ms LIMIT $3) next";
pub const NEXT_EVENTS: &str = "\
    SELECT count(*), max(at_ms) FROM (\
        SELECT occurred_at_ms AS at_ms FROM analytics_events WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3) next";

macro_rules! spans {
    () => {
        "CROSS JOIN (SELECT 3600000 AS span_ms UNION ALL SELECT 86400000) spans"
    };
    (and eight days) => {
        "CROSS JOIN (SELECT 3600000 AS span_ms UNION ALL SELECT 86400000 UNION ALL SELECT 691200000) spans"
    };
}

macro_rules! into_payment_sums {
    ($($lines:tt)*) => {
        concat!(
            "INSERT INTO payment_sums AS kept (owner, span_ms, start_ms, state, source, currency, payments, amount_high, \
                amount_low) \
            SELECT owner, span_ms, counted_at - counted_at % span_ms, state, source, currency, count(*), \
                CAST(sum(amount_high) AS BIGINT), CAST(sum(amount_low) AS BIGINT) FROM (",
            $($lines)*,
            ") ended ",
            spans!(),
            " WHERE owner IS NOT NULL \
            GROUP BY owner, span_ms, counted_at - counted_at % span_ms, state, source, currency \
            ON CONFLICT (owner, span_ms, start_ms, state, source, currency) DO UPDATE SET \
                payments = kept.payments + excluded.payments, amount_high = kept.amount_high + excluded.amount_high, \
                amount_low = kept.amount_low + excluded.amount_low"
        )
    };
}

/// Agents' payments alone, and of these what was settled.
macro_rules! into_agent_sums {
    ($($lines:tt)*) => {
        concat!(
            "INSERT INTO agent_sums AS kept (owner, span_ms, start_ms, agent_id, currency, payments, amount_high, \
                amount_low) \
            SELECT owner, span_ms, counted_at - counted_at % span_ms, agent_id, currency, count(*), \
                CAST(sum(amount_high) AS BIGINT), CAST(sum(amount_low) AS BIGINT) FROM (",
            $($lines)*,
            ") ended ",
            spans!(and eight days),
            " WHERE owner IS NOT NULL AND agent_id IS NOT NULL AND state = 'settled' \
            GROUP BY owner, span_ms, counted_at - counted_at % span_ms, agent_id, currency \
            ON CONFLICT (owner, span_ms, start_ms, agent_id, currency) DO UPDATE SET \
                payments = kept.payments + excluded.payments, amount_high = kept.amount_high + excluded.amount_high, \
                amount_low = kept.amount_low + excluded.amount_low"
        )
    };
}

macro_rules! into_event_sums {
    ($($which:tt)*) => {
        concat!(
            "INSERT INTO event_sums AS kept (owner, span_ms, start_ms, type, events) \
            SELECT owner, span_ms, occurred_at_ms - occurred_at_ms % span_ms, type, count(*) FROM analytics_events ",
            spans!(),
            " WHERE owner IS NOT NULL AND ",
            $($which)*,
            " GROUP BY owner, span_ms, occurred_at_ms - occurred_at_ms % span_ms, type \
            ON CONFLICT (owner, span_ms, start_ms, type) DO UPDATE SET events = kept.events + excluded.events"
        )
    };
}

/// Proofs with ids from $1 to $2, and what ended from $3 to $4.
macro_rules! ended {
    () => {
        concat!(
            "SELECT owner, agent_id, verified_at_ms AS counted_at, state, source, \
                coalesce(currency, '') AS currency, ",
            halves!(),
            " FROM transactions WHERE id >= $1 AND id < $2 AND source = 'proof' \
            UNION ALL \
            SELECT owner, agent_id, ended_at_ms, state, source, coalesce(currency, ''), ",
            halves!(),
            " FROM transactions WHERE ended_at_ms >= $3 AND ended_at_ms < $4"
        )
    };
}

/// One payment ($1), if it ended before that time ($2).
macro_rules! ended_before {
    () => {
        concat!(
            "SELECT owner, agent_id, ended_at_ms AS counted_at, state, source, coalesce(currency, '') AS currency, ",
            halves!(),
            " FROM transactions WHERE id = $1 AND ended_at_ms < $2"
        )
    };
}

pub const ROLL_PAYMENTS: &str = into_payment_sums!(ended!());
pub const ROLL_AGENTS: &str = into_agent_sums!(ended!());
/// Events with ids from $1 to $2.
pub const ROLL_EVENTS: &str = into_event_sums!("id >= $1 AND id < $2");

// What has found its owner only after it was summed up as nobody's.
pub(in crate::store) const ADD_PAYMENT: &str = into_payment_sums!(ended_before!());
pub(in crate::store) const ADD_AGENT: &str = into_agent_sums!(ended_before!());
pub(in crate::store) const ADD_EVENT: &str = into_event_sums!("id = $1 AND occurred_at_ms < $2");

/// The sums of a span that begins at $1 or later. Hardly ever, so that there is no index for it.
pub(in crate::store) const fn take_back(log: Log) -> &'static str {
    match log {
        Log::Payments => "DELETE FROM payment_sums WHERE start_ms >= $1",
        Log::Agents => "DELETE FROM agent_sums WHERE start_ms >= $1",
        Log::Events => "DELETE FROM event_sums WHERE start_ms >= $1",
    }
}

/// The version before says in the settlement alone when it ended.
pub const NOTE_ENDS: &str = "\
    UPDATE transactions SET ended_at_ms = \
        (SELECT s.finished_at_ms FROM settlements s WHERE s.payment_id = transactions.id) \
    WHERE id IN (\
        SELECT t.id FROM transactions t JOIN settlements s ON s.payment_id = t.id \
        WHERE t.source = 'x402' AND t.state <> 'pending' AND t.ended_at_ms IS NULL AND s.finished_at_ms IS NOT NULL \
        LIMIT $1)";

/// How far a step goes, of the logs' next lines and their last times: all the way, unless there are more lines than that.
/// `None`: there is nothing to be summed up.
pub(in crate::store) fn step(
    from: UnixMs,
    until: UnixMs,
    limit: u32,
    next: &[(i64, Option<i64>)],
) -> Option<UnixMs> {
    if next.iter().all(|(lines, _)| *lines == 0) {
        return None;
    }
    let full = next.iter().filter(|(lines, _)| *lines >= i64::from(limit));
    let first = full.filter_map(|(_, last)| *last).min().unwrap_or(until.0);
    // Lines of one moment are summed up together, however many they are.
    Some(UnixMs(first.clamp(from.0 + 1, until.0)))
}
