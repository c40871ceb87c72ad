//! What `GET /analytics/...` costs with a million payments of one user in PostgreSQL:
//!
//! ```text
//! cargo bench --bench analytics
//! ```
//!
//! Everything is real: a PostgreSQL server of its own, the service as a process of its own, its worker that sums the books
//! up. Prints how long each route takes and how PostgreSQL answers its statements. `PAY402_TEST_ROUNDS` is how often each route
//! is asked, `PAY402_BENCH_PAYMENTS` how many payments there are, `PAY402_BENCH_AGENTS` how many agents make the user's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pay402::{
    analytics::{Log, Ranking, Rollup, Window},
    calendar::{DAY_MS, HOUR_MS},
    clock::{Clock, SystemClock, UnixMs},
    ids::{EventId, PaymentId},
    metrics::Metrics,
    store::{
        Books,
        analytics::{COUNT_EVENTS, LIST_EVENTS, SUM_PAYMENTS, SUM_REVENUE, TOP_AGENTS},
        postgres::{PostgresStore, analytics::LIST_ALL_EVENTS},
    },
};
use sqlx::{PgConnection, Row};

#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/logs.rs"]
mod logs;
#[path = "../tests/it/harness/port.rs"]
mod port;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/secrets.rs"]
mod secrets;

/// What `process` starts services with: more requests a minute than any bench sends.
const HIGH_LIMITS: [(&str, &str); 3] = [
    ("RATE_LIMIT_PUBLIC", "1000000"),
    ("RATE_LIMIT_AUTHENTICATED", "1000000"),
    ("RATE_LIMIT_VERIFICATION", "1000000"),
];
const KEY: &str = "sk_test_bench_key_0123456789abcdef";
/// Whom the key belongs to.
const USER: &str = "key:sk_test_benc";
const DAYS: i64 = 90;

/// The time of an id, as it is written.
const ULID: &str = "\
    CREATE FUNCTION ulid (at_ms bigint, number bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$ \
    SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((at_ms >> place) & 31)::int + 1, 1), '' \
        ORDER BY place DESC) || lpad(number::text, 16, '0') FROM generate_series(0, 45, 5) place $$";

/// As many agents ($1) of the user ($2), up to 3000. Their wallets are the numbers from 256 on.
const AGENTS: &str = "\
    INSERT INTO agents (id, owner, name, public_key, created_at_ms, updated_at_ms) \
    SELECT 'agent ' || n, $2, 'agent', repeat('1', 30) || substr(base58, ((256 + n) / 58)::int + 1, 1) \
        || substr(base58, ((256 + n) % 58)::int + 1, 1), 1, 1 \
    FROM generate_series(0, $1 - 1) n, \
        (VALUES ('123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz')) digits (base58)";
/// As many payments ($1) over the days before now ($2), three quarters of them proofs; one in six is another user's. Those of
/// the last minute are pending where the service settles them. The user's are made by as many agents ($5).
const PAYMENTS: &str = "\
    INSERT INTO transactions (id, state, owner, signature, nonce, payer, recipient, currency, amount, network, slot, \
        block_time_ms, verified_at_ms, source, asset, last_valid_height, ended_at_ms, agent_id) \
    SELECT 'pay_' || ulid(at_ms, n), state, owner, 'signature ' || n, CASE WHEN proof THEN 'nonce ' || n END, 'payer', \
        'recipient', CASE WHEN proof OR n % 8 > 0 THEN (ARRAY['USDC', 'USDT', 'SOL', 'PYUSD'])[(1 + n % 7 % 4)::int] END, \
        1 + n * 7919 % 100000000, 'sandbox', CASE WHEN state IN ('settled', 'failed') THEN 1 END, \
        CASE WHEN proof THEN at_ms END, at_ms, CASE WHEN proof THEN 'proof' ELSE 'x402' END, \
        CASE WHEN NOT proof THEN 'mint' END, CASE WHEN NOT proof THEN 1 END, \
        CASE WHEN NOT proof AND state <> 'pending' THEN at_ms + 20000 END, \
        CASE WHEN owner = $4 THEN 'agent ' || (n * 7919 % 1000003 % $5) END \
    FROM ( \
        SELECT n, n % 4 > 0 AS proof, $2 - 1 - n * ($3 / ($1 + 1)) AS at_ms, \
            CASE WHEN n % 6 = 0 THEN 'shop ' || (n % 100) ELSE $4 END AS owner, \
            CASE WHEN n % 4 > 0 THEN 'settled' WHEN n * ($3 / ($1 + 1)) < 60000 THEN 'pending' \
                WHEN n % 20 = 0 THEN 'failed' WHEN n % 28 = 0 THEN 'expired' ELSE 'settled' END AS state \
        FROM generate_series(1, $1) n) seeded";
