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
    let sources = ["src/http/error.rs", "src/payments/verdict.rs"].map(read).concat();
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
