//! Recording a batch of payments: one statement, which is one transaction and one round trip, whatever the batch's
//! size. Payments with consequences are booked one by one by the same statement, all in one transaction.
//!
//! The unique constraints decide. A payment whose nonce or transaction is in the books, is being written by somebody
//! else, or comes earlier in the batch is left out, and its neighbours are not touched by that.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::{Lease, PostgresStore, sqlstate};
use crate::{
    ids::{AgentId, EventId},
    payments::{Payment, RecordOutcome, Used},
    store::rows::{slot, units},
};

/// How often a batch is tried.
const ATTEMPTS: u32 = 3;

/// Rows go in by signature, so that two instances with the same payments wait for each other in the same order. Orders
/// that cross over by their nonces are still possible: there PostgreSQL ends one of the two, which is tried again.
const RECORD: &str = r#"
WITH new AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::text[], $8::text[], $9::bigint[],
        $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::text[]
    ) AS new (id, owner, signature, nonce, meets_requirement, payer, recipient, currency, amount, resource, network,
        slot, block_time_ms, verified_at_ms, request_tag, event_id, agent_id)
), recorded AS (
    INSERT INTO transactions (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency,
        amount, resource, network, slot, block_time_ms, verified_at_ms, request_tag, agent_id)
    SELECT id, 'settled', owner, signature, nonce, CASE WHEN meets_requirement THEN nonce END, payer, recipient,
        currency, amount, resource, network, slot, block_time_ms, verified_at_ms, request_tag, agent_id
    FROM new ORDER BY signature COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING id
), used AS (
    INSERT INTO nonces (nonce, payment_id, used_at_ms)
    SELECT nonce, id, verified_at_ms FROM new JOIN recorded USING (id)
), told AS (
    INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms, agent_id)
    SELECT event_id, 'payment.verified', owner, id, verified_at_ms, agent_id FROM new JOIN recorded USING (id)
)
SELECT id FROM recorded"#;

/// What the service settles has no nonce.
const RIVALS: &str = "\
    SELECT id, signature, coalesce(nonce, '') FROM transactions WHERE signature = ANY ($1) OR nonce = ANY ($2)";

mod transactions {
    use sqlx::PgConnection;

    use super::super::decisions::{capture, lock_agent, so_far};

    crate::store::consequences::consequential_transactions!(
        PgConnection,
        "BEGIN",
        super::book,
        crate::store::postgres::subscriptions::transactions
    );
}

/// How payments are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    WithConsequences,
}

/// One payment, within a database transaction.
async fn book(connection: &mut PgConnection, payment: &Payment) -> Result<RecordOutcome, sqlx::Error> {
    let outcomes = record(connection, std::slice::from_ref(payment), false).await?;
    Ok(outcomes[0])
}

