//! A limit holds whatever happens at a time: many payments, two instances, and a service that is killed among them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    agents::{Agent, Limits, UnitLimits},
    clock::{Clock, SystemClock},
    ids::PaymentId,
    money::{Amount, Currency},
    payments::{Payment, RecordOutcome, Recorder},
    sandbox::{Sandbox, SandboxConfig, agent::Agent as Wallet, agent::transfer},
    store::Books,
};
use serde_json::{Value, json};
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

use crate::{
    conformance::{
        Backend, OWNER,
        agents::{event, registered},
        on_both, payment,
    },
    harness::{Answer, KEY, away_from_midnight, process::ServiceProcess, rounds, seed},
    settlement::random::Random,
};

on_both!(no_interleaving_exceeds_a_limit, payments_in_one_batch_share_a_limit, a_killed_service_keeps_count);

const AT_ONCE: u64 = 64;

async fn kept(books: &Books, number: u8, limits: Limits) -> Agent {
    let agent = Agent { limits, ..registered(number) };
    books.agents.create(&agent, &event(number.into())).await.unwrap();
    agent
}

fn daily(units: u64) -> Limits {
    Limits { stable: UnitLimits { daily: Some(units), per_transaction: None }, ..Limits::default() }
}

fn by(agent: &Agent, number: u64, units: u64) -> Payment {
    let stable = [Currency::Usdc, Currency::Usdt, Currency::Pyusd];
    Payment {
        agent: Some(agent.id.clone()),
        amount: Amount::from_atomic(units).unwrap(),
        currency: stable[usize::try_from(number).unwrap() % stable.len()],
        ..payment(number)
    }
}

/// What the books say that an agent has spent, payment by payment.
async fn booked(books: &Books, agent: &Agent) -> u64 {
    let mut sum = 0;
    for offset in (0..).step_by(200) {
        let page = books.payments.list(OWNER, 200, offset).await.unwrap().payments;
        sum += page
            .iter()
            .filter(|entry| entry.agent.as_ref() == Some(&agent.id))
            .map(|entry| entry.amount.atomic())
            .sum::<u64>();
        if page.len() < 200 {
            return sum;
        }
    }
    sum
}

/// 64 at once by two instances: what is recorded fits, what is refused would not have fitted, and the sum is the books'.
async fn no_interleaving_exceeds_a_limit(backend: Backend) {
    let books = [backend.books().await, backend.open().await];
    let recorders = books.each_ref().map(|books| Recorder::start(&books.payments));
    let mut random = Random::new(seed());
    for round in 1..=u8::try_from(rounds(4)).unwrap_or(u8::MAX) {
        let limit = random.between(1, 2000);
        let agent = kept(&books[0], round, daily(limit)).await;
        let first = u64::from(round) * 1000;
        let payments: Vec<(usize, Payment)> = (first..first + AT_ONCE)
            .map(|number| (random.index(2), by(&agent, number, random.between(1, 100))))
            .collect();
        let recording = payments.iter().map(|(instance, payment)| {
            let (recorder, payment) = (recorders[*instance].clone(), payment.clone());
            tokio::spawn(async move { recorder.record(payment).await.unwrap() })
        });
        let outcomes: Vec<RecordOutcome> =
            join_all(recording).await.into_iter().map(Result::unwrap).collect();
        let at = payment(1).verified_at;
        let spent = books[1].agents.spending(&agent.id, at).await.unwrap().stable.spent;
        assert!(spent <= limit, "round {round}: {spent} of {limit}");
        let mut recorded = 0;
        for ((_, payment), outcome) in payments.iter().zip(&outcomes) {
            match outcome {
                RecordOutcome::Recorded => recorded += payment.amount.atomic(),
                RecordOutcome::Refused(_) => {
                    assert!(spent + payment.amount.atomic() > limit, "round {round}: {payment:?} fits");
                }
                RecordOutcome::AlreadyUsed(_) => panic!("round {round}: {payment:?}"),
            }
        }
        assert_eq!((spent, spent), (recorded, booked(&books[0], &agent).await), "round {round}");
        let made = outcomes.iter().filter(|outcome| **outcome == RecordOutcome::Recorded).count() as u64;
        let agent = books[0].agents.find(OWNER, agent.id.as_str()).await.unwrap().unwrap();
        let reputation = (agent.reputation.transaction_count, u64::from(agent.reputation.score));
        assert_eq!(reputation, (made, made), "round {round}");
    }
}

