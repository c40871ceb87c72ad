//! The statements of analytics read what they need by an index, where there are rows enough for it to matter.

use pay402::store::{
    analytics::{
        COUNT_EVENTS, LIST_EVENTS, NEXT_ENDED, NEXT_EVENTS, NEXT_PROOFS, NOTE_ENDS, ROLL_AGENTS, ROLL_EVENTS,
        ROLL_PAYMENTS, SUM_PAYMENTS, SUM_REVENUE, TOP_AGENTS,
    },
    postgres,
    settlements::ADOPT_EVENTS,
    sqlite,
};
use serde_json::Value;
use sqlx::{ConnectOptions, Row, sqlite::SqliteConnectOptions};

use crate::conformance::Backend;

/// What a statement is asked with.
#[derive(Clone, Copy)]
enum Argument {
    Text(&'static str),
    Number(i64),
}

use Argument::{Number, Text};

/// From a payment near the last one on.
const FROM: Argument = Text("pay_00000000000000000100019950");
const TO: Argument = Text("pay_00000000000000000100019990");
const EVENT_FROM: Argument = Text("evt_00000000000000000100019950");
const EVENT_TO: Argument = Text("evt_00000000000000000100019990");
const OWNER: Argument = Text("owner 5");
const TAIL: Argument = Number(19_950);

/// A statement and the indexes that it must use, as PostgreSQL and as SQLite name them.
type Read = (&'static str, Vec<Argument>, &'static [(&'static str, &'static str)]);

const SUMS: (&str, &str) = ("payment_sums_pkey", "payment_sums USING PRIMARY KEY (owner=? AND span_ms=?");
const AGENT_SUMS: (&str, &str) = ("agent_sums_pkey", "agent_sums USING PRIMARY KEY (owner=? AND span_ms=?");
/// PostgreSQL reads a few agents of a few hundred as it likes.
const AGENTS: (&str, &str) = ("agent_sums_pkey", "sqlite_autoindex_agents_1 (id=?)");
const UNOWNED: (&str, &str) = ("analytics_events_unowned", "analytics_events_unowned (payment_id=?)");
const BY_OWNER: (&str, &str) = ("transactions_by_owner", "transactions_by_owner (owner=? AND id>?");
const ENDED_BY_OWNER: (&str, &str) =
    ("transactions_ended_by_owner", "transactions_ended_by_owner (owner=? AND ended_at_ms>?");
const PENDING: (&str, &str) = ("transactions_pending", "transactions_pending (owner=?)");
const BY_ID: (&str, &str) = ("transactions_pkey", "sqlite_autoindex_transactions_1 (id>? AND id<?)");
const ENDED: (&str, &str) = ("transactions_ended", "transactions_ended (ended_at_ms>? AND ended_at_ms<?)");
const UNSAID: (&str, &str) = ("transactions_end_unsaid", "INDEX transactions_end_unsaid");
const EVENT_SUMS: (&str, &str) = ("event_sums_pkey", "event_sums USING PRIMARY KEY (owner=? AND span_ms=?");
const TYPES: (&str, &str) = ("analytics_events_by_type", "analytics_events_by_type (owner=? AND type");
const EVENTS_BY_TYPE: (&str, &str) =
    ("analytics_events_by_type", "analytics_events_by_type (owner=? AND type=? AND id>? AND id<?)");
const EVENTS_BY_ID: (&str, &str) =
    ("analytics_events_pkey", "sqlite_autoindex_analytics_events_1 (id>? AND id<?)");

fn reads(list_all: &'static str) -> Vec<Read> {
    let days = [0, 10_000, 18_000, 20_000].map(Number);
    let hours = Vec::from(days);
    vec![
        (
            SUM_PAYMENTS,
            [vec![OWNER, FROM, TAIL], hours.clone()].concat(),
            &[SUMS, BY_OWNER, ENDED_BY_OWNER, PENDING],
        ),
        (
            SUM_REVENUE,
            vec![OWNER, FROM, TAIL, Number(10_000), Number(20_000), Number(3_600_000)],
            &[SUMS, BY_OWNER, ENDED_BY_OWNER],
        ),
        (
            TOP_AGENTS,
            [
                vec![OWNER, FROM, TAIL],
                [0, 10_000, 12_000, 16_000, 18_000, 20_000].map(Number).to_vec(),
                vec![Text("stablecoins"), Number(50), Number(0)],
            ]
            .concat(),
            &[AGENT_SUMS, AGENTS, BY_OWNER, ENDED_BY_OWNER],
        ),
        (COUNT_EVENTS, [vec![OWNER, EVENT_FROM], hours].concat(), &[EVENT_SUMS, TYPES]),
        (
            LIST_EVENTS,
            vec![OWNER, Text("payment.verified"), Text("evt_0"), EVENT_TO, Number(50), Number(0)],
            &[EVENTS_BY_TYPE],
        ),
        (
            list_all,
            vec![OWNER, Number(50), Text("evt_0"), EVENT_TO, Number(50), Number(0)],
            &[("analytics_events_by_type", EVENTS_BY_ID.1)],
        ),
        (NEXT_PROOFS, vec![FROM, TO, Number(5)], &[BY_ID]),
        (NEXT_ENDED, vec![TAIL, Number(19_990), Number(5)], &[ENDED]),
        (NEXT_EVENTS, vec![EVENT_FROM, EVENT_TO, Number(5)], &[EVENTS_BY_ID]),
        (ROLL_PAYMENTS, vec![FROM, TO, TAIL, Number(19_990)], &[BY_ID, ENDED]),
        (ROLL_AGENTS, vec![FROM, TO, TAIL, Number(19_990)], &[BY_ID, ENDED]),
        (ADOPT_EVENTS, vec![Text("pay_1"), Text("owner"), Text("agent 1")], &[UNOWNED]),
        (ROLL_EVENTS, vec![EVENT_FROM, EVENT_TO], &[EVENTS_BY_ID]),
        (NOTE_ENDS, vec![Number(500)], &[UNSAID]),
    ]
}

const NUMBERS: &str = "\
    CREATE TABLE numbers AS WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 20000) \
    SELECT n FROM up";
/// Four for each of fifty owners.
const AGENT_ROWS: &str = "\
    INSERT INTO agents (id, owner, name, public_key, created_at_ms, updated_at_ms) \
    SELECT 'agent ' || (n % 200), 'owner ' || (n % 50), 'a', '00000000000000000000000000000000' || n, 1, 1 \
    FROM numbers WHERE n <= 200";
/// Of fifty owners: proofs, and as many that the service settled, one in a hundred of which is under way.
const PROOFS: &str = "\
    INSERT INTO transactions (id, state, owner, signature, nonce, payer, recipient, currency, amount, network, slot, \
        block_time_ms, verified_at_ms, agent_id) \
    SELECT 'pay_00000000000000000' || (100000000 + n), 'settled', 'owner ' || (n % 50), 'signature ' || n, \
        'nonce ' || n, 'p', 'r', 'USDC', 1, 'sandbox', 1, 1, n, 'agent ' || (n % 200) FROM numbers";
const SETTLED: &str = "\
    INSERT INTO transactions (id, state, owner, signature, payer, recipient, amount, network, slot, verified_at_ms, \
        source, asset, last_valid_height, ended_at_ms, agent_id) \
    SELECT 'pay_00000000000000001' || (100000000 + n), CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'settled' END, \
        'owner ' || (n % 50), 'settled ' || n, 'p', 'r', 1, 'sandbox', CASE WHEN n % 100 = 0 THEN NULL ELSE 1 END, n, \
        'x402', 'm', 1, CASE WHEN n % 100 = 0 THEN NULL ELSE n END, 'agent ' || (n % 200) FROM numbers";
const EVENTS: &str = "\
    INSERT INTO analytics_events (id, type, owner, occurred_at_ms) \
    SELECT 'evt_00000000000000000' || (100000000 + n), \
        CASE WHEN n % 3 = 0 THEN 'payment.verified' ELSE 'payment.settled' END, 'owner ' || (n % 50), n FROM numbers";
const ROLLED: &str = "\
    INSERT INTO payment_sums (owner, span_ms, start_ms, state, source, currency, payments, amount_high, amount_low) \
    SELECT 'owner ' || (n % 50), 3600000, n, 'settled', 'proof', 'USDC', 1, 0, 1 FROM numbers";
const ROLLED_AGENTS: &str = "\
    INSERT INTO agent_sums (owner, span_ms, start_ms, agent_id, currency, payments, amount_high, amount_low) \
    SELECT 'owner ' || (n % 50), 3600000, n, 'agent ' || (n % 200), 'USDC', 1, 0, 1 FROM numbers";
const ROLLED_EVENTS: &str = "\
    INSERT INTO event_sums (owner, span_ms, start_ms, type, events) \
    SELECT 'owner ' || (n % 50), 3600000, n, 'payment.verified', 1 FROM numbers";
const PLAN: &str = "\
    INSERT INTO subscription_plans (id, owner, name, price_per_month, currency, created_at_ms, updated_at_ms) \
    VALUES ('plan', 'owner 1', 'p', 1, 'USDC', 1, 1)";
const SUBSCRIPTIONS: &str = "\
    INSERT INTO subscriptions (id, owner, plan_id, agent_id, wallet_address, status, anchor_day, \
        current_period_start_ms, current_period_end_ms, paid_until_ms, due_at_ms, created_at_ms, updated_at_ms) \
    SELECT 'sub ' || n, 'owner 1', 'plan', 'agent 1', '00000000000000000000000000000000', 'active', 1, 0, n, n, n, 1, 1 \
    FROM numbers";
const ROWS: [&str; 10] =
    [NUMBERS, AGENT_ROWS, PROOFS, SETTLED, EVENTS, ROLLED, ROLLED_AGENTS, ROLLED_EVENTS, PLAN, SUBSCRIPTIONS];

/// What grows with the books.
const LARGE: [&str; 6] =
    ["transactions", "analytics_events", "payment_sums", "agent_sums", "event_sums", "subscriptions"];

#[tokio::test(flavor = "multi_thread")]
async fn postgres_reads_by_index() {
    let backend = Backend::postgres().await;
    backend.books().await;
    let Backend::Postgres(server) = &backend else { unreachable!() };
    let mut connection = server.connect().await;
    for statement in ROWS.into_iter().chain(["VACUUM ANALYZE"]) {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    for (sql, arguments, indexes) in reads(postgres::analytics::LIST_ALL_EVENTS) {
        let explain = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {sql}")));
        let explain = arguments.iter().fold(explain, |explain, argument| match argument {
            Text(text) => explain.bind(*text),
            Number(number) => explain.bind(*number),
        });
        let row = explain.fetch_one(&mut connection).await.unwrap();
        let plan: Value = serde_json::from_str(&row.get_unchecked::<String, _>(0)).unwrap();
        let (mut scanned, mut used) = (Vec::new(), Vec::new());
        walk(&plan, &mut scanned, &mut used);
        assert!(!scanned.iter().any(|table| LARGE.contains(&table.as_str())), "{sql}: {plan:#}");
        assert!(indexes.iter().all(|(index, _)| used.iter().any(|used| used == index)), "{sql}: {plan:#}");
    }
}

/// The tables that are read from end to end, and the indexes that are used.
fn walk(plan: &Value, scanned: &mut Vec<String>, indexes: &mut Vec<String>) {
    match plan {
        Value::Array(plans) => plans.iter().for_each(|plan| walk(plan, scanned, indexes)),
        Value::Object(node) => {
            let text = |name: &str| node.get(name).and_then(Value::as_str).map(str::to_owned);
            if text("Node Type").is_some_and(|kind| kind == "Seq Scan") {
                scanned.extend(text("Relation Name"));
            }
            indexes.extend(text("Index Name"));
            for name in ["Plan", "Plans"] {
                node.get(name).into_iter().for_each(|plan| walk(plan, scanned, indexes));
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_reads_by_index() {
    let backend = Backend::sqlite();
    backend.books().await;
    let Backend::Sqlite(folder) = &backend else { unreachable!() };
    let file = SqliteConnectOptions::new().filename(folder.path().join("books.db"));
    let mut connection = file.connect().await.unwrap();
    for statement in ROWS {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    for (sql, arguments, indexes) in reads(sqlite::analytics::LIST_ALL_EVENTS) {
        let explain = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let explain = arguments.iter().fold(explain, |explain, argument| match argument {
            Text(text) => explain.bind(*text),
            Number(number) => explain.bind(*number),
        });
        let rows = explain.fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        // What has no end yet is read to its end: hardly anything ever.
        let scans = |step: &String| {
            let table = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let aliases = ["t", "e", "s"];
            table.is_some_and(|table| LARGE.contains(&table) || aliases.contains(&table))
                && !step.contains(UNSAID.1)
        };
        assert!(!plan.iter().any(scans), "{sql}: {plan:#?}");
        let used = |index: &str| plan.iter().any(|step| step.contains(index));
        assert!(indexes.iter().all(|(_, index)| used(index)), "{sql}: {plan:#?}");
    }
}
