//! Every operation of the served document, called by those who may not.

use std::collections::BTreeSet;

use pay402::api_keys::Scope;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;

use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
};

on_both!(
    without_a_key_nothing_closed_opens,
    a_wrong_key_opens_nothing,
    a_wrong_key_is_answered_as_documented,
    a_key_needs_the_scope_of_the_operation,
);

/// Operations that need no key.
const PUBLIC: [&str; 9] = [
    "GET /health",
    "GET /metrics",
    "GET /openapi.json",
    "GET /plans",
    "GET /plans/{id}",
    "GET /ready",
    "GET /subscriptions/plans",
    "GET /subscriptions/plans/{id}",
    "GET /supported",
];
/// Operations that may be called without a key, but not with a bad one.
const OPTIONAL: [&str; 3] = ["GET /payments/{id}", "POST /settle", "POST /verify"];

/// An operation as the document has it.
struct Operation {
    label: String,
    method: String,
    path: String,
    security: Vec<Value>,
    /// As the document spells them.
    statuses: BTreeSet<String>,
    takes_an_idempotency_key: bool,
}

impl Operation {
    /// May be called without a key.
    fn is_open(&self) -> bool {
        self.security.is_empty() || self.security.contains(&json!({}))
    }

    fn takes_a_key(&self) -> bool {
        self.security.iter().any(|choice| choice.get("bearer").is_some() && choice.get("apiKey").is_none())
            && self
                .security
                .iter()
                .any(|choice| choice.get("apiKey").is_some() && choice.get("bearer").is_none())
    }

    /// The scopes that a key needs, by each way of sending it.
    fn scopes(&self) -> Vec<&Vec<Value>> {
        let ways = self.security.iter().filter_map(Value::as_object).flat_map(|choice| choice.values());
        ways.filter_map(Value::as_array).collect()
    }

    /// The scope that a key needs.
    fn scope(&self) -> &str {
        self.scopes()[0][0].as_str().unwrap()
    }

    /// With every name in the path replaced by `name`.
    fn request(&self, app: &TestApp, name: &str) -> reqwest::RequestBuilder {
        let parts = self.path.split('/').map(|part| if part.starts_with('{') { name } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let request = app.http.request(self.method.parse().unwrap(), app.path(&path));
        if matches!(self.method.as_str(), "POST" | "PATCH") { request.json(&json!({})) } else { request }
    }
}

/// Whoever calls it.
#[tokio::test]
async fn every_operation_tells_that_it_refuses_keys_sent_twice() {
    let app = TestApp::start().await;
    for operation in operations(&app).await {
        let request = operation.request(&app, "x").header("x-api-key", KEY).header("x-api-key", OTHER_KEY);
        let answer = app.send(request, None).await;
        assert_eq!((answer.status, answer.code()), (400, "INVALID_REQUEST"), "{}", operation.label);
        assert!(
            operation.statuses.contains("400") && operation.statuses.contains("431"),
            "{}",
            operation.label
        );
    }
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.get("/openapi.json", None).await.body;
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            found.push(Operation {
                label: format!("{method} {path}"),
                method,
                path: path.clone(),
                security: operation["security"].as_array().cloned().unwrap_or_default(),
                statuses: operation["responses"].as_object().unwrap().keys().cloned().collect(),
                takes_an_idempotency_key: operation["parameters"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one["name"] == "Idempotency-Key")),
            });
        }
    }
    assert!(found.len() >= 9, "the document has the operations");
    found
}

#[track_caller]
fn assert_unauthorized(label: &str, answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (401, "INVALID_API_KEY"), "{label}: {answer:?}");
    assert_eq!(answer.headers["www-authenticate"], "Bearer", "{label}");
}

/// Who opens an operation to all has to say so here too.
#[tokio::test]
async fn no_operation_is_open_by_accident() {
    let app = TestApp::start().await;
    let operations = operations(&app).await;
    let labels = |which: &dyn Fn(&Operation) -> bool| -> Vec<&str> {
        operations.iter().filter(|one| which(one)).map(|one| one.label.as_str()).collect()
    };
    assert_eq!(labels(&|one| one.security.is_empty()), PUBLIC);
    assert_eq!(labels(&|one| one.is_open() && !one.security.is_empty()), OPTIONAL);
    assert_eq!(labels(&|one| !one.security.is_empty() && !one.takes_a_key()), [""; 0]);
}

/// However a key is sent, it needs the same one scope.
#[tokio::test]
async fn every_operation_that_takes_a_key_names_its_scope() {
    let app = TestApp::start().await;
    for operation in operations(&app).await.iter().filter(|one| one.takes_a_key()) {
        let scopes = operation.scopes();
        assert_eq!(scopes.len(), 2, "{}", operation.label);
        assert_eq!((scopes[0], scopes[0].len()), (scopes[1], 1), "{}", operation.label);
    }
}

async fn without_a_key_nothing_closed_opens(backend: Backend) {
    let app = backend.app().await;
    for operation in operations(&app).await {
        let answer = app.send(operation.request(&app, "x"), None).await;
        if operation.is_open() {
            assert!(answer.status != 401 && answer.status != 403, "{}: {answer:?}", operation.label);
        } else {
            assert_unauthorized(&operation.label, &answer);
        }
    }
}

