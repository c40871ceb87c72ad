//! Which module may use which: reads the `use crate::` lines and fails on a forbidden door.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each room may use of the others. Rooms not listed are open to all of them.
const DOORS: &[(&str, &[&str])] = &[
    ("open_files", &[]),
    ("clock", &[]),
    ("calendar", &["clock"]),
    ("ids", &["clock"]),
    ("money", &[]),
    ("metrics", &["money"]),
    ("store_error", &[]),
    ("schema", &["clock", "money"]),
    ("shares", &[]),
    ("shutdown", &[]),
    ("input", &["money"]),
    ("chain", &["clock", "ids", "metrics", "money", "shutdown"]),
    ("server_secrets", &["ids", "store_error"]),
    (
        "api_keys",
        &["chain", "clock", "ids", "input", "metrics", "schema", "server_secrets", "shares", "store_error"],
    ),
    ("agents", &["api_keys", "calendar", "clock", "ids", "input", "money", "schema", "store_error"]),
    ("requirements", &["api_keys", "clock", "ids", "input", "money", "schema", "store_error"]),
    (
        "payments",
        &[
            "agents",
            "api_keys",
            "calendar",
            "chain",
            "clock",
            "ids",
            "input",
            "metrics",
            "money",
            "requirements",
            "schema",
            "shutdown",
            "store_error",
            "subscriptions",
        ],
    ),
    ("plans", &["api_keys", "clock", "ids", "input", "money", "schema", "store_error"]),
    (
        "subscriptions",
        &[
            "agents",
            "api_keys",
            "calendar",
            "clock",
            "ids",
            "input",
            "money",
            "plans",
            "schema",
            "shutdown",
            "store_error",
        ],
    ),
    (
        "usage",
        &[
            "api_keys",
            "calendar",
            "clock",
            "ids",
            "input",
            "plans",
            "requirements",
            "schema",
            "store_error",
            "subscriptions",
        ],
    ),
    (
        "analytics",
        &["agents", "calendar", "clock", "ids", "input", "money", "payments", "shutdown", "store_error"],
    ),
    ("idempotency", &["clock", "store_error"]),
    ("client_address", &[]),
    ("rate_limit", &["clock"]),
    (
        "store",
        &[
            "agents",
            "analytics",
            "api_keys",
            "calendar",
            "chain",
            "clock",
            "idempotency",
            "ids",
            "metrics",
            "money",
            "payments",
            "plans",
            "rate_limit",
            "requirements",
            "server_secrets",
            "store_error",
            "subscriptions",
            "usage",
        ],
    ),
    ("config", &["api_keys", "chain", "client_address", "money", "payments", "rate_limit"]),
    (
        "http",
        &[
            "agents",
            "analytics",
            "api_keys",
            "calendar",
            "chain",
            "client_address",
            "clock",
            "idempotency",
            "ids",
            "input",
            "metrics",
            "money",
            "payments",
            "plans",
            "rate_limit",
            "requirements",
            "schema",
            "shares",
            "shutdown",
            "store_error",
            "subscriptions",
            "usage",
        ],
    ),
    ("telemetry", &["config"]),
    ("sandbox", &["clock", "money"]),
];

/// Crates that domain code must not see.
const BACKENDS: [&str; 5] = ["axum", "sqlx", "deadpool_redis", "hyper_util", "reqwest"];
const DOMAINS: &[&str] = &[
    "agents",
    "analytics",
    "payments",
    "plans",
    "subscriptions",
    "requirements",
    "api_keys",
    "chain",
    "idempotency",
    "rate_limit",
    "server_secrets",
    "usage",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The room a file is in: the module right below the crate's root.
fn room(root: &Path, file: &Path) -> String {
    let first = file.strip_prefix(root).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The first names after `crate::`, in `use` groups too, before the file's unit tests begin.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let code: String =
        text.split("#[cfg(test)]").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rooms = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let (mut depth, mut name) = (0, String::new());
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => rooms.extend(first_name(&std::mem::take(&mut name))),
                    _ if depth == 0 => name.push(character),
                    _ => {}
                }
            }
            rooms.extend(first_name(&name));
        } else {
            rooms.extend(first_name(part));
        }
    }
    rooms
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path
        .trim()
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn every_room_keeps_to_its_doors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the sources are where they are looked for");
    let mut broken = Vec::new();
    for file in files {
        let here = room(&root, &file);
        let text = fs::read_to_string(&file).unwrap();
        if let Some((_, allowed)) = DOORS.iter().find(|(name, _)| *name == here) {
            for used in rooms_used(&text) {
                if used != here && !allowed.contains(&used.as_str()) {
                    broken.push(format!("{} uses {used}", file.display()));
                }
            }
        }
        if here == "http" && text.contains("chain::solana") {
            broken.push(format!("{} uses chain::solana", file.display()));
        }
        if DOMAINS.contains(&here.as_str()) {
            for backend in BACKENDS.iter().filter(|backend| text.contains(&format!("{backend}::"))) {
                broken.push(format!("{} uses {backend}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "forbidden doors:\n{}", broken.join("\n"));
}

#[test]
fn a_forbidden_door_is_found() {
    let text =
        "use crate::{\n    http::{error::ApiError, x},\n    clock::Clock,\n};\nfn f() { crate::store::g() }";
    assert_eq!(rooms_used(text).into_iter().collect::<Vec<_>>(), ["clock", "http", "store"]);
}
