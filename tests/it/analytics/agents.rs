//! `/analytics/top-agents`: every field, every ranking, and whose agents are seen.

use std::{sync::Arc, time::Duration};

use pay402::{
    analytics::{Log, Ranking, Rolled, Rollup, SETTLED_AFTER, Window},
    calendar::{DAY_MS, HOUR_MS},
    clock::{Clock, UnixMs},
    ids::AgentId,
    money::{Amount, Currency},
    payments::PaymentState,
    store::Books,
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use super::model::{self, Model};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, TestApp},
};

on_both!(
    agents_are_told_with_what_they_spent,
    a_deleted_agent_stays_with_what_it_spent,
    they_are_ranked_by_what_is_asked_for,
    amounts_are_ranked_past_what_a_number_holds,
    those_that_are_equal_have_an_order,
    another_users_agents_are_not_seen,
);

/// What `KEY` belongs to.
const USER: Option<&str> = Some("key:sk_test_merc");
const NOON: UnixMs = UnixMs(1_790_078_400_000);

async fn roll(app: &TestApp, books: &Books) {
    app.chain.clock.advance(SETTLED_AFTER + Duration::from_millis(1));
    let clock: Arc<dyn Clock> = app.chain.clock.clone();
    assert!(Rollup::new(Arc::clone(&books.analytics), clock).round().await.unwrap());
}

async fn register(app: &TestApp, name: &str, wallet: &str) -> Value {
    let answer = app.post("/agents", Some(KEY), &json!({"name": name, "publicKey": wallet})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].clone()
}

async fn top(app: &TestApp, query: &str) -> Value {
    let answer = app.get(&format!("/analytics/top-agents{query}"), Some(KEY)).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.body
}

fn wallet(number: u8) -> String {
    Pubkey::new_from_array([number; 32]).to_string()
}

fn id(agent: &Value) -> Option<AgentId> {
    agent.as_str().map(|id| AgentId::from_stored(id.to_owned()))
}

/// Two agents, one of which pays by itself; the other has paid in everything, and not always well.
async fn fill(app: &TestApp, books: &Books) -> (Value, Value) {
    let one = register(app, "one", &app.agent_address()).await;
    let other = register(app, "other", &wallet(1)).await;
    let paid = app.pay(&app.merchant(), 50_000, Currency::Usdc);
    app.verify(&app.proof(&paid, "by itself")).await.assert_valid();
    let (mut model, at) = (Model::default(), app.now());
    // No agent's.
    model.prove(books, USER, (Currency::Usdc, 1_000_000), at).await;
    model.agent = id(&other);
    model.prove(books, USER, (Currency::Sol, 7_000_000_001), at).await;
    model.prove(books, USER, (Currency::Pyusd, 1), at).await;
    for (currency, units, state) in [
        (Some(Currency::Usdt), 30_000, Some(PaymentState::Settled)),
        (Some(Currency::Usdt), 10, Some(PaymentState::Settled)),
        (Some(Currency::Usdc), 7, Some(PaymentState::Failed)),
        (Some(Currency::Usdc), 8, Some(PaymentState::Expired)),
        (Some(Currency::Usdc), 9, None),
        (None, 10, Some(PaymentState::Settled)),
    ] {
        let place = model.begin(books, USER, (currency, units), at).await;
        if let Some(state) = state {
            model.end(books, place, state, at).await;
        }
    }
    (one, other)
}

async fn agents_are_told_with_what_they_spent(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    let hour = app.now().0 - app.now().0 % HOUR_MS;
    let nobody = json!({
        "from": hour + HOUR_MS - 30 * DAY_MS, "to": hour + HOUR_MS, "rankedBy": "stablecoins", "livemode": false, "agents": [],
        "total": 0, "limit": 50, "offset": 0,
    });
    assert_eq!(top(&app, "").await, nobody);
    let (one, other) = fill(&app, &books).await;
    let expected = json!([
        {
            "agentId": one, "name": "one", "publicKey": app.agent_address(),
            "reputation": {"score": 1, "transactionCount": 1, "trustLevel": "new"},
            "transactionCount": 1, "stablecoins": 0.05,
            "currencies": [{"currency": "USDC", "payments": 1, "amount": 0.05}], "otherPayments": 0,
        },
        {
            "agentId": other, "name": "other", "publicKey": wallet(1),
            // By what was settled and what failed: the proofs went into the books alone.
            "reputation": {"score": 1, "transactionCount": 3, "trustLevel": "new"},
            "transactionCount": 5, "stablecoins": 0.030_011,
            "currencies": [
                {"currency": "USDT", "payments": 2, "amount": 0.03001},
                {"currency": "SOL", "payments": 1, "amount": 7.000_000_001},
                {"currency": "PYUSD", "payments": 1, "amount": 0.000_001},
            ],
            "otherPayments": 1,
        },
    ]);
    let now = format!("?from={}&to={}", app.now().0, app.now().0 + 1);
    for rolled in [false, true] {
        let told = top(&app, &now).await;
        assert_eq!((&told["from"], &told["to"]), (&json!(hour), &json!(hour + HOUR_MS)));
        assert_eq!((&told["agents"], &told["total"]), (&expected, &json!(2)), "{rolled}");
        let page = top(&app, &format!("{now}&limit=1&offset=1")).await;
        assert_eq!((&page["agents"], &page["total"]), (&json!([expected[1]]), &json!(2)), "{rolled}");
        assert_eq!((&page["limit"], &page["offset"]), (&json!(1), &json!(1)));
        let past = top(&app, &format!("{now}&offset=2")).await;
        assert_eq!((&past["agents"], &past["total"]), (&json!([]), &json!(2)), "{rolled}");
        let before = top(&app, &format!("?to={hour}")).await;
        assert_eq!((&before["agents"], &before["total"]), (&json!([]), &json!(0)), "{rolled}");
        roll(&app, &books).await;
    }
}

