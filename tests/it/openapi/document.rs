//! What the document says.

use std::{collections::BTreeSet, fs, path::Path};

use pay402::http::openapi_json;
use serde_json::Value;

use crate::harness::{KEY, TestApp, process::pay402};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

pub fn document() -> Value {
    serde_json::from_str(openapi_json()).unwrap()
}

#[test]
fn the_snapshot_is_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = pay402(folder.path()).arg("openapi").output().unwrap();
    let same = String::from_utf8(output.stdout).unwrap() == read("docs/openapi.json");
    assert!(same, "docs/openapi.json is not up to date: cargo run --locked -- openapi > docs/openapi.json");
}

#[tokio::test]
async fn what_is_served_is_what_is_printed() {
    let app = TestApp::start().await;
    let answer = app.get("/openapi.json", None).await;
    assert_eq!((answer.status, &answer.body), (200, &document()));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.body["openapi"], "3.1.0");
}

/// The codes that the sources give, as string literals.
fn codes_given() -> BTreeSet<String> {
    let sources =
        ["src/http/error.rs", "src/http/error/mapping.rs", "src/payments/verdict.rs"].map(read).concat();
    let literals = sources.split('"').skip(1).step_by(2);
    let is_code =
        |text: &&str| text.len() > 4 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    literals.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_code_is_in_the_document() {
    let codes = document()["components"]["schemas"]["ErrorCode"]["enum"].clone();
    let documented: BTreeSet<String> = serde_json::from_value(codes).unwrap();
    let given = codes_given();
    assert!(given.len() > 25, "{given:?}");
    assert_eq!(documented, given, "src/http/openapi/codes.rs lists other codes than the sources give");
}

/// What a reader would paste is understood.
#[tokio::test]
async fn examples_can_be_sent() {
    let app = TestApp::start().await;
    let document = document();
    let schemas = &document["components"]["schemas"];
    let issued = app.post("/requirements", Some(KEY), &schemas["NewRequirement"]["example"]).await;
    assert_eq!(issued.status, 201, "{issued:?}");
    app.post("/verify", None, &schemas["PaymentProof"]["example"]).await.assert_refused("PAYMENT_EXPIRED");
}

/// All that can be called but is no operation: the page, which is for persons.
#[test]
fn every_route_is_an_operation_or_the_page() {
    let router = read("src/http/router.rs");
    let plain: Vec<&str> =
        router.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(plain, ["/docs", "/docs/", "/docs/{file}"]);
}

/// What is about no money of anybody's.
const WITHOUT_LIVEMODE: [&str; 5] = ["/health", "/metrics", "/openapi.json", "/ready", "/supported"];
/// x402's own shapes, in which the network is named instead.
const OF_X402: [&str; 2] = ["X402Verified", "X402Settled"];

/// Whether an answer of this schema has the member, or what it holds has.
fn tells_livemode(schema: &Value, schemas: &Value) -> bool {
    let tells = |schema: &Value| tells_livemode(schema, schemas);
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return OF_X402.contains(&name) || tells(&schemas[name]);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().all(tells);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().any(tells);
    }
    schema["properties"].as_object().is_some_and(|members| {
        members.contains_key("livemode")
            || members.values().any(|member| tells(member) || tells(&member["items"]))
    })
}

#[test]
fn answers_say_whether_real_money_moves() {
    let document = document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap().iter();
            for (status, answer) in answers.filter(|(status, _)| status.starts_with('2')) {
                let schema = &answer["content"]["application/json"]["schema"];
                let told = tells_livemode(schema, &document["components"]["schemas"]);
                assert_eq!(told, !WITHOUT_LIVEMODE.contains(&path.as_str()), "{method} {path} {status}");
            }
        }
    }
}

/// Generated clients name their functions after the operations.
#[test]
fn operations_are_named_and_told_apart() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {path}: {id} is there twice");
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}");
            let tag = &operation["tags"][0];
            assert!(document["tags"].as_array().unwrap().iter().any(|known| known["name"] == *tag), "{tag}");
        }
    }
    assert!(ids.len() >= 9, "{ids:?}");
}
