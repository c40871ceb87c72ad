//! `/analytics`: every field, and what is refused.

use std::{sync::Arc, time::Duration};

use pay402::{
    analytics::{Rollup, SETTLED_AFTER},
    calendar::{DAY_MS, HOUR_MS},
    clock::{Clock, UnixMs},
    money::{Amount, Currency},
    payments::PaymentState,
    store::Books,
};
use serde_json::{Value, json};

use super::model::Model;
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
    sandbox::setup::START,
};

on_both!(
    transactions_are_told_by_state_source_and_currency,
    what_has_not_settled_has_no_average,
    revenue_is_a_series_with_every_period,
    every_period_has_its_points,
    amounts_are_written_to_the_last_digit,
    events_are_listed_and_counted_by_type,
    what_cannot_be_asked_names_the_field,
    another_users_books_are_not_seen,
    an_event_says_what_it_is_about,
);

/// What `KEY` belongs to.
const USER: Option<&str> = Some("key:sk_test_merc");
/// The hour and the day of the start, a Monday.
const HOUR: i64 = START.0 - START.0 % HOUR_MS;
const DAY: i64 = START.0 - START.0 % DAY_MS;

/// Lets all be summed up that was booked until now.
async fn roll(app: &TestApp, books: &Books) {
    app.chain.clock.advance(SETTLED_AFTER + Duration::from_millis(1));
    let clock: Arc<dyn Clock> = app.chain.clock.clone();
    assert!(Rollup::new(Arc::clone(&books.analytics), clock).round().await.unwrap());
}

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.get(path, Some(KEY)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

async fn verify(app: &TestApp, units: u64, nonce: &str) -> Value {
    let paid = app.pay(&app.merchant(), units, Currency::Usdc);
    let answer = app.verify(&app.proof(&paid, nonce)).await;
    answer.assert_valid();
    answer.body["payment"].clone()
}

/// One of everything.
async fn fill(app: &TestApp, books: &Books) {
    verify(app, 50_000, "one").await;
    let (mut model, at) = (Model::default(), app.now());
    model.prove(books, USER, (Currency::Sol, 1), at).await;
    model.prove(books, None, (Currency::Sol, 1), at).await;
    let usdc = Some(Currency::Usdc);
    for (currency, units, state) in [
        (usdc, 20_000_001, Some(PaymentState::Settled)),
        (usdc, 7, Some(PaymentState::Failed)),
        (usdc, 8, Some(PaymentState::Expired)),
        (usdc, 9, None),
        (None, 10, Some(PaymentState::Settled)),
        (None, 11, None),
    ] {
        let place = model.begin(books, USER, (currency, units), at).await;
        if let Some(state) = state {
            model.end(books, place, state, at).await;
        }
    }
}

async fn transactions_are_told_by_state_source_and_currency(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    let nothing = get(&app, "/analytics/transactions").await;
    let end = HOUR + HOUR_MS;
    let none = json!({"pending": 0, "settled": 0, "failed": 0, "expired": 0});
    let expected = json!({
        "from": end - 30 * DAY_MS, "to": end, "payments": 0, "states": none, "sources": {"proof": 0, "x402": 0},
        "currencies": [], "otherAssets": none, "livemode": false,
    });
    assert_eq!(nothing, expected);
    fill(&app, &books).await;
    let tally = |payments: u64, amount: f64| json!({"payments": payments, "amount": amount});
    let zero = json!({"payments": 0, "amount": 0});
    let expected = json!({
        "from": HOUR, "to": end, "payments": 8,
        "states": {"pending": 2, "settled": 4, "failed": 1, "expired": 1},
        "sources": {"proof": 2, "x402": 6},
        "currencies": [
            {
                "currency": "USDC", "payments": 5, "pending": tally(1, 0.000_009), "settled": tally(2, 20.050_001),
                "failed": tally(1, 0.000_007), "expired": tally(1, 0.000_008), "averageSettled": 10.025_001,
            },
            {
                "currency": "SOL", "payments": 1, "pending": zero, "settled": tally(1, 1e-9), "failed": zero,
                "expired": zero, "averageSettled": 1e-9,
            },
        ],
        "otherAssets": {"pending": 1, "settled": 1, "failed": 0, "expired": 0},
        "livemode": false,
    });
    let asked = format!("/analytics/transactions?from={}&to={}", START.0, START.0 + 1);
    assert_eq!(get(&app, &asked).await, expected);
    // And when they are summed up.
    roll(&app, &books).await;
    assert_eq!(get(&app, &asked).await, expected);
    let before = format!("/analytics/transactions?to={HOUR}");
    assert_eq!(get(&app, &before).await["payments"], json!(0));
    let after = format!("/analytics/transactions?from={end}&to={}", end + HOUR_MS);
    assert_eq!(get(&app, &after).await["payments"], json!(0));
}

/// A currency with nothing settled has no average.
async fn what_has_not_settled_has_no_average(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    Model::default().begin(&books, USER, (Some(Currency::Pyusd), 5), app.now()).await;
    let told = get(&app, "/analytics/transactions").await;
    assert_eq!(told["currencies"][0]["pending"], json!({"payments": 1, "amount": 0.000_005}));
    assert_eq!(told["currencies"][0].get("averageSettled"), None);
    assert_eq!(get(&app, "/analytics/revenue").await["currencies"], json!([]));
}

async fn revenue_is_a_series_with_every_period(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    verify(&app, 50_000, "today").await;
    let (mut model, mut expected) = (Model::default(), Vec::new());
    for days in [1, 1, 3] {
        model.prove(&books, USER, (Currency::Usdc, 200_000), UnixMs(START.0 - days * DAY_MS)).await;
    }
    model.prove(&books, USER, (Currency::Sol, 5), app.now()).await;
    let place = model.begin(&books, USER, (None, 5), app.now()).await;
    model.end(&books, place, PaymentState::Settled, app.now()).await;
    let place = model.begin(&books, USER, (Some(Currency::Usdc), 5), app.now()).await;
    model.end(&books, place, PaymentState::Failed, app.now()).await;
    for (days, payments, amount) in
        [(3, 1, json!(0.2)), (2, 0, json!(0)), (1, 2, json!(0.4)), (0, 1, json!(0.05))]
    {
        let start = DAY - days * DAY_MS;
        expected.push(json!({"start": start, "end": start + DAY_MS, "amount": amount, "payments": payments}));
    }
    let asked = format!("/analytics/revenue?period=day&from={}", START.0 - 3 * DAY_MS);
    for rolled in [false, true] {
        let told = get(&app, &asked).await;
        assert_eq!(told["period"], json!("day"));
        assert_eq!((&told["from"], &told["to"]), (&json!(DAY - 3 * DAY_MS), &json!(DAY + DAY_MS)));
        assert_eq!((&told["payments"], &told["otherPayments"]), (&json!(6), &json!(1)), "{rolled}");
        let usdc = &told["currencies"][0];
        assert_eq!((&usdc["currency"], &usdc["payments"]), (&json!("USDC"), &json!(4)));
        assert_eq!((&usdc["total"], &usdc["average"]), (&json!(0.65), &json!(0.1625)));
        assert_eq!(usdc["series"], json!(expected), "{rolled}");
        let sol = &told["currencies"][1];
        assert_eq!((&sol["currency"], &sol["total"]), (&json!("SOL"), &json!(5e-9)));
        assert_eq!(sol["series"].as_array().unwrap().len(), 4);
        assert_eq!(told["currencies"].as_array().unwrap().len(), 2);
        roll(&app, &books).await;
    }
}

async fn every_period_has_its_points(backend: Backend) {
    let app = backend.app().await;
    verify(&app, 50_000, "now").await;
    // 21 September 2026 is a Monday; the month has 30 days.
    let month = DAY - 20 * DAY_MS;
    for (query, period, points, start, end) in [
        ("", "day", 30, DAY, DAY + DAY_MS),
        ("?period=hour", "hour", 24, HOUR, HOUR + HOUR_MS),
        ("?period=day", "day", 30, DAY, DAY + DAY_MS),
        ("?period=week", "week", 12, DAY, DAY + 7 * DAY_MS),
        ("?period=month", "month", 12, month, month + 30 * DAY_MS),
    ] {
        let told = get(&app, &format!("/analytics/revenue{query}")).await;
        let series = told["currencies"][0]["series"].as_array().unwrap();
        assert_eq!((&told["period"], series.len()), (&json!(period), points), "{query}");
        let last = json!({"start": start, "end": end, "amount": 0.05, "payments": 1});
        assert_eq!(series.last(), Some(&last), "{query}");
        assert_eq!((&told["from"], &told["to"]), (&series[0]["start"], &json!(end)), "{query}");
        let ends = series.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]);
        assert!(ends, "{query}: {told}");
    }
}