async fn a_deleted_agent_stays_with_what_it_spent(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    let (one, _) = fill(&app, &books).await;
    let path = app.path(&format!("/agents/{}", one.as_str().unwrap()));
    assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
    let deleted_at = app.now();
    // The wallet is another agent's from now on.
    register(&app, "again", &app.agent_address()).await;
    for rolled in [false, true] {
        let told = top(&app, "").await;
        assert_eq!(told["total"], json!(2), "{rolled}");
        let first = &told["agents"][0];
        assert_eq!((&first["agentId"], &first["deletedAt"]), (&one, &json!(deleted_at)), "{rolled}");
        assert_eq!((&first["stablecoins"], &first["name"]), (&json!(0.05), &json!("one")));
        assert_eq!(told["agents"][1].get("deletedAt"), None);
        roll(&app, &books).await;
    }
}

async fn they_are_ranked_by_what_is_asked_for(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    let (one, other) = fill(&app, &books).await;
    for rolled in [false, true] {
        for (rank_by, first) in [
            ("stablecoins", &one),
            ("transactions", &other),
            ("USDC", &one),
            ("USDT", &other),
            ("SOL", &other),
            ("PYUSD", &other),
        ] {
            let told = top(&app, &format!("?rankBy={rank_by}")).await;
            let ranked = (&told["rankedBy"], &told["agents"][0]["agentId"], &told["total"]);
            assert_eq!(ranked, (&json!(rank_by), first, &json!(2)), "{rolled}");
        }
        roll(&app, &books).await;
    }
}

/// Each more than 64 bits hold, and they differ in the last of them.
async fn amounts_are_ranked_past_what_a_number_holds(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    for number in 1..=3_u8 {
        model.agent = Some(model.register(&books, "shop", number).await.id);
        for _ in 0..3 {
            model.prove(&books, Some("shop"), (Currency::Usdc, Amount::MAX), NOON).await;
        }
        model.prove(&books, Some("shop"), (Currency::Usdt, number.into()), NOON).await;
    }
    for rolled in [false, true] {
        let found = books.analytics.agents("shop", Window::ALL, Ranking::Stablecoins, 10, 0).await.unwrap();
        assert_eq!(
            model::ranked(&found),
            model.agents("shop", Window::ALL, Ranking::Stablecoins),
            "{rolled}"
        );
        let names: Vec<_> = found.agents.iter().map(|agent| agent.name.as_str()).collect();
        assert_eq!(names, ["agent 3", "agent 2", "agent 1"], "{rolled}");
        while books.analytics.roll(Log::Agents, NOON + Duration::from_secs(1), 2).await.unwrap()
            == Rolled::Some
        {}
    }
}

/// So that pages hold everyone once.
async fn those_that_are_equal_have_an_order(backend: Backend) {
    let (books, mut model) = (backend.books().await, Model::default());
    for number in [3, 1, 2, 4] {
        model.agent = Some(model.register(&books, "shop", number).await.id);
        model.prove(&books, Some("shop"), (Currency::Usdc, 5), NOON).await;
    }
    // As much, in more payments.
    model.agent = Some(model.register(&books, "shop", 5).await.id);
    model.prove(&books, Some("shop"), (Currency::Usdt, 2), NOON).await;
    model.prove(&books, Some("shop"), (Currency::Pyusd, 3), NOON).await;
    let mut names = Vec::new();
    for offset in 0..5 {
        let page =
            books.analytics.agents("shop", Window::ALL, Ranking::Stablecoins, 1, offset).await.unwrap();
        names.extend(page.agents.into_iter().map(|agent| agent.name));
    }
    assert_eq!(names, ["agent 5", "agent 1", "agent 2", "agent 3", "agent 4"]);
}

async fn another_users_agents_are_not_seen(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    fill(&app, &books).await;
    for rolled in [false, true] {
        let told = app.get("/analytics/top-agents", Some(OTHER_KEY)).await.body;
        assert_eq!((&told["agents"], &told["total"]), (&json!([]), &json!(0)), "{rolled}");
        roll(&app, &books).await;
    }
}