async fn a_wrong_key_opens_nothing(backend: Backend) {
    let app = backend.app().await;
    let nearly = format!("{KEY}x");
    let wrong = ["nonsense", nearly.as_str(), &KEY[..KEY.len() - 1], "", "sk_test_unknown_0123456789abcdef"];
    for operation in operations(&app).await.iter().filter(|one| one.takes_a_key()) {
        for key in wrong {
            let by_header = app.send(operation.request(&app, "x"), Some(key)).await;
            assert_unauthorized(&operation.label, &by_header);
            let by_bearer = app.send(operation.request(&app, "x").bearer_auth(key), None).await;
            assert_unauthorized(&operation.label, &by_bearer);
        }
        for good in [
            operation.request(&app, "x").bearer_auth(KEY),
            operation.request(&app, "x").header("x-api-key", KEY),
        ] {
            let answer = app.send(good, None).await;
            assert_ne!(answer.status, 401, "{}: {answer:?}", operation.label);
        }
    }
}

/// Also where no key is needed: what refuses one says so, and what does not say so looks at none.
async fn a_wrong_key_is_answered_as_documented(backend: Backend) {
    let app = backend.app().await;
    let mut open = 0;
    for operation in operations(&app).await {
        let answer = app.send(operation.request(&app, "x"), Some("nonsense")).await;
        let (label, documented) = (&operation.label, &operation.statuses);
        assert!(documented.contains(&answer.status.to_string()), "{label}: {documented:?}, {answer:?}");
        open += usize::from(answer.status == 200);
    }
    assert_eq!(open, 5, "the probes, the document, and what is supported");
}

/// What the key's user has, by the operation that gives it: a new operation with a name in its path has to be added.
async fn belongings(app: &TestApp) -> Vec<(&'static str, String)> {
    let payer = json!({"name": "payer", "publicKey": app.agent_address()});
    assert_eq!(app.post("/agents", Some(KEY), &payer).await.status, 201);
    let issued = app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
    let nonce = issued["nonce"].as_str().unwrap();
    let answer = app.verify(&app.proof(&app.pay_merchant(), nonce)).await;
    answer.assert_valid();
    let payment = answer.body["payment"]["id"].as_str().unwrap();
    let [revoked, rotated] = [make_key(app, json!(["verify"])).await, make_key(app, json!(["verify"])).await];
    let [changed, removed] = [make_plan(app).await, make_plan(app).await];
    let subscription = make_subscription(app).await;
    vec![
        ("PATCH /plans/{id}", changed),
        ("DELETE /plans/{id}", removed),
        ("GET /subscriptions/{id}", subscription.clone()),
        ("GET /subscriptions/{id}/usage", subscription.clone()),
        ("POST /subscriptions/{id}/cancel", subscription),
        ("GET /agents/{id}", make_agent(app).await),
        ("PATCH /agents/{id}", make_agent(app).await),
        ("DELETE /agents/{id}", make_agent(app).await),
        ("GET /agents/{id}/reputation", make_agent(app).await),
        ("GET /agents/{id}/spending", make_agent(app).await),
        ("GET /payments/{id}", payment.to_owned()),
        ("GET /requirements/{nonce}", nonce.to_owned()),
        ("DELETE /api-keys/{id}", revoked["id"].as_str().unwrap().to_owned()),
        ("POST /api-keys/{id}/rotate", rotated["keyPrefix"].as_str().unwrap().to_owned()),
    ]
}

