//! The statements of every request find their rows by an index, where there are rows enough for it to matter.

mod subscriptions;

use pay402::store::{agents, settlements, sql};
use serde_json::Value;
use sqlx::{ConnectOptions, Row, sqlite::SqliteConnectOptions};

use super::{Backend, signature};

/// A statement, its texts and then its numbers, and the indexes it must use, as PostgreSQL and as SQLite name them.
struct Hot {
    sql: &'static str,
    texts: Vec<String>,
    numbers: Vec<i64>,
    indexes: &'static [(&'static str, &'static str)],
}

/// SQLite takes the owner along.
const BY_ID: (&str, &str) = ("transactions_pkey", "transactions_by_owner");
const BY_PAYMENT: (&str, &str) = ("transactions_pkey", "sqlite_autoindex_transactions_1");
const BY_SIGNATURE: (&str, &str) = ("transactions_signature_key", "sqlite_autoindex_transactions_2");
const BY_NONCE: (&str, &str) = ("transactions_nonce_key", "sqlite_autoindex_transactions_3");
const BY_REQUIREMENT: (&str, &str) =
    ("transactions_requirement_nonce_key", "sqlite_autoindex_transactions_4");
const BY_OWNER: (&str, &str) = ("transactions_by_owner", "transactions_by_owner");
const REQUIREMENT: (&str, &str) = ("payment_requirements_pkey", "sqlite_autoindex_payment_requirements_1");

const KEY_BY_ID: (&str, &str) = ("api_keys_pkey", "sqlite_autoindex_api_keys_1");
const KEY_BY_PREFIX: (&str, &str) = ("api_keys_prefix_key", "sqlite_autoindex_api_keys_2");
const KEYS_BY_USER: (&str, &str) = ("api_keys_by_user", "api_keys_by_user");
const KEYS_ACTIVE: (&str, &str) = ("api_keys_active", "api_keys_active");
const KEYS_MADE: (&str, &str) = ("api_keys_made", "api_keys_made");
const MADE_BY_KEY: (&str, &str) = ("api_key_events_by_key", "api_key_events_by_actor");
const PAST_BY_KEY: (&str, &str) = ("past_api_key_events_by_key", "past_api_key_events_by_actor");
const PAST: (&str, &str) = ("past_api_key_events_key_id_type_key", "sqlite_autoindex_past_api_key_events_2");

const AGENT_BY_ID: (&str, &str) = ("agents_pkey", "sqlite_autoindex_agents_1");
const AGENT_BY_WALLET: (&str, &str) = ("agents_by_wallet", "agents_by_wallet");
const AGENTS_BY_OWNER: (&str, &str) = ("agents_by_owner", "agents_by_owner");
/// Without row ids, a table is its primary key's index.
const SPENDING: (&str, &str) = ("agent_spending_pkey", "PRIMARY KEY");
const HOLDS: (&str, &str) = ("agent_holds_by_day", "agent_holds_by_day");
const HOLDS_BY_END: (&str, &str) = ("agent_holds_by_end", "agent_holds_by_end");
const FAILURES_BY_AGE: (&str, &str) = ("agent_failures_by_age", "agent_failures_by_age");

const PENDING: (&str, &str) = ("settlements_pending", "settlements_pending");
const CLAIMED: (&str, &str) = ("settlements_claimed", "settlements_claimed");
const SETTLED_SIGNATURE: (&str, &str) = ("settlements_signature_key", "sqlite_autoindex_settlements_3");