const EVENTS: &str = "\
    INSERT INTO analytics_events (id, type, owner, payment_id, occurred_at_ms) \
    SELECT 'evt_' || ulid(coalesce(ended_at_ms, verified_at_ms), right(id, 16)::bigint), \
        CASE WHEN source = 'proof' THEN 'payment.verified' ELSE 'payment.' || state END, owner, id, \
        coalesce(ended_at_ms, verified_at_ms) FROM transactions WHERE state <> 'pending'";

#[expect(clippy::disallowed_methods, reason = "the bench's own knobs")]
fn knob(name: &str, default: i64) -> i64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn seed(connection: &mut PgConnection, payments: i64, agents: i64, now: UnixMs) {
    let started = Instant::now();
    sqlx::query(ULID).execute(&mut *connection).await.unwrap();
    sqlx::query(AGENTS).bind(agents).bind(USER).execute(&mut *connection).await.unwrap();
    sqlx::query(PAYMENTS)
        .bind(payments)
        .bind(now.0)
        .bind(DAYS * DAY_MS)
        .bind(USER)
        .bind(agents)
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(EVENTS).execute(&mut *connection).await.unwrap();
    sqlx::query("VACUUM ANALYZE").execute(&mut *connection).await.unwrap();
    let own: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE owner = $1")
        .bind(USER)
        .fetch_one(connection)
        .await
        .unwrap();
    println!(
        "{payments} payments of {DAYS} days, {own} of them of one user, by {agents} agents: {:.0?}",
        started.elapsed()
    );
}

/// As the service's worker does it; how long that took.
async fn roll_up(books: &Books, clock: Arc<dyn Clock>) {
    let rollup = Rollup::new(Arc::clone(&books.analytics), clock);
    let (mut rounds, started) = (1, Instant::now());
    while !rollup.round().await.unwrap() {
        rounds += 1;
    }
    println!("summed up from nothing in {:.1?}, {rounds} rounds", started.elapsed());
    let started = Instant::now();
    assert!(rollup.round().await.unwrap());
    println!("a round with nothing to do: {:.1?}", started.elapsed());
}

