//! What the documents say is so.

use std::{collections::BTreeSet, fs, path::Path};

use pay402::{
    config::{Config, Environment},
    metrics::Metrics,
};

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
        ["src/metrics.rs", "src/metrics/settlement.rs", "src/metrics/solana.rs", "src/metrics/x402.rs"]
            .map(read)
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
    assert_eq!(as_documented.solana.rpc_urls, defaults.solana.rpc_urls);
}

/// Links between the documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    for (folder, name) in [("", "README.md"), ("docs/", "docs/api.md"), ("docs/", "docs/metrics.md"), ("docs/", "docs/settling.md")] {
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