fn hot() -> [Hot; 22] {
    let signature = signature(1).to_string();
    let owner = "owner 5".to_owned();
    let (key, user) = ("sk_test_00000005".to_owned(), "user 5".to_owned());
    let hot = |sql, texts, indexes| Hot { sql, texts, numbers: vec![], indexes };
    let agent = || vec!["agent_5".to_owned(), user.clone()];
    let of_user = || vec![user.clone(), "test".to_owned()];
    [
        Hot {
            numbers: vec![7],
            ..hot(
                sql::ON_RECORD,
                vec![
                    "nonce 5".to_owned(),
                    signature.clone(),
                    format!("{:<32}", "wallet 5"),
                    user.clone(),
                    "sol".to_owned(),
                ],
                &[BY_NONCE, BY_SIGNATURE, REQUIREMENT, BY_REQUIREMENT, AGENT_BY_WALLET, SPENDING],
            )
        },
        hot(agents::FIND_AGENT, agent(), &[AGENT_BY_ID, AGENT_BY_WALLET]),
        Hot { numbers: vec![50, 0], ..hot(agents::LIST_AGENTS, vec![user.clone()], &[AGENTS_BY_OWNER]) },
        hot(agents::COUNT_AGENTS, vec![user.clone()], &[AGENTS_BY_OWNER]),
        Hot {
            numbers: vec![7, 7],
            ..hot(agents::SPENDING_OF_DAY, vec!["agent_5".to_owned()], &[SPENDING, HOLDS])
        },
        Hot { numbers: vec![2, 64], ..hot(agents::FORGET_HOLDS, vec![], &[HOLDS_BY_END]) },
        Hot { numbers: vec![2, 64], ..hot(agents::FORGET_FAILURES, vec![], &[FAILURES_BY_AGE]) },
        hot(sql::FIND_PAYMENT, vec![signature.clone(), owner.clone()], &[BY_ID, BY_SIGNATURE]),
        hot(sql::FIND_ANONYMOUS_SETTLEMENT, vec![signature, String::new()], &[BY_SIGNATURE]),
        hot(sql::FIND_PAYMENT_BY_NONCE, vec!["nonce 5".to_owned()], &[BY_NONCE]),
        Hot { numbers: vec![50, 0], ..hot(sql::LIST_PAYMENTS, vec![owner.clone()], &[BY_OWNER]) },
        hot(sql::COUNT_PAYMENTS, vec![owner], &[BY_OWNER]),
        Hot { numbers: vec![2, 64], ..hot(settlements::LAPSED_SETTLEMENTS, vec![], &[PENDING]) },
        Hot { numbers: vec![2, 64], ..hot(settlements::FORGET_CLAIMS, vec![], &[CLAIMED]) },
        hot(
            settlements::FIND_SETTLEMENT_BY_SIGNATURE,
            vec!["settled 5".to_owned()],
            &[SETTLED_SIGNATURE, BY_PAYMENT],
        ),
        hot(sql::FIND_REQUIREMENT, vec!["nonce 5".to_owned()], &[REQUIREMENT, BY_REQUIREMENT]),
        hot(sql::API_KEY_BY_PREFIX, vec![key.clone()], &[KEY_BY_PREFIX]),
        hot(sql::FIND_API_KEY, vec![key], &[KEY_BY_ID, KEY_BY_PREFIX]),
        Hot { numbers: vec![50, 0], ..hot(sql::LIST_API_KEYS, of_user(), &[KEYS_BY_USER]) },
        // By one of the three that begin with the user.
        hot(sql::COUNT_API_KEYS, of_user(), &[]),
        Hot { numbers: vec![3, 2], ..hot(sql::COUNT_KEYS, of_user(), &[KEYS_ACTIVE, KEYS_MADE]) },
        Hot { numbers: vec![3], ..hot(sql::ACTIVE_API_KEY_IDS, vec![user.clone()], &[KEYS_ACTIVE]) },
    ]
}

/// Of a key that may be the first of a long line.
const LINE: &[(&str, &str)] = &[KEY_BY_ID, MADE_BY_KEY, PAST_BY_KEY, PAST];

fn line(sql: &'static str) -> Hot {
    Hot { sql, texts: vec!["key_5".to_owned()], numbers: vec![3], indexes: LINE }
}

/// Twenty thousand payments of fifty owners, every tenth for a requirement.
const PAYMENTS: &str = "\
    INSERT INTO transactions (id, state, owner, signature, nonce, requirement_nonce, payer, recipient, currency, amount, \
        network, slot, block_time_ms, verified_at_ms) \
    SELECT 'pay_' || n, 'settled', 'owner ' || (n % 50), 'signature ' || n, 'nonce ' || n, \
        CASE WHEN n % 10 = 0 THEN 'nonce ' || n END, 'p', 'r', 'USDC', 1, 'sandbox', 1, 1, 1 FROM numbers";