/// The id of an agent of KEY's user.
async fn make_agent(app: &TestApp) -> String {
    let wallet = Keypair::new().pubkey().to_string();
    let answer = app.post("/agents", Some(KEY), &json!({"name": "made", "publicKey": wallet})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// A key of KEY's user with these permissions, in plain text and what is known of it.
async fn make_key(app: &TestApp, permissions: Value) -> Value {
    let answer = app.post("/api-keys", Some(KEY), &json!({"name": "made", "permissions": permissions})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

/// The id of a plan of KEY's user.
async fn make_plan(app: &TestApp) -> String {
    let plan = json!({"name": "pro", "pricePerMonth": 25, "currency": "USDC"});
    let answer = app.post("/plans", Some(KEY), &plan).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// The id of a subscription of KEY's user.
async fn make_subscription(app: &TestApp) -> String {
    let body = json!({"planId": make_plan(app).await, "agentId": make_agent(app).await});
    let answer = app.post("/subscriptions", Some(KEY), &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// A key with every scope but the one an operation needs is refused there, and one with that scope alone is not; under an
/// `Idempotency-Key` no less.
async fn a_key_needs_the_scope_of_the_operation(backend: Backend) {
    let app = backend.app().await;
    let operations = operations(&app).await;
    let keyed: Vec<&Operation> = operations.iter().filter(|one| one.takes_a_key()).collect();
    let needed: BTreeSet<&str> = keyed.iter().map(|one| one.scope()).collect();
    assert!(needed.len() >= 2, "{needed:?}");
    for scope in needed {
        let others: Vec<&str> =
            Scope::ALL.map(Scope::as_str).into_iter().filter(|one| *one != scope).collect();
        assert_eq!(others.len() + 1, Scope::ALL.len(), "{scope} is a scope");
        let (with, without) = (make_key(&app, json!([scope])).await, make_key(&app, json!(others)).await);
        for operation in &keyed {
            let (label, matches) = (&operation.label, operation.scope() == scope);
            let (allowed, refused) = if matches { (&with, &without) } else { (&without, &with) };
            for once in [false, true].into_iter().filter(|once| !once || operation.takes_an_idempotency_key) {
                let ask = async |key: &Value| {
                    let request = operation.request(&app, "x");
                    let request = if once { request.header("idempotency-key", "k") } else { request };
                    app.send(request, key["key"].as_str()).await
                };
                let answer = ask(refused).await;
                assert_eq!(
                    (answer.status, answer.code()),
                    (403, "INSUFFICIENT_SCOPE"),
                    "{label}: {answer:?}"
                );
                assert!(answer.body["error"].as_str().unwrap().ends_with(operation.scope()), "{answer:?}");
                let answer = ask(allowed).await;
                assert!(![401, 403].contains(&answer.status), "{label}: {answer:?}");
            }
        }
    }
}

/// What a list says of its length, or analytics of the payments they are about.
fn how_many(answer: &Answer) -> Option<u64> {
    answer.body.get("total").or_else(|| answer.body.get("payments")).and_then(Value::as_u64)
}

#[tokio::test]
async fn another_users_key_finds_nothing() {
    let app = TestApp::start().await;
    let belongings = belongings(&app).await;
    for operation in operations(&app).await.iter().filter(|one| one.takes_a_key()) {
        if operation.path.contains('{') {
            let found = belongings.iter().find(|(label, _)| *label == operation.label);
            let (_, name) = found.unwrap_or_else(|| panic!("what does {} find?", operation.label));
            let other = app.send(operation.request(&app, name), Some(OTHER_KEY)).await;
            assert_eq!((other.status, other.code()), (404, "NOT_FOUND"), "{}: {other:?}", operation.label);
            let own = app.send(operation.request(&app, name), Some(KEY)).await;
            assert!(own.status < 300, "{}: {own:?}", operation.label);
            if operation.is_open() {
                let anonymous = app.send(operation.request(&app, name), None).await;
                assert_eq!((anonymous.status, anonymous.code()), (404, "NOT_FOUND"), "{}", operation.label);
            }
        } else if operation.method == "GET" {
            let other = app.send(operation.request(&app, ""), Some(OTHER_KEY)).await;
            assert_eq!((other.status, how_many(&other)), (200, Some(0)), "{}", operation.label);
            let own = app.send(operation.request(&app, ""), Some(KEY)).await;
            assert!(how_many(&own).is_some_and(|total| total > 0), "{}", operation.label);
        } else {
            another_users_body_finds_nothing(&app, &operation.label).await;
        }
    }
}

/// Where names stand in the body: a new operation that takes one has to be added.
async fn another_users_body_finds_nothing(app: &TestApp, label: &str) {
    let refused = match label {
        // No body names anything that is somebody's. Whose payment a settlement is: x402/http/owners.rs.
        "POST /agents" | "POST /api-keys" | "POST /plans" | "POST /requirements" | "POST /settle" => return,
        "POST /subscriptions" => {
            let (plan, agent) = (make_plan(app).await, make_agent(app).await);
            let wallet = Keypair::new().pubkey().to_string();
            let others =
                app.post("/agents", Some(OTHER_KEY), &json!({"name": "n", "publicKey": wallet})).await;
            let others_plan = json!({"name": "n", "pricePerMonth": 1, "currency": "USDC"});
            let others_plan = app.post("/plans", Some(OTHER_KEY), &others_plan).await;
            vec![
                (json!({"planId": plan, "agentId": others.body["id"]}), 404, "NOT_FOUND"),
                (json!({"planId": others_plan.body["id"], "agentId": agent}), 404, "AGENT_NOT_FOUND"),
            ]
        }
        "POST /usage" | "POST /subscriptions/usage" => {
            let one = json!({"subscriptionId": make_subscription(app).await, "quantity": 1});
            let batch = json!({"usage": [one]});
            vec![(one, 404, "SUBSCRIPTION_NOT_FOUND"), (batch, 404, "SUBSCRIPTION_NOT_FOUND")]
        }
        "POST /verify" => {
            let proof = app.proof(&app.pay_merchant(), "another's");
            let agent = with(proof.clone(), "agentId", make_agent(app).await);
            let subscription = with(proof, "subscriptionId", make_subscription(app).await);
            vec![(agent, 402, "AGENT_NOT_FOUND"), (subscription, 402, "SUBSCRIPTION_NOT_FOUND")]
        }
        _ => panic!("what does a body name at {label}?"),
    };
    for (body, status, code) in refused {
        let answer = app.post(label.trim_start_matches("POST "), Some(OTHER_KEY), &body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{label}, {body}: {answer:?}");
    }
}
