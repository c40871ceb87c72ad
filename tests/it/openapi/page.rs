//! `/docs` in a real browser.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tokio::process::Command;

use super::document::document;
use crate::harness::TestApp;

/// How much of the page's own time the browser lets pass before it is looked at, in milliseconds.
const PAGE_TIME_MS: u32 = 20_000;

/// A name that only the browser knows.
const ELSEWHERE: &str = "pay.example";

struct Browsed {
    /// The page once its scripts have run.
    dom: String,
    /// What was asked of the network, by the page or for it.
    requested: BTreeSet<String>,
}

/// Opens a page in a browser that knows no host but this one.
///
/// `elsewhere` is a name that leads to this host.
async fn browse(url: &str, elsewhere: &str, folder: &Path) -> Browsed {
    let log = folder.join("net.json");
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
        .arg(format!("--host-resolver-rules=MAP {elsewhere} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("--virtual-time-budget={PAGE_TIME_MS}"))
        .args(["--dump-dom", url])
        .kill_on_drop(true);
    let output = command.output().await.expect("chromium starts: sh tests/run.sh installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Browsed { dom: String::from_utf8(output.stdout).unwrap(), requested: requested(&log) }
}

/// The URLs in the browser's own log of the network that a page asked for: the browser itself has no initiator.
fn requested(log: &Path) -> BTreeSet<String> {
    let log: Value = serde_json::from_str(&fs::read_to_string(log).unwrap()).unwrap();
    let events = log["events"].as_array().unwrap();
    let by_page = events.iter().filter(|event| {
        event["params"]["initiator"].as_str().is_some_and(|initiator| initiator.starts_with("http"))
    });
    by_page.filter_map(|event| event["params"]["url"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_every_operation_and_asks_nobody_else() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let browsed = browse(&app.path("/docs"), ELSEWHERE, folder.path()).await;
    assert_shows_every_operation(&browsed);
    assert!(browsed.requested.contains(&app.path("/openapi.json")), "{:?}", browsed.requested);
    let elsewhere: Vec<&String> = browsed
        .requested
        .iter()
        .filter(|url| !url.starts_with(&format!("{}/", app.url)) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// Over plain HTTP under a name of its own, as inside a company: browsers trust localhost alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_over_plain_http_off_localhost() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = app.path("/docs/").replace("127.0.0.1", ELSEWHERE);
    assert_shows_every_operation(&browse(&url, ELSEWHERE, folder.path()).await);
}

#[track_caller]
fn assert_shows_every_operation(browsed: &Browsed) {
    for methods in document()["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let (tag, id) =
                (operation["tags"][0].as_str().unwrap(), operation["operationId"].as_str().unwrap());
            assert!(
                browsed.dom.contains(&format!("operations-{tag}-{id}")),
                "{id} is not shown:\n{}",
                browsed.dom
            );
        }
    }
}

/// What the page is made of is served as what it is; what it is not made of is not there.
#[tokio::test]
async fn files_of_the_page() {
    let app = TestApp::start().await;
    let files = [
        ("/docs/", "text/html"),
        ("/docs/index.css", "text/css"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-initializer.js", "text/javascript"),
    ];
    for (path, kind) in files {
        let answer = app.get(path, None).await;
        let content_type = answer.headers["content-type"].to_str().unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(content_type.starts_with(kind), "{path}: {content_type}");
    }
    let page = app.get("/docs/", None).await;
    let page = page.body.as_str().unwrap();
    assert!(!page.contains("http"), "the page names another host: {page}");
    let initializer = app.get("/docs/swagger-initializer.js", None).await;
    let initializer = initializer.body.as_str().unwrap();
    // Else the page has the document checked by swagger.io, wherever the service is not on localhost.
    assert!(initializer.contains(r#""validatorUrl": "none""#), "{initializer}");
    for path in ["/docs/nothing.js", "/docs/..%2fCargo.toml"] {
        assert_eq!(app.get(path, None).await.status, 404, "{path}");
    }
}