/// No float was near.
async fn amounts_are_written_to_the_last_digit(backend: Backend) {
    let (app, books, mut model) = (backend.app().await, backend.books().await, Model::default());
    for _ in 0..3 {
        model.prove(&books, USER, (Currency::Usdc, Amount::MAX), app.now()).await;
    }
    for path in ["/analytics/transactions", "/analytics/revenue?period=month"] {
        let request = app.http.get(app.path(path)).header("x-api-key", KEY);
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.contains(":27670116110564.327421") && text.contains(":9223372036854.775807"), "{text}");
    }
}

async fn events_are_listed_and_counted_by_type(backend: Backend) {
    let (app, books, mut model) = (backend.app().await, backend.books().await, Model::default());
    let mut newest_first = Vec::new();
    for number in 0..3 {
        app.chain.clock.advance(Duration::from_secs(2));
        let payment = verify(&app, 1 + number, &format!("nonce {number}")).await;
        newest_first.insert(0, (payment["id"].clone(), app.now()));
    }
    let place = model.begin(&books, USER, (Some(Currency::Usdc), 5), app.now()).await;
    app.chain.clock.advance(Duration::from_secs(40));
    model.end(&books, place, PaymentState::Expired, app.now()).await;
    let ended = app.now();
    let types = json!([{"type": "payment.expired", "events": 1}, {"type": "payment.verified", "events": 3}]);
    for rolled in [false, true] {
        let all = get(&app, "/analytics/events").await;
        let counts = (&all["total"], &all["limit"], &all["offset"], &all["types"]);
        assert_eq!(counts, (&json!(4), &json!(50), &json!(0), &types), "{rolled}");
        let first = &all["events"][0];
        assert_eq!((&first["type"], &first["occurredAt"]), (&json!("payment.expired"), &json!(ended)));
        assert!(first["id"].as_str().unwrap().starts_with("evt_"), "{first}");
        assert_eq!(all["events"].as_array().unwrap().len(), 4);

        let verified = get(&app, "/analytics/events?type=payment.verified").await;
        assert_eq!((&verified["total"], &verified["types"]), (&json!(3), &types), "{rolled}");
        let listed = verified["events"].as_array().unwrap();
        assert_eq!(listed.len(), 3);
        for (event, (payment, at)) in listed.iter().zip(&newest_first) {
            assert_eq!(event["type"], "payment.verified");
            assert_eq!((&event["paymentId"], &event["occurredAt"]), (payment, &json!(at)));
        }
        let page = get(&app, "/analytics/events?type=payment.verified&limit=1&offset=1").await;
        assert_eq!((&page["events"], &page["total"]), (&json!([listed[1]]), &json!(3)), "{rolled}");
        // From page to page by the last event of each.
        let mut walked = Vec::new();
        let mut path = "/analytics/events?limit=2".to_owned();
        while let Some(last) = get(&app, &path).await["events"].as_array().unwrap().last() {
            path = format!("/analytics/events?limit=2&before={}", last["id"].as_str().unwrap());
            walked.push(last.clone());
        }
        assert_eq!(walked, [all["events"][1].clone(), all["events"][3].clone()], "{rolled}");
        let rest = get(
            &app,
            &format!("/analytics/events?type=payment.verified&before={}", listed[0]["id"].as_str().unwrap()),
        )
        .await;
        assert_eq!((&rest["events"], &rest["total"]), (&json!(listed[1..]), &json!(3)), "{rolled}");
        let other = get(&app, "/analytics/events?type=payment.settled").await;
        assert_eq!((&other["events"], &other["total"], &other["types"]), (&json!([]), &json!(0), &types));
        let earlier = get(&app, &format!("/analytics/events?to={HOUR}")).await;
        assert_eq!(
            (&earlier["events"], &earlier["total"], &earlier["types"]),
            (&json!([]), &json!(0), &json!([]))
        );
        let since = get(&app, &format!("/analytics/events?from={}", START.0)).await;
        assert_eq!(since["total"], json!(4), "{rolled}");
        roll(&app, &books).await;
    }
}

