//! `/agents`: each route, each field, each code.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{agent, app, limited, patch, register, wallet};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
};

on_both!(
    an_agent_is_as_it_was_registered,
    what_is_left_out_is_left_out,
    lists_come_in_pages_newest_first,
    a_wallet_is_registered_once,
    fields_that_are_wrong_are_named,
    changes_merge,
    changes_that_are_wrong_are_named,
    changes_made_at_once_are_all_kept,
    what_is_deleted_is_gone,
    another_user_sees_nothing,
    registering_again_under_the_same_key_answers_the_same,
);

async fn delete(app: &TestApp, id: &Value, key: &str) -> Answer {
    let path = app.path(&format!("/agents/{}", id.as_str().unwrap()));
    app.send(app.http.delete(path), Some(key)).await
}

async fn an_agent_is_as_it_was_registered(backend: Backend) {
    let app = app(&backend).await;
    let body = json!({
        "name": "Résearch 1",
        "publicKey": wallet(1),
        "spendingLimit": {"daily": "10.50", "perTransaction": 1e-6, "sol": {"daily": 1, "perTransaction": "0.000000001"}},
        "allowedServices": ["https://API.example.com/*", "/v1/*"],
        "metadata": {"b": 1.10, "a": null},
        "owner": "somebody else", "reputation": {"score": 1000}, "id": "agent_mine",
    });
    let made = register(&app, &body).await;
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("agent_") && id != "agent_mine", "{id}");
    let expected = json!({
        "id": id,
        "name": "Résearch 1",
        "publicKey": wallet(1),
        "owner": made["owner"],
        "spendingLimit": {"daily": 10.5, "perTransaction": 0.000_001, "sol": {"daily": 1, "perTransaction": 0.000_000_001}},
        "allowedServices": ["https://API.example.com/*", "/v1/*"],
        "reputation": {"score": 0, "transactionCount": 0, "trustLevel": "new"},
        "livemode": false,
        "createdAt": app.now(),
        "metadata": {"b": 1.1, "a": null},
    });
    assert_eq!(made, expected);
    let keys = app.get("/api-keys", Some(KEY)).await;
    assert_ne!(made["owner"], "somebody else", "{keys:?}");
    for name in [id.to_owned(), wallet(1)] {
        assert_eq!(agent(&app, &json!(name), "").await, expected);
        let reputation = json!({
            "agentId": id, "score": 0, "transactionCount": 0, "trustLevel": "new", "livemode": false,
        });
        assert_eq!(agent(&app, &json!(name), "/reputation").await, reputation);
        let day = 86_400_000;
        let spending = json!({
            "agentId": id, "spent": 0, "reserved": 0, "left": 10.5,
            "sol": {"spent": 0, "reserved": 0, "left": 1},
            "resetsAt": (app.now().0 / day + 1) * day, "livemode": false,
        });
        assert_eq!(agent(&app, &json!(name), "/spending").await, spending);
    }
}

async fn what_is_left_out_is_left_out(backend: Backend) {
    let app = app(&backend).await;
    let nulls = json!({
        "name": "b", "publicKey": wallet(2), "spendingLimit": null, "allowedServices": null, "metadata": null,
    });
    for body in [json!({"name": "a", "publicKey": wallet(1)}), nulls] {
        let made = register(&app, &body).await;
        assert_eq!(made["spendingLimit"], json!({}));
        for absent in ["allowedServices", "metadata"] {
            assert_eq!(made.get(absent), None, "{made}");
        }
        let spending = agent(&app, &made["id"], "/spending").await;
        assert_eq!((&spending["left"], &spending["sol"]["left"]), (&json!(null), &json!(null)));
    }
    let limited = limited(&app, &wallet(3), json!({"daily": 0, "sol": {"daily": null}})).await;
    assert_eq!(limited["spendingLimit"], json!({"daily": 0}));
    let spending = agent(&app, &limited["id"], "/spending").await;
    assert_eq!((&spending["left"], &spending["sol"]["left"]), (&json!(0), &json!(0)));
}

async fn lists_come_in_pages_newest_first(backend: Backend) {
    let app = app(&backend).await;
    let mut ids = Vec::new();
    for number in 1..=4 {
        app.chain.clock.advance(std::time::Duration::from_millis(5));
        ids.insert(0, register(&app, &json!({"name": "a", "publicKey": wallet(number)})).await["id"].clone());
    }
    let page = async |query: &str| {
        let body = app.get(&format!("/agents{query}"), Some(KEY)).await.body;
        let found: Vec<Value> =
            body["agents"].as_array().unwrap().iter().map(|agent| agent["id"].clone()).collect();
        (found, body["total"].clone(), body["limit"].clone(), body["offset"].clone())
    };
    assert_eq!(page("").await, (ids.clone(), json!(4), json!(50), json!(0)));
    assert_eq!(page("?limit=2&offset=1").await, (ids[1..3].to_vec(), json!(4), json!(2), json!(1)));
    delete(&app, &ids[0], KEY).await;
    assert_eq!(page("").await, (ids[1..].to_vec(), json!(3), json!(50), json!(0)));
    assert_eq!(app.get("/agents?limit=0", Some(KEY)).await.fields(), ["limit"]);
}

