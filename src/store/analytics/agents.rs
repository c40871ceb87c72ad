//! What the agents of a user have spent.

use sqlx::FromRow;

use super::{AGENT_SUMS, Sums, currency, halves, totals, unrolled};
use crate::{
    agents::Reputation,
    analytics::{AgentPage, Spent, TopAgent},
    clock::UnixMs,
    ids::AgentId,
    store::{
        agents::{AGENTS, unsigned},
        rows::{column, corrupt},
    },
    store_error::StoreError,
};

/// What the owner's ($1) agents have spent from $4 to $9, of which $5 to $8 are whole days, and of these $6 to $7 whole eights of
/// them: a page of them, ranked by $10, and how many there are; without any on the page, that alone. The halves of an amount are
/// made one number in two parts, by which they are ordered exactly.
pub const TOP_AGENTS: &str = concat!(
    "WITH spent AS (SELECT agent_id, currency, ",
    totals!(),
    " FROM (\
        SELECT agent_id, currency, payments, amount_high, amount_low FROM agent_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $4 AND start_ms < $5 \
        UNION ALL \
        SELECT agent_id, currency, payments, amount_high, amount_low FROM agent_sums \
        WHERE owner = $1 AND span_ms = 86400000 AND start_ms >= $5 AND start_ms < $6 \
        UNION ALL \
        SELECT agent_id, currency, payments, amount_high, amount_low FROM agent_sums \
        WHERE owner = $1 AND span_ms = 691200000 AND start_ms >= $6 AND start_ms < $7 \
        UNION ALL \
        SELECT agent_id, currency, payments, amount_high, amount_low FROM agent_sums \
        WHERE owner = $1 AND span_ms = 86400000 AND start_ms >= $7 AND start_ms < $8 \
        UNION ALL \
        SELECT agent_id, currency, payments, amount_high, amount_low FROM agent_sums \
        WHERE owner = $1 AND span_ms = 3600000 AND start_ms >= $8 AND start_ms < $9 \
        UNION ALL \
        SELECT agent_id, currency, 1, amount_high, amount_low FROM (",
    unrolled!(),
    ") unrolled WHERE counted_at >= $4 AND counted_at < $9 AND state = 'settled' AND agent_id IS NOT NULL\
    ) counted GROUP BY agent_id, currency), \
    ranked AS (\
        SELECT agent_id, CAST(sum(payments) AS BIGINT) AS payments, \
            CAST(sum(CASE WHEN currency = $10 OR $10 = 'stablecoins' AND currency IN ('USDC', 'USDT', 'PYUSD') \
                THEN amount_high ELSE 0 END) AS BIGINT) AS high, \
            CAST(sum(CASE WHEN currency = $10 OR $10 = 'stablecoins' AND currency IN ('USDC', 'USDT', 'PYUSD') \
                THEN amount_low ELSE 0 END) AS BIGINT) AS low \
        FROM spent GROUP BY agent_id), \
    page AS (\
        SELECT agent_id, row_number() OVER (\
            ORDER BY high + (low >> 32) DESC, (low & 4294967295) DESC, payments DESC, agent_id) AS place \
        FROM ranked ORDER BY place LIMIT $11 OFFSET $12) \
    SELECT counted.agents, a.id, a.name, a.public_key, a.reputation_score, a.transaction_count, a.deleted_at_ms, \
        spent.currency, spent.payments, spent.amount_high, spent.amount_low \
    FROM (SELECT count(*) AS agents FROM ranked) counted LEFT JOIN page ON true \
        LEFT JOIN agents a ON a.id = page.agent_id LEFT JOIN spent ON spent.agent_id = page.agent_id \
    ORDER BY page.place"
);

/// An agent on the page and what it has spent in one currency; a row for each of its currencies.
#[derive(FromRow)]
pub(in crate::store) struct RankedRow {
    agents: i64,
    id: Option<String>,
    name: Option<String>,
    public_key: Option<String>,
    reputation_score: Option<i64>,
    transaction_count: Option<i64>,
    deleted_at_ms: Option<i64>,
    currency: Option<String>,
    payments: Option<i64>,
    amount_high: Option<i64>,
    amount_low: Option<i64>,
}

pub(in crate::store) fn ranked(rows: Vec<RankedRow>) -> Result<AgentPage, StoreError> {
    let mut page = AgentPage::default();
    for row in rows {
        page.total = unsigned(row.agents)?;
        // Without any agent on the page, nothing else is known.
        let (Some(payments), Some(amount_high), Some(amount_low)) =
            (row.payments, row.amount_high, row.amount_low)
        else {
            continue;
        };
        let spent = Spent {
            currency: currency(row.currency.as_deref().unwrap_or_default())?,
            tally: Sums { payments, amount_high, amount_low }.tally()?,
        };
        let missing = || corrupt(AGENT_SUMS, &"an agent that is not there");
        let id = AgentId::from_stored(row.id.ok_or_else(missing)?);
        match page.agents.last_mut().filter(|agent| agent.id == id) {
            Some(agent) => agent.spent.push(spent),
            None => page.agents.push(TopAgent {
                id,
                name: row.name.ok_or_else(missing)?,
                public_key: column(AGENTS, &row.public_key.ok_or_else(missing)?)?,
                reputation: Reputation {
                    score: u16::try_from(row.reputation_score.ok_or_else(missing)?)
                        .map_err(|error| corrupt(AGENTS, &error))?,
                    transaction_count: unsigned(row.transaction_count.ok_or_else(missing)?)?,
                },
                deleted_at: row.deleted_at_ms.map(UnixMs),
                spent: vec![spent],
            }),
        }
    }
    Ok(page)
}
