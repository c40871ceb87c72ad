//! What the database says, read past the service, and held against the chain and what clients were told.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{Connection, FromRow, SqliteConnection, postgres::PgRow, sqlite::SqliteRow};

use super::stage::{Payment, Stage, Told};
use crate::{
    conformance::Backend,
    harness::{Answer, KEY},
};

const STATES: &str = "SELECT signature, state FROM settlements WHERE signature IS NOT NULL";

/// How many settlements say something else than their payments do, or have not ended, or were told of more or less than once.
const DISCREPANCIES: &str = "\
    SELECT (SELECT count(*) FROM settlements s JOIN transactions t ON t.id = s.payment_id \
            WHERE s.state <> t.state OR s.signature <> t.signature OR s.state = 'pending'), \
        (SELECT count(*) FROM transactions) \
            - (SELECT count(*) FROM settlements WHERE payment_id IS NOT NULL), \
        (SELECT count(*) FROM transactions) - (SELECT count(*) FROM analytics_events WHERE payment_id IS NOT NULL)";

/// The days and keys whose fees are not what the settlements add up to.
const WRONG_FEES: &str = "\
    WITH fees AS (\
        SELECT journalled_at_ms / 86400000 AS day, key_id, state, fee_lamports FROM settlements \
            WHERE key_id IS NOT NULL AND state <> 'claimed' \
        UNION ALL SELECT journalled_at_ms / 86400000, '', state, fee_lamports FROM settlements \
            WHERE state <> 'claimed'), \
    sums AS (\
        SELECT day, key_id, \
            CAST(sum(CASE WHEN state = 'pending' THEN fee_lamports ELSE 0 END) AS BIGINT) AS reserved, \
            CAST(sum(CASE WHEN state IN ('settled', 'failed') THEN fee_lamports ELSE 0 END) AS BIGINT) AS spent \
        FROM fees GROUP BY day, key_id) \
    SELECT count(*) FROM sums FULL JOIN sponsored_lamports kept \
        ON kept.day = sums.day AND kept.key_id = sums.key_id \
    WHERE kept.day IS NULL OR sums.day IS NULL OR kept.reserved <> sums.reserved OR kept.spent <> sums.spent";

/// What the books say that the fee payers have paid, in lamports.
const SPENT: &str =
    "SELECT CAST(coalesce(sum(spent), 0) AS BIGINT) FROM sponsored_lamports WHERE key_id = ''";

impl Stage {
    async fn read<T>(&self, statement: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        match &self.backend {
            Backend::Sqlite(_) => {
                let mut database = SqliteConnection::connect(&self.backend.database_url()).await.unwrap();
                sqlx::query_as(statement).fetch_all(&mut database).await.unwrap()
            }
            Backend::Postgres(server) => {
                sqlx::query_as(statement).fetch_all(&mut server.connect().await).await.unwrap()
            }
        }
    }

    /// What has been journalled, by signature.
    pub async fn states(&self) -> BTreeMap<String, String> {
        self.read::<(String, String)>(STATES).await.into_iter().collect()
    }

    pub async fn state(&self, payment: &Payment) -> Option<String> {
        Box::pin(self.states()).await.remove(&payment.signature.to_string())
    }

    /// Chain, books, fees and what clients were told say the same, to the lamport, and nothing is open.
    pub async fn assert_true(&self, told: &[(Payment, Told)]) {
        let payments: Vec<Payment> = told.iter().map(|(payment, _)| payment.clone()).collect();
        let (states, landed) = (self.states().await, self.landed(&payments).await);
        let mut due = 0;
        for ((payment, told), landed) in told.iter().zip(&landed) {
            let state = states.get(&payment.signature.to_string()).map(String::as_str);
            let expected = match told {
                Told::Settled => (Some("settled"), &Some(true)),
                Told::Failed => (Some("failed"), &Some(false)),
                Told::Expired => (Some("expired"), &None),
                Told::Refused(_) => (None, &None),
                open => panic!("{payment:?} is still {open:?}"),
            };
            assert_eq!((state, landed), expected, "{payment:?} {told:?}");
            due += if *told == Told::Settled { payment.units } else { 0 };
        }
        assert_eq!(self.received(), due, "the merchant has exactly what was settled");
        let known = told.iter().filter(|(_, told)| !matches!(told, Told::Refused(_))).count();
        assert_eq!(states.len(), known, "nothing else is in the books");
        assert_eq!(self.read::<(i64, i64, i64)>(DISCREPANCIES).await, [(0, 0, 0)]);
        assert_eq!(self.read::<(i64,)>(WRONG_FEES).await, [(0,)]);
        let spent = self.read::<(i64,)>(SPENT).await[0].0;
        assert_eq!(
            self.lamports_paid(),
            u64::try_from(spent).unwrap(),
            "the fee payer has paid what the books say"
        );
    }
}

/// `GET /payments/{signature}` says it as well.
pub async fn assert_shown(url: &str, told: &[(Payment, Told)]) {
    let client = reqwest::Client::new();
    for (payment, told) in told {
        let url = format!("{url}/payments/{}", payment.signature);
        let answer = Answer::of(client.get(url).header("x-api-key", KEY).send().await.unwrap()).await;
        let expected: (u16, Value) = match told {
            Told::Settled => (200, "settled".into()),
            Told::Failed => (200, "failed".into()),
            Told::Expired => (200, "expired".into()),
            Told::Refused(_) => (404, Value::Null),
            open => panic!("{payment:?} is still {open:?}"),
        };
        assert_eq!((answer.status, &answer.body["state"]), (expected.0, &expected.1), "{payment:?}");
    }
}