async fn a_wallet_is_registered_once(backend: Backend) {
    let app = app(&backend).await;
    let body = json!({"name": "a", "publicKey": wallet(1)});
    let answers = join_all((0..8).map(|_| app.post("/agents", Some(KEY), &body))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    let id = &made[0].body["id"];
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status, refused.code()), (409, "AGENT_EXISTS"), "{refused:?}");
        assert!(refused.body["error"].as_str().unwrap().contains(id.as_str().unwrap()), "{refused:?}");
    }
    let other = app.post("/agents", Some(OTHER_KEY), &body).await;
    assert_eq!(other.status, 201, "{other:?}");
    assert_eq!(delete(&app, id, KEY).await.status, 200);
    let again = register(&app, &body).await;
    assert_ne!(again["id"], *id);
}

async fn fields_that_are_wrong_are_named(backend: Backend) {
    let app = app(&backend).await;
    let good = json!({"name": "a", "publicKey": wallet(1)});
    let cases = [
        ("name", json!("")),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\nb")),
        ("name", json!(7)),
        ("publicKey", json!("nobody")),
        ("publicKey", json!(format!("{}11", wallet(1)))),
        ("spendingLimit", json!(5)),
        ("spendingLimit", json!([])),
        ("allowedServices", json!([])),
        ("allowedServices", json!("/v1/*")),
        ("allowedServices", json!([1])),
        ("allowedServices", json!(["/v1/*", "example.com"])),
        ("allowedServices", json!(vec!["/x"; 51])),
        ("metadata", json!("text")),
        ("metadata", json!([])),
        ("metadata", json!({"big": "x".repeat(5000)})),
    ];
    for (field, value) in cases {
        let answer = app.post("/agents", Some(KEY), &with(good.clone(), field, value)).await;
        let told = (answer.status, answer.code(), answer.fields());
        assert_eq!(told, (400, "VALIDATION_FAILED", vec![field]), "{answer:?}");
    }
    let limits = [
        ("spendingLimit.daily", json!({"daily": -1})),
        ("spendingLimit.daily", json!({"daily": "0.0000001"})),
        ("spendingLimit.perTransaction", json!({"perTransaction": true})),
        ("spendingLimit.perTransaction", json!({"perTransaction": "1e30"})),
        ("spendingLimit.sol", json!({"sol": 1})),
        ("spendingLimit.sol.daily", json!({"sol": {"daily": "0.0000000001"}})),
        ("spendingLimit.sol.perTransaction", json!({"sol": {"perTransaction": "-0"}})),
    ];
    for (field, limit) in limits {
        let answer = app.post("/agents", Some(KEY), &with(good.clone(), "spendingLimit", limit)).await;
        let told = (answer.status, answer.code(), answer.fields());
        assert_eq!(told, (400, "VALIDATION_FAILED", vec![field]), "{answer:?}");
    }
    let nothing =
        app.post("/agents", Some(KEY), &json!({"spendingLimit": {"daily": "x", "sol": {"daily": []}}})).await;
    let all = ["name", "publicKey", "spendingLimit.daily", "spendingLimit.sol.daily"];
    assert_eq!(nothing.fields(), all, "{nothing:?}");
    assert_eq!(app.get("/agents", Some(KEY)).await.body["total"], 0);
}

async fn changes_merge(backend: Backend) {
    let app = app(&backend).await;
    let body = json!({
        "name": "a", "publicKey": wallet(1),
        "spendingLimit": {"daily": 10, "perTransaction": 1, "sol": {"daily": 2, "perTransaction": 1}},
        "allowedServices": ["/v1/*"],
        "metadata": {"a": {"x": 1}, "b": 2, "c": 3},
    });
    let made = register(&app, &body).await;
    let id = &made["id"];
    app.chain.clock.advance(std::time::Duration::from_secs(5));
    let changed = async |change: Value| {
        let answer = patch(&app, id, &change).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(agent(&app, id, "").await, answer.body);
        answer.body
    };
    assert_eq!(changed(json!({})).await, made);
    // What a client read it may send back.
    assert_eq!(changed(made.clone()).await, made);
    let mut expected = made.clone();
    expected["name"] = json!("b");
    expected["spendingLimit"] = json!({"daily": 20, "perTransaction": 1, "sol": {"perTransaction": 1}});
    expected["metadata"] = json!({"a": {"y": 1}, "c": 3, "d": 4});
    let change = json!({
        "name": "b", "spendingLimit": {"daily": "20", "sol": {"daily": null}},
        "metadata": {"a": {"y": 1}, "b": null, "d": 4},
    });
    assert_eq!(changed(change).await, expected);
    expected["allowedServices"] = json!(["https://example.com/*"]);
    expected["spendingLimit"] = json!({"daily": 20, "perTransaction": 1});
    let change = json!({"allowedServices": ["https://example.com/*"], "spendingLimit": {"sol": null}});
    assert_eq!(changed(change).await, expected);
    let cleared = changed(json!({"allowedServices": null, "spendingLimit": null, "metadata": null})).await;
    assert_eq!(cleared["spendingLimit"], json!({}));
    assert_eq!((cleared.get("allowedServices"), cleared.get("metadata")), (None, None));
    assert_eq!(changed(json!({"metadata": {"e": 5}})).await["metadata"], json!({"e": 5}));
}