async fn measure(service: &process::ServiceProcess, path: &str, times: i64) {
    let http = reqwest::Client::new();
    let mut taken = Vec::new();
    for _ in 0..times {
        let started = Instant::now();
        let answer =
            http.get(format!("{}{path}", service.url)).header("x-api-key", KEY).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.bytes().await.unwrap();
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    let at =
        |percent: usize| taken[(taken.len() * percent / 100).min(taken.len() - 1)].as_secs_f64() * 1000.0;
    println!("{path:<66} p50 {:>6.1} ms   p99 {:>6.1} ms   max {:>6.1} ms", at(50), at(99), at(100));
}

async fn routes(service: &process::ServiceProcess, now: UnixMs, times: i64) {
    let year = now.0 - 365 * DAY_MS;
    for path in [
        "/health".to_owned(),
        "/analytics/transactions".to_owned(),
        format!("/analytics/transactions?from={year}"),
        "/analytics/revenue?period=hour".to_owned(),
        format!("/analytics/revenue?period=hour&from={}", now.0 - 990 * HOUR_MS),
        "/analytics/revenue?period=day".to_owned(),
        "/analytics/revenue?period=week".to_owned(),
        "/analytics/revenue?period=month".to_owned(),
        "/analytics/top-agents".to_owned(),
        format!("/analytics/top-agents?from={year}&rankBy=SOL&limit=200"),
        "/analytics/events".to_owned(),
        "/analytics/events?type=payment.verified".to_owned(),
        "/analytics/events?type=payment.settled&limit=200&offset=10000".to_owned(),
        format!("/analytics/events?limit=200&before={}", EventId::lowest_at(UnixMs(now.0 - 80 * DAY_MS))),
    ] {
        measure(service, &path, times).await;
    }
}

/// What a statement is asked with.
enum Argument {
    Text(String),
    Number(i64),
}

async fn explain(connection: &mut PgConnection, what: &str, sql: &str, arguments: Vec<Argument>) {
    let explain = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {sql}")));
    let explain = arguments.into_iter().fold(explain, |explain, argument| match argument {
        Argument::Text(text) => explain.bind(text),
        Argument::Number(number) => explain.bind(number),
    });
    println!("\n{what}");
    for row in explain.fetch_all(connection).await.unwrap() {
        println!("    {}", row.get::<String, _>(0));
    }
}

/// How PostgreSQL answers, with the arguments of today.
async fn plans(connection: &mut PgConnection, now: UnixMs) {
    use Argument::{Number, Text};
    let mut from_here = Vec::new();
    for log in [Log::Payments, Log::Agents, Log::Events] {
        let until = sqlx::query_scalar::<_, i64>("SELECT rolled_until_ms FROM rollups WHERE name = $1");
        from_here.push(UnixMs(until.bind(log.as_str()).fetch_one(&mut *connection).await.unwrap()));
    }
    let [payments_from, agents_from, events_from] = from_here[..] else { unreachable!() };
    let next_hour = UnixMs(now.0 - now.0 % HOUR_MS + HOUR_MS);
    let window = Window { from: UnixMs(next_hour.0 - 30 * DAY_MS), to: next_hour };
    let days = window.whole_days();
    let owner = || Text(USER.to_owned());
    let payment = |at| Text(PaymentId::lowest_at(at).to_string());
    let event = |at| Text(EventId::lowest_at(at).to_string());
    let window_and_days = || [window.from, days.from, days.to, window.to].map(|at| Number(at.0));
    let mut arguments = vec![owner(), payment(payments_from), Number(payments_from.0)];
    arguments.extend(window_and_days());
    explain(connection, "GET /analytics/transactions", SUM_PAYMENTS, arguments).await;
    let mut arguments = vec![owner(), payment(agents_from), Number(agents_from.0)];
    let eights = days.whole(Log::Agents.longest_span_ms());
    let bounds = [window.from, days.from, eights.from, eights.to, days.to, window.to];
    arguments.extend(bounds.map(|at| Number(at.0)));
    arguments.extend([Text(Ranking::Stablecoins.as_str().to_owned()), Number(50), Number(0)]);
    explain(connection, "GET /analytics/top-agents", TOP_AGENTS, arguments).await;
    for (what, span_ms, from) in [
        ("GET /analytics/revenue?period=hour, 1000 hours", HOUR_MS, next_hour.0 - 1000 * HOUR_MS),
        ("GET /analytics/revenue?period=day", DAY_MS, days.from.0),
    ] {
        let arguments = vec![
            owner(),
            payment(payments_from),
            Number(payments_from.0),
            Number(from),
            Number(days.to.0 + DAY_MS),
            Number(span_ms),
        ];
        explain(connection, what, SUM_REVENUE, arguments).await;
    }
    let mut arguments = vec![owner(), event(events_from)];
    arguments.extend(window_and_days());
    explain(connection, "GET /analytics/events: how many", COUNT_EVENTS, arguments).await;
    let page = || [event(UnixMs(0)), event(next_hour), Number(50), Number(0)];
    let mut arguments = vec![owner(), Text("payment.verified".to_owned())];
    arguments.extend(page());
    explain(connection, "GET /analytics/events?type=payment.verified: the page", LIST_EVENTS, arguments)
        .await;
    let mut arguments = vec![owner(), Number(50)];
    arguments.extend(page());
    explain(connection, "GET /analytics/events: the page", LIST_ALL_EVENTS, arguments).await;
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks for nothing to be measured.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (payments, times) = (knob("PAY402_BENCH_PAYMENTS", 1_200_000), knob("PAY402_TEST_ROUNDS", 200));
    let agents = knob("PAY402_BENCH_AGENTS", 200);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let server = postgres::PostgresServer::start().await;
    let books = Books::new(PostgresStore::open(&server.url(), Arc::new(Metrics::new())).await.unwrap());
    books.database.migrate().await.unwrap();
    let (mut connection, now) = (server.connect().await, clock.now());
    seed(&mut connection, payments, agents, now).await;

    let folder = tempfile::tempdir().unwrap();
    let service = process::ServiceProcess::start(folder.path(), |command| {
        command
            .env("DATABASE_URL", server.url())
            .env("SOLANA_NETWORK", "sandbox")
            // Nobody is asked: nothing is verified.
            .env("SOLANA_RPC_URL", "http://127.0.0.1:9")
            .env("VALID_API_KEYS", KEY)
            .env("LOG_LEVEL", "warn,pay402::cli=info");
    })
    .await;
    println!("\nbefore anything is summed up:");
    measure(&service, "/analytics/revenue?period=day", 5).await;
    roll_up(&books, Arc::clone(&clock)).await;
    // As PostgreSQL does by itself.
    sqlx::query("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("\nsummed up:");
    routes(&service, now, times).await;
    plans(&mut connection, now).await;
}