/// In one batch, those of several agents, those of one agent, twins, and those of nobody.
async fn payments_in_one_batch_share_a_limit(backend: Backend) {
    let books = backend.books().await;
    let (one, two) = (kept(&books, 1, daily(100)).await, kept(&books, 2, daily(5)).await);
    let twin = Payment { transaction: payment(10).transaction, ..by(&one, 16, 10) };
    let batch = [
        by(&one, 10, 60),
        by(&two, 11, 5),
        by(&one, 12, 41),
        by(&one, 13, 40),
        payment(14),
        by(&two, 15, 1),
        twin,
        Payment { nonce: payment(10).nonce, ..by(&one, 17, 1000) },
    ];
    let outcomes = books.payments.record_with_consequences(&batch).await.unwrap();
    // Of what does not fit together, either way is right; these are taken by signature, which is by number.
    let kinds: String = outcomes
        .iter()
        .map(|outcome| match outcome {
            RecordOutcome::Recorded => 'r',
            RecordOutcome::AlreadyUsed(_) => 'u',
            RecordOutcome::Refused(_) => 'x',
        })
        .collect();
    assert!(["rrxrrxuu", "rrxrrxru"].contains(&kinds.as_str()), "{kinds}");
    let at = payment(1).verified_at;
    for agent in [&one, &two] {
        let spent = books.agents.spending(&agent.id, at).await.unwrap().stable.spent;
        assert_eq!(spent, booked(&books, agent).await);
    }
    assert_eq!(books.agents.spending(&one.id, at).await.unwrap().stable.spent, 100);
    // All of it again, as after an answer that was lost: nothing is counted twice.
    let again = books.payments.record_with_consequences(&batch[..2]).await.unwrap();
    assert!(again.iter().all(|outcome| matches!(outcome, RecordOutcome::AlreadyUsed(_))), "{again:?}");
    assert_eq!(books.agents.spending(&one.id, at).await.unwrap().stable.spent, 100);
    assert_eq!(books.payments.list(OWNER, 50, 0).await.unwrap().total, 4);
    let unbooked = by(&one, 20, 1);
    assert_eq!(unbooked.id, PaymentId::from_stored(format!("pay_{:026}", 20)));
    assert_eq!(books.payments.find_by_nonce(&unbooked.nonce).await.unwrap(), None);
}

/// The agent's limit, in atomic units: about half of what is tried.
const LIMIT: u64 = 40_000;
/// Payments of a round.
const PER_ROUND: usize = 32;

fn pay(chain: &Sandbox, clock: &dyn Clock, round: usize, n: usize) -> Value {
    let wallets = chain.wallets();
    let wallet = Wallet::new(wallets.agent.insecure_clone(), chain.rpc_url());
    let amount = Amount::from_atomic((100 + round * PER_ROUND + n) as u64).unwrap();
    let instructions =
        transfer(&wallet.address(), &wallets.merchant.pubkey(), amount, Currency::Usdc).unwrap();
    let message =
        Message::new_with_blockhash(&instructions, Some(&wallet.address()), &chain.latest_blockhash());
    let transaction =
        VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&wallets.agent]).unwrap();
    let signature = chain.send(&transaction).unwrap();
    wallet.prove(&signature, amount, Currency::Usdc, &format!("{round}-{n}"), clock.now())
}

/// A connection of its own, so that none outlives the process. `None`: no answer, or none to its end.
async fn post(url: &str, path: &str, body: &Value) -> Option<Answer> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let request = client.post(format!("{url}{path}")).header("x-api-key", KEY).json(body);
    let sent = tokio::time::timeout(Duration::from_secs(30), request.send()).await.ok()?;
    Answer::whole(sent.ok()?).await
}