/// Half of them settled by the service, one in a hundred of which is under way.
const SETTLED: &str = "\
    INSERT INTO transactions (id, state, owner, signature, payer, recipient, amount, network, slot, verified_at_ms, \
        source, asset, last_valid_height) \
    SELECT 'pay_s' || n, CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'settled' END, 'owner ' || (n % 50), \
        'settled ' || n, 'p', 'r', 1, 'sandbox', CASE WHEN n % 100 = 0 THEN NULL ELSE 1 END, 1, 'x402', 'm', 1 \
    FROM numbers";
const SETTLEMENTS: &str = "\
    INSERT INTO settlements (message, terms, state, holder, attempt, lease_until_ms, claimed_at_ms, payment_id, \
        signature, last_valid_height, fee_lamports, journalled_at_ms, bytes, finished_at_ms) \
    SELECT hash, hash, CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'settled' END, 'h', 'a', n, 1, 'pay_s' || n, \
        'settled ' || n, 1, 5000, 1, CASE WHEN n % 100 = 0 THEN hash END, CASE WHEN n % 100 <> 0 THEN 1 END \
    FROM hashes";
const CLAIMS: &str = "\
    INSERT INTO settlements (message, terms, state, holder, attempt, lease_until_ms, claimed_at_ms) \
    SELECT claim, claim, 'claimed', 'h', 'a', n, 1 FROM hashes WHERE n % 100 = 0";
const POSTGRES_HASHES: &str = "\
    CREATE TABLE hashes AS SELECT n, decode(lpad(n || 'a', 64, '0'), 'hex') AS hash, \
        decode(lpad(n || 'c', 64, '0'), 'hex') AS claim FROM numbers";
const SQLITE_HASHES: &str = "\
    CREATE TABLE hashes AS SELECT n, CAST(printf('%031dh', n) AS BLOB) AS hash, \
        CAST(printf('%031dc', n) AS BLOB) AS claim FROM numbers";
const REQUIREMENTS: &str = "\
    INSERT INTO payment_requirements (nonce, owner, amount, currency, recipient, scheme, expires_at_ms, created_at_ms) \
    SELECT 'nonce ' || n, 'owner', 1, 'USDC', 'r', 'exact', 1, 1 FROM numbers";
/// `substr` pads the number in either database.
const API_KEYS: &str = "\
    INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms) \
    SELECT 'key_' || n, 'sk_test_' || substr('' || (100000000 + n), 2), 'test', 'n', 'user ' || (n % 50), '*', '', \
        '$2b$12$01234567890123456789012345678901234567890123456789012', 1 FROM numbers";
/// All but a few of a user's have ended, some by themselves.
const ENDED_KEYS: &str = "\
    UPDATE api_keys SET expires_at_ms = CASE WHEN id LIKE '%55' THEN 2 END, \
        revoked_at_ms = CASE WHEN id NOT LIKE '%55' THEN 2 END \
    WHERE user_id = 'user 5' AND id NOT LIKE '%005'";
const AGENTS: &str = "\
    INSERT INTO agents (id, owner, name, public_key, created_at_ms, updated_at_ms) \
    SELECT 'agent_' || n, 'user ' || (n % 50), 'n', substr('wallet ' || n || '                                ', 1, 32), \
        1, 1 FROM numbers";
const SPENT: &str = "\
    INSERT INTO agent_spending (agent_id, day, unit, spent) SELECT 'agent_' || n, 7, 'sol', 1 FROM numbers";
const HELD: &str = "\
    INSERT INTO agent_holds (message, agent_id, day, unit, amount, expires_at_ms) \
    SELECT hash, 'agent_' || n, 7, 'sol', 1, n FROM hashes";
const FAILED: &str = "\
    INSERT INTO agent_failures (agent_id, attempt, failed_at_ms) SELECT 'agent_' || n, 'a', n FROM numbers";
const API_KEY_EVENTS: &str = "\
    INSERT INTO api_key_events (id, key_id, type, actor, occurred_at_ms) \
    SELECT 'evt_' || n, 'key_' || n, 'created', CASE WHEN n % 3 = 0 THEN 'key_' || (n - 1) ELSE 'operator' END, 1 \
    FROM numbers";
const PAST_EVENTS: &str = "\
    INSERT INTO past_api_key_events (id, key_id, type, actor, occurred_at_ms, prefix, name, user_id, permissions, \
        replaced_by) \
    SELECT 'past_' || n, 'gone_' || n, CASE WHEN n % 2 = 0 THEN 'created' ELSE 'rotated' END, \
        CASE WHEN n % 6 = 0 THEN 'key_' || (n - 1) ELSE 'operator' END, 1, 'p', 'n', 'user', '*', \
        CASE WHEN n % 2 = 1 THEN 'gone_' || (n + 1) END \
    FROM numbers";