async fn what_cannot_be_asked_names_the_field(backend: Backend) {
    let app = backend.app().await;
    let long = "x".repeat(65);
    let cases = [
        ("transactions?from=x", "from"),
        ("transactions?from=-1", "from"),
        ("transactions?from=1.5", "from"),
        ("transactions?to=0", "to"),
        ("transactions?to=", "to"),
        ("transactions?to=253402300800001", "to"),
        ("transactions?from=7200000&to=7200000", "from"),
        ("transactions?from=99999999999999", "from"),
        ("transactions?from=1&from=2", "query"),
        ("revenue?period=year", "period"),
        ("revenue?period=", "period"),
        ("revenue?period=hour&from=0", "from"),
        ("revenue?from=tomorrow", "from"),
        ("revenue?to=1e3", "to"),
        ("events?type=", "type"),
        ("events?type=a%00b", "type"),
        (&format!("events?type={long}"), "type"),
        ("events?before=", "before"),
        ("events?before=a%00b", "before"),
        ("events?limit=0", "limit"),
        ("events?offset=1000001", "offset"),
        ("events?from=2&to=1", "from"),
        ("top-agents?rankBy=usdc", "rankBy"),
        ("top-agents?rankBy=", "rankBy"),
        ("top-agents?from=2&to=1", "from"),
        ("top-agents?to=x", "to"),
        ("top-agents?limit=201", "limit"),
    ];
    for (path, field) in cases {
        let answer: Answer = app.get(&format!("/analytics/{path}"), Some(KEY)).await;
        let told = (answer.status, answer.code(), answer.fields());
        assert_eq!(told, (400, "VALIDATION_FAILED", vec![field]), "{path}: {answer:?}");
    }
    for (path, fields) in [
        ("revenue?from=x&to=y", &["from", "to"][..]),
        ("revenue?period=x&from=y&to=z", &["period", "from", "to"]),
        ("top-agents?rankBy=x&from=y", &["rankBy", "from"]),
        ("events?type=&before=&to=0", &["type", "before", "to"]),
    ] {
        assert_eq!(app.get(&format!("/analytics/{path}"), Some(KEY)).await.fields(), fields, "{path}");
    }
    let many = app.get("/analytics/revenue?period=hour&from=0", Some(KEY)).await;
    let says = many.body["error"].as_str().unwrap();
    assert!(says.contains("1000") && says.contains("ask for a longer period"), "{says}");
}