/// Two instances on PostgreSQL, one on SQLite. One is killed (-9) in the middle of each round.
async fn a_killed_service_keeps_count(backend: Backend) {
    away_from_midnight();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::clone(&clock)) };
    let chain = Sandbox::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (database, instances) = match &backend {
        Backend::Sqlite(folder) => (format!("sqlite://{}", folder.path().join("books.db").display()), 1),
        Backend::Postgres(server) => (server.url(), 2),
    };
    let start = || {
        ServiceProcess::start(folder.path(), |command| {
            command.env("DATABASE_URL", &database);
            command.env("SOLANA_NETWORK", "sandbox");
            command.env("SOLANA_RPC_URL", chain.rpc_url());
            command.env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string());
            command.env("VALID_API_KEYS", KEY);
        })
    };
    let mut services = Vec::new();
    for _ in 0..instances {
        services.push(start().await);
    }
    let wallet = chain.wallets().agent.pubkey().to_string();
    let body = json!({"name": "a", "publicKey": wallet, "spendingLimit": {"daily": "0.04"}});
    let made = post(&services[0].url, "/agents", &body).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let mut unanswered = 0;
    for round in 0..rounds(8) {
        let proofs: Vec<Value> = (0..PER_ROUND).map(|n| pay(&chain, clock.as_ref(), round, n)).collect();
        chain.advance_slots(2);
        let urls: Vec<String> = services.iter().map(|service| service.url.clone()).collect();
        let load = join_all(proofs.iter().enumerate().map(async |(n, proof)| {
            let answer = post(&urls[n % urls.len()], "/verify", proof).await;
            if let Some(answer) = &answer
                && answer.status != 200
            {
                answer.assert_refused("SPENDING_LIMIT_EXCEEDED");
            }
            usize::from(answer.is_none())
        }));
        let delay = Duration::from_micros((round as u64 * 7919) % 60_000);
        let (lost, ()) = tokio::join!(load, async {
            tokio::time::sleep(delay).await;
            services.remove(0).kill9();
        });
        unanswered += lost.iter().sum::<usize>();
        services.push(start().await);
        for proof in &proofs {
            let mut answer = post(&services[0].url, "/verify", proof).await.unwrap();
            // What the killed one had begun may keep the database for a while.
            while answer.status == 503 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                answer = post(&services[0].url, "/verify", proof).await.unwrap();
            }
            let known = ["", "REPLAY_ATTACK", "SPENDING_LIMIT_EXCEEDED"].contains(&answer.code());
            assert!(known, "{answer:?}");
        }
        assert_counted(&backend).await;
    }
    services.into_iter().for_each(ServiceProcess::kill9);
    assert!(unanswered > 0, "the process never died in the middle");
    let spent = assert_counted(&backend).await;
    assert!(spent > LIMIT - 2000, "the limit was not reached: {spent}");
}

const SPENT: &str = "SELECT day, CAST(sum(spent) AS BIGINT) FROM agent_spending GROUP BY day";
const BOOKED: &str = "\
    SELECT verified_at_ms / 86400000, CAST(sum(amount) AS BIGINT) FROM transactions WHERE agent_id IS NOT NULL \
    GROUP BY verified_at_ms / 86400000";
const COUNTED: &str = "SELECT (SELECT count(*) FROM transactions WHERE agent_id IS NOT NULL), sum_of.n FROM \
     (SELECT CAST(sum(transaction_count) AS BIGINT) AS n FROM agents) sum_of";

/// What is counted is what is in the books, day by day, and within the limit; the day's with the most.
async fn assert_counted(backend: &Backend) -> u64 {
    type ByDay = Vec<(i64, i64)>;
    let (spent, booked, counted): (ByDay, ByDay, (i64, i64)) = match backend {
        Backend::Sqlite(folder) => {
            let url = format!("sqlite://{}", folder.path().join("books.db").display());
            let database = sqlx::SqlitePool::connect(&url).await.unwrap();
            (
                sqlx::query_as(SPENT).fetch_all(&database).await.unwrap(),
                sqlx::query_as(BOOKED).fetch_all(&database).await.unwrap(),
                sqlx::query_as(COUNTED).fetch_one(&database).await.unwrap(),
            )
        }
        Backend::Postgres(server) => {
            let mut database = server.connect().await;
            (
                sqlx::query_as(SPENT).fetch_all(&mut database).await.unwrap(),
                sqlx::query_as(BOOKED).fetch_all(&mut database).await.unwrap(),
                sqlx::query_as(COUNTED).fetch_one(&mut database).await.unwrap(),
            )
        }
    };
    let (spent, booked): (BTreeMap<i64, i64>, BTreeMap<i64, i64>) =
        (spent.into_iter().collect(), booked.into_iter().collect());
    assert_eq!(spent, booked);
    assert_eq!(counted.0, counted.1, "payments and the count of them");
    assert!(spent.values().all(|units| u64::try_from(*units).unwrap() <= LIMIT), "{spent:?}");
    u64::try_from(spent.values().copied().max().unwrap_or_default()).unwrap()
}