const NUMBERS: &str = "\
    CREATE TABLE numbers AS WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 20000) \
    SELECT n FROM up";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_finds_by_index() {
    let backend = Backend::postgres().await;
    backend.books().await;
    let Backend::Postgres(server) = &backend else { unreachable!() };
    let mut connection = server.connect().await;
    for statement in
        [NUMBERS, REQUIREMENTS, PAYMENTS, POSTGRES_HASHES, SETTLED, SETTLEMENTS, CLAIMS, API_KEYS]
            .into_iter()
            .chain([ENDED_KEYS, API_KEY_EVENTS, PAST_EVENTS, AGENTS, SPENT, HELD, FAILED])
            .chain(subscriptions::POSTGRES_ROWS)
            .chain(["ANALYZE"])
    {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let hot = hot().into_iter().chain(subscriptions::hot()).chain([line(sql::POSTGRES_DESCENDANTS)]);
    for Hot { sql, texts, numbers, indexes } in hot {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {sql}"));
        let explain = texts.iter().fold(sqlx::query(explain), sqlx::query::Query::bind);
        let explain = numbers.iter().fold(explain, sqlx::query::Query::bind);
        let row = explain.fetch_one(&mut connection).await.unwrap();
        let plan: Value = serde_json::from_str(&row.get_unchecked::<String, _>(0)).unwrap();
        let (mut nodes, mut used) = (Vec::new(), Vec::new());
        walk(&plan, &mut nodes, &mut used);
        assert!(!nodes.iter().any(|node| node == "Seq Scan" || node == "Sort"), "{sql}: {plan:#}");
        assert!(indexes.iter().all(|(index, _)| used.iter().any(|used| used == index)), "{sql}: {plan:#}");
    }
}

/// The kinds of the plan's nodes, and the indexes they use.
fn walk(plan: &Value, nodes: &mut Vec<String>, indexes: &mut Vec<String>) {
    match plan {
        Value::Array(plans) => plans.iter().for_each(|plan| walk(plan, nodes, indexes)),
        Value::Object(members) => {
            nodes.extend(members.get("Node Type").and_then(Value::as_str).map(str::to_owned));
            indexes.extend(members.get("Index Name").and_then(Value::as_str).map(str::to_owned));
            for name in ["Plan", "Plans"] {
                members.get(name).into_iter().for_each(|plan| walk(plan, nodes, indexes));
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_finds_by_index() {
    let backend = Backend::sqlite();
    backend.books().await;
    let Backend::Sqlite(folder) = &backend else { unreachable!() };
    let file = SqliteConnectOptions::new().filename(folder.path().join("books.db"));
    let mut connection = file.connect().await.unwrap();
    for statement in [NUMBERS, REQUIREMENTS, PAYMENTS, SQLITE_HASHES, SETTLED, SETTLEMENTS, CLAIMS, API_KEYS]
        .into_iter()
        .chain([ENDED_KEYS, API_KEY_EVENTS, PAST_EVENTS, AGENTS, SPENT, HELD, FAILED])
        .chain(subscriptions::SQLITE_ROWS)
    {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let hot = hot().into_iter().chain(subscriptions::hot()).chain([line(sql::SQLITE_DESCENDANTS)]);
    for Hot { sql, texts, numbers, indexes } in hot {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let explain = texts.iter().fold(sqlx::query(explain), sqlx::query::Query::bind);
        let explain = numbers.iter().fold(explain, sqlx::query::Query::bind);
        let rows = explain.fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let misses = |step: &String| {
            // The keys of a line as they are found.
            let own_rows = ["SCAN CONSTANT ROW", "SCAN one_row", "SCAN line"].contains(&step.as_str());
            step.contains("TEMP B-TREE") || step.starts_with("SCAN") && !own_rows
        };
        assert!(!plan.iter().any(misses), "{sql}: {plan:#?}");
        let used = |index: &str| plan.iter().any(|step| step.contains(&format!(" {index} ")));
        assert!(indexes.iter().all(|(_, index)| used(index)), "{sql}: {plan:#?}");
    }
}
