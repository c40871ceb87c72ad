//! What the documents say is so.

use std::{collections::BTreeSet, fs, path::Path};

use pay402::{
    config::{Config, Environment},
    metrics::Metrics,
};
use secrecy::ExposeSecret;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names between backticks at the start of a table's rows.
fn documented_metrics() -> BTreeSet<String> {
    let rows = read("docs/metrics.md");
    rows.lines().filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

/// How the metrics' names end.
const ENDINGS: [&str; 8] = [
    "_total",
    "_seconds",
    "_connections",
    "_up",
    "_in_flight",
    "_lamports",
    "rpc_endpoint_slot",
    "_lag_slots",
];

#[test]
fn every_metric_is_in_the_table() {
    let source =
        ["metrics.rs", "metrics/agents.rs", "metrics/settlement.rs", "metrics/solana.rs", "metrics/x402.rs"]
            .map(|file| format!("src/{file}"))
            .map(|file| read(&file))
            .concat();
    let declared: BTreeSet<String> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| ENDINGS.iter().any(|end| text.ends_with(end)))
        .map(str::to_owned)
        .collect();
    assert!(declared.len() > 8, "{declared:?}");
    let mut documented = documented_metrics();
    assert!(documented.remove("process_*"));
    assert_eq!(declared, documented);
    assert!(Metrics::new().render().unwrap().contains("process_"));
}

/// What the databases call their operations, in the code and in the table.
#[test]
fn every_database_operation_is_in_the_table() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut called = BTreeSet::new();
    for folder in ["", "postgres", "sqlite"] {
        for entry in fs::read_dir(home.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let source = if path.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
            let source = source.split("#[cfg(test)]").next().unwrap();
            for call in ["timed(\"", "execute(\"", "write(\""] {
                called.extend(
                    source.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
                );
            }
        }
    }
    let table = read("docs/metrics.md");
    let row = table.lines().find(|row| row.starts_with("| `database_query_total`")).unwrap();
    let values = row.split("`operation`: ").nth(1).unwrap().split("; `table`").next().unwrap();
    let documented: BTreeSet<String> =
        values.split(", ").map(|value| value.trim_matches('`').to_owned()).collect();
    assert_eq!(called, documented);
}

/// All files of the configuration, without their unit tests.
fn config_sources() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 2, "{files:?}");
    let source = |file| fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap().to_owned();
    files.into_iter().map(source).collect()
}

/// The example holds every variable, and what it sets are the defaults.
#[test]
fn the_example_environment_is_complete() {
    let example = read(".env.example");
    let variables: Vec<(&str, &str)> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .filter(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .collect();
    let config = config_sources();
    for (name, _) in &variables {
        let read = config.contains(&format!("\"{name}\"")) || name.ends_with("_MINT");
        assert!(read, "{name} is documented but never read");
    }
    for call in ["parsed(\"", "list(\"", "require(\""] {
        for part in config.split(call).skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(variables.iter().any(|(known, _)| *known == name), "{name} is read but not documented");
        }
    }
    let set = |environment: Environment, (name, value): &(&str, &str)| environment.with(name, *value);
    let as_documented = Config::read(variables.iter().fold(Environment::default(), set)).unwrap();
    let defaults = Config::read(Environment::default()).unwrap();
    assert_eq!(format!("{as_documented:?}"), format!("{defaults:?}"));
    let urls = |config: &Config| -> Vec<String> {
        config.solana.rpc_urls.iter().map(|url| url.expose_secret().to_owned()).collect()
    };
    assert_eq!(urls(&as_documented), urls(&defaults));
}

/// Links between the documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    for (folder, name) in [
        ("", "README.md"),
        ("docs/", "docs/api.md"),
        ("docs/", "docs/metrics.md"),
        ("docs/", "docs/settling.md"),
        ("docs/", "docs/x402-clients.md"),
    ] {
        let text = read(name);
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.starts_with("http") {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
                assert!(path.exists(), "{name} links to {target}");
            }
        }
    }
}

/// Which version of an x402 library is pinned, by where it comes from.
fn pinned(source: &str, name: &str) -> Option<String> {
    let between = |text: String, before: String, after: char| {
        let rest = text.split_once(&before)?.1;
        Some(rest.split_once(after)?.0.to_owned())
    };
    match source {
        "npm" => between(read("tests/clients/node/package.json"), format!("\"{name}\": \""), '"'),
        "crate" => {
            between(read("tests/clients/rust/Cargo.lock"), format!("name = \"{name}\"\nversion = \""), '"')
        }
        _ => between(read("tests/clients/python/requirements.txt"), format!("\n{name}=="), ' '),
    }
}

#[test]
fn the_x402_libraries_are_of_the_versions_that_are_tested() {
    let document = read("docs/x402-clients.md");
    let (table, _) = document.split_once("## Merchants").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 9);
    for row in rows {
        let (source, name) = row[1].split_once(' ').unwrap();
        assert_eq!(pinned(source, name.trim_matches('`')).as_deref(), Some(row[2]), "{row:?}");
    }
}