async fn changes_that_are_wrong_are_named(backend: Backend) {
    let app = app(&backend).await;
    let made =
        register(&app, &json!({"name": "a", "publicKey": wallet(1), "metadata": {"a": "x".repeat(3000)}}))
            .await;
    let cases = [
        ("name", json!({"name": null})),
        ("name", json!({"name": ""})),
        ("publicKey", json!({"publicKey": wallet(2)})),
        ("publicKey", json!({"publicKey": null})),
        ("spendingLimit.daily", json!({"spendingLimit": {"daily": -1}})),
        ("spendingLimit.sol", json!({"spendingLimit": {"sol": "1"}})),
        ("allowedServices", json!({"allowedServices": []})),
        ("metadata", json!({"metadata": 1})),
        // Not by itself, but with what is there.
        ("metadata", json!({"metadata": {"b": "x".repeat(3000)}})),
    ];
    for (field, change) in cases {
        let answer = patch(&app, &made["id"], &change).await;
        let told = (answer.status, answer.code(), answer.fields());
        assert_eq!(told, (400, "VALIDATION_FAILED", vec![field]), "{answer:?}");
    }
    assert_eq!(agent(&app, &made["id"], "").await, made);
}

async fn changes_made_at_once_are_all_kept(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": wallet(1)})).await;
    let changes = (0..16).map(|number| {
        let (app, id) = (&app, &made["id"]);
        async move { patch(app, id, &json!({"metadata": {format!("m{number:02}"): number}})).await }
    });
    assert!(join_all(changes).await.iter().all(|answer| answer.status == 200));
    let metadata = agent(&app, &made["id"], "").await["metadata"].clone();
    assert_eq!(metadata.as_object().unwrap().len(), 16, "{metadata}");
}

async fn what_is_deleted_is_gone(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": wallet(1)})).await;
    let id = made["id"].clone();
    let deleted = delete(&app, &json!(wallet(1)), KEY).await;
    assert_eq!((deleted.status, deleted.body), (200, made));
    for name in [id, json!(wallet(1))] {
        for part in ["", "/reputation", "/spending"] {
            let answer = app.get(&format!("/agents/{}{part}", name.as_str().unwrap()), Some(KEY)).await;
            assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
        }
        assert_eq!(patch(&app, &name, &json!({})).await.status, 404);
        assert_eq!(delete(&app, &name, KEY).await.status, 404);
    }
}

async fn another_user_sees_nothing(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": wallet(1)})).await;
    for name in [made["id"].clone(), json!(wallet(1))] {
        let path = format!("/agents/{}", name.as_str().unwrap());
        for part in ["", "/reputation", "/spending"] {
            let answer = app.get(&format!("{path}{part}"), Some(OTHER_KEY)).await;
            assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
        }
        let change = app.http.patch(app.path(&path)).json(&json!({"name": "mine"}));
        assert_eq!(app.send(change, Some(OTHER_KEY)).await.status, 404);
        assert_eq!(delete(&app, &name, OTHER_KEY).await.status, 404);
    }
    assert_eq!(app.get("/agents", Some(OTHER_KEY)).await.body["total"], 0);
    assert_eq!(agent(&app, &made["id"], "").await, made);
}

async fn registering_again_under_the_same_key_answers_the_same(backend: Backend) {
    let app = app(&backend).await;
    let post = async |body: &Value| {
        let request = app.http.post(app.path("/agents")).header("idempotency-key", "one").json(body);
        app.send(request, Some(KEY)).await
    };
    let body = json!({"name": "a", "publicKey": wallet(1)});
    let (first, again) = (post(&body).await, post(&body).await);
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = post(&json!({"name": "b", "publicKey": wallet(2)})).await;
    assert_eq!((other.status, other.code()), (409, "IDEMPOTENCY_CONFLICT"));
    assert_eq!(app.get("/agents", Some(KEY)).await.body["total"], 1);
}