async fn another_users_books_are_not_seen(backend: Backend) {
    let (app, books) = (backend.app().await, backend.books().await);
    fill(&app, &books).await;
    for rolled in [false, true] {
        let theirs = async |path: &str| app.get(path, Some(OTHER_KEY)).await.body;
        let told = theirs("/analytics/transactions").await;
        assert_eq!((&told["payments"], &told["currencies"]), (&json!(0), &json!([])), "{rolled}");
        let told = theirs("/analytics/revenue").await;
        assert_eq!((&told["payments"], &told["currencies"]), (&json!(0), &json!([])), "{rolled}");
        let told = theirs("/analytics/events").await;
        assert_eq!((&told["events"], &told["types"]), (&json!([]), &json!([])), "{rolled}");
        roll(&app, &books).await;
    }
}

async fn an_event_says_what_it_is_about(backend: Backend) {
    let app = backend.app().await;
    let post = async |path: &str, body: Value| {
        let answer = app.post(path, Some(KEY), &body).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        answer.body["id"].clone()
    };
    let agent = post("/agents", json!({"name": "agent", "publicKey": app.agent_address()})).await;
    let plan = post("/plans", json!({"name": "pro", "pricePerMonth": 0.05, "currency": "USDC"})).await;
    let new = json!({"planId": plan, "agentId": agent, "requirePayment": true});
    let subscription = post("/subscriptions", new).await;
    let paid = app.pay(&app.merchant(), 50_000, Currency::Usdc);
    let answer =
        app.verify(&with(app.proof(&paid, "first month"), "subscriptionId", subscription.clone())).await;
    answer.assert_valid();
    let payment = &answer.body["payment"]["id"];
    let told = get(&app, "/analytics/events").await;
    for (kind, about) in [
        ("agent.created", json!({"agentId": agent})),
        ("subscription.created", json!({"agentId": agent, "subscriptionId": subscription})),
        ("payment.verified", json!({"agentId": agent, "paymentId": payment})),
        (
            "subscription.paid",
            json!({"agentId": agent, "subscriptionId": subscription, "paymentId": payment}),
        ),
    ] {
        let mut of_kind = told["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind);
        let mut event = of_kind.next().unwrap_or_else(|| panic!("{kind}: {told}")).clone();
        for plain in ["id", "type", "livemode", "occurredAt"] {
            event.as_object_mut().unwrap().remove(plain);
        }
        assert_eq!(event, about, "{kind}");
    }
}