impl PostgresStore {
    /// One outcome for each payment, in their order. `None`: the answer to a commit was lost and nothing could be
    /// learnt since.
    pub(super) async fn record_batch(
        &self,
        kind: Kind,
        payments: &[Payment],
    ) -> Result<Option<Vec<RecordOutcome>>, sqlx::Error> {
        let mut in_doubt = false;
        for attempt in 1..=ATTEMPTS {
            let recorded = match Lease::from(&self.pool).await {
                Ok(mut lease) => {
                    let recorded = match kind {
                        Kind::Plain => record(&mut lease, payments, in_doubt).await,
                        Kind::WithConsequences => transactions::record(&mut lease, payments, in_doubt).await,
                    };
                    lease.end(recorded)
                }
                // Nothing was sent; what may have been committed before stays in doubt.
                Err(_) if in_doubt => return Ok(None),
                Err(error) => return Err(error),
            };
            match recorded {
                Ok(outcomes) => return Ok(Some(outcomes)),
                Err(error) if is_lost_connection(&error) => in_doubt = true,
                Err(error) if is_aborted(&error) && attempt < ATTEMPTS => {}
                Err(_) if in_doubt => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Deadlocks and failed serializations: nothing was written.
fn is_aborted(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some_and(|code| matches!(code.as_str(), "40001" | "40P01"))
}

/// Connections that were lost, be it after the commit.
fn is_lost_connection(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_))
        || sqlstate(error).is_some_and(|code| {
            matches!(code.as_str(), "57P01" | "57P02" | "57P03") || code.starts_with("08")
        })
}

/// `in_doubt`: an attempt before this one may have been committed. Ids are random, so a row with a payment's own id
/// says that it was.
async fn record(
    connection: &mut PgConnection,
    payments: &[Payment],
    in_doubt: bool,
) -> Result<Vec<RecordOutcome>, sqlx::Error> {
    let recorded: HashSet<String> = insert(connection, payments).await?.into_iter().collect();
    let losers: Vec<&Payment> =
        payments.iter().filter(|payment| !recorded.contains(payment.id.as_str())).collect();
    if losers.is_empty() {
        return Ok(vec![RecordOutcome::Recorded; payments.len()]);
    }
    let rivals: Vec<(String, String, String)> = sqlx::query_as(RIVALS)
        .bind(column(&losers, |payment| payment.transaction.to_string()))
        .bind(column(&losers, |payment| payment.nonce.as_str()))
        .fetch_all(connection)
        .await?;
    let own: HashMap<&str, &str> =
        rivals.iter().map(|(id, signature, _)| (id.as_str(), signature.as_str())).collect();
    let nonces: HashSet<&str> = rivals.iter().map(|(_, _, nonce)| nonce.as_str()).collect();
    let outcome = |payment: &Payment| {
        let id = payment.id.as_str();
        let is_there =
            in_doubt && own.get(id).is_some_and(|signature| *signature == payment.transaction.to_string());
        if is_there || recorded.contains(id) {
            RecordOutcome::Recorded
        } else if nonces.contains(payment.nonce.as_str()) {
            RecordOutcome::AlreadyUsed(Used::Nonce)
        } else {
            RecordOutcome::AlreadyUsed(Used::Transaction)
        }
    };
    Ok(payments.iter().map(outcome).collect())
}

/// The ids of those that were recorded.
async fn insert(connection: &mut PgConnection, payments: &[Payment]) -> Result<Vec<String>, sqlx::Error> {
    let payments: Vec<&Payment> = payments.iter().collect();
    let payments = payments.as_slice();
    sqlx::query_scalar(RECORD)
        .bind(column(payments, |payment| payment.id.as_str()))
        .bind(column(payments, |payment| payment.owner.as_deref()))
        .bind(column(payments, |payment| payment.transaction.to_string()))
        .bind(column(payments, |payment| payment.nonce.as_str()))
        .bind(column(payments, |payment| payment.meets_requirement))
        .bind(column(payments, |payment| payment.payer.to_string()))
        .bind(column(payments, |payment| payment.recipient.to_string()))
        .bind(column(payments, |payment| payment.currency.as_str()))
        .bind(column(payments, |payment| units(payment.amount)))
        .bind(column(payments, |payment| payment.resource.as_deref()))
        .bind(column(payments, |payment| payment.network))
        .bind(column(payments, |payment| slot(payment.slot)))
        .bind(column(payments, |payment| payment.block_time.0))
        .bind(column(payments, |payment| payment.verified_at.0))
        .bind(column(payments, |payment| payment.request_tag.as_deref()))
        .bind(column(payments, |payment| EventId::of_payment(&payment.id).as_str().to_owned()))
        .bind(column(payments, |payment| payment.agent.as_ref().map(AgentId::as_str)))
        .fetch_all(connection)
        .await
}

fn column<'a, T>(payments: &[&'a Payment], value: impl Fn(&'a Payment) -> T) -> Vec<T> {
    payments.iter().map(|payment| value(payment)).collect()
}
