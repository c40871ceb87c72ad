//! What happened, and how often.

use sqlx::FromRow;

use super::EVENT_SUMS;
use crate::{
    analytics::{Event, TypeCount},
    clock::UnixMs,
    ids::{AgentId, EventId, PaymentId, SubscriptionId},
    store::rows::corrupt,
    store_error::StoreError,
};

/// The types of the owner's ($1) events, each found by one look into the index.
macro_rules! types {
    () => {
        "WITH RECURSIVE types (type) AS (\
            SELECT min(type) FROM analytics_events WHERE owner = $1 \
            UNION ALL \
            SELECT (SELECT min(e.type) FROM analytics_events e WHERE e.owner = $1 AND e.type > types.type) \
            FROM types WHERE types.type IS NOT NULL) "
    };
}
pub(in crate::store) use types;

/// The owner's ($1) events from $3 to $6, of which $4 to $5 are whole days, by type; not summed up from an id ($2) on.
pub const COUNT_EVENTS: &str = concat!(
    types!(),
    "SELECT type, CAST(sum(events) AS BIGINT) AS events FROM (\
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $3 AND start_ms < $4 \
        UNION ALL \
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 86400000 AND start_ms >= $4 AND start_ms < $5 \
        UNION ALL \
        SELECT type, events FROM event_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $5 AND start_ms < $6 \
        UNION ALL \
        SELECT types.type, (SELECT count(*) FROM analytics_events e WHERE e.owner = $1 AND e.type = types.type \
            AND e.id >= $2 AND e.occurred_at_ms >= $3 AND e.occurred_at_ms < $6) \
        FROM types WHERE types.type IS NOT NULL\
    ) counted GROUP BY type HAVING sum(events) > 0"
);

macro_rules! event_columns {
    () => {
        "SELECT id, type, payment_id, agent_id, subscription_id, occurred_at_ms FROM analytics_events WHERE id IN "
    };
}
pub(in crate::store) use event_columns;

/// A page of the owner's ($1) events of a type ($2), with ids from $3 to $4. Those left out are only read in the index.
pub const LIST_EVENTS: &str = concat!(
    event_columns!(),
    "(SELECT id FROM analytics_events WHERE owner = $1 AND type = $2 AND id >= $3 AND id < $4 \
        ORDER BY id DESC LIMIT $5 OFFSET $6) ORDER BY id DESC"
);

#[derive(FromRow)]
pub(in crate::store) struct EventRow {
    id: String,
    #[sqlx(rename = "type")]
    kind: String,
    payment_id: Option<String>,
    agent_id: Option<String>,
    subscription_id: Option<String>,
    occurred_at_ms: i64,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: EventId::from_stored(row.id),
            kind: row.kind,
            payment: row.payment_id.map(PaymentId::from_stored),
            agent: row.agent_id.map(AgentId::from_stored),
            subscription: row.subscription_id.map(SubscriptionId::from_stored),
            occurred_at: UnixMs(row.occurred_at_ms),
        }
    }
}

pub(in crate::store) fn type_counts(rows: Vec<(String, i64)>) -> Result<Vec<TypeCount>, StoreError> {
    let count = |(kind, events)| {
        let events = u64::try_from(events).map_err(|error| corrupt(EVENT_SUMS, &error))?;
        Ok(TypeCount { kind, events })
    };
    let mut counts: Vec<TypeCount> = rows.into_iter().map(count).collect::<Result<_, _>>()?;
    // Whatever the database thinks of the order of texts.
    counts.sort_by(|one, other| one.kind.cmp(&other.kind));
    Ok(counts)
}
