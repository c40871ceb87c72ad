//! Every secret the tests use, and the scan for them: in all that is logged, in error bodies, in metrics.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use pay402::{api_keys::PlainKey, ids::OsEntropy, server_secrets::server_secret, store::Books};
use solana_keypair::Keypair;
use sqlx::SqlitePool;
use url::Url;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 6;
/// How much of a key is public.
const PREFIX: usize = 16;

static SECRETS: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

struct Secret {
    text: String,
    /// What a caller sent may stand in the answer to that caller, but never in a log.
    in_answers: bool,
}

/// From now on, this must stand neither in a log nor in an answer that is an error or a metric.
pub fn register(text: &str) {
    add(text, false);
}

/// From now on, this part of a request's body must not stand in a log.
pub fn register_body(text: &str) {
    add(text, true);
}

/// A key that the service has made, if this is one. Its beginning is public.
pub fn register_key(text: &str) {
    if let Some(key) = PlainKey::parse(text) {
        register(&text[key.prefix().len()..]);
    }
}

/// Every key in a line that a command has printed for whoever ran it. What is shorter is a public prefix.
pub fn register_printed(line: &str) {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let keys = words.filter(|word| word.starts_with("sk_") && word.len() >= PREFIX + SHORTEST);
    keys.for_each(|key| register(&key[PREFIX..]));
}

/// What the service made for itself, in every form it could be printed in.
pub fn register_bytes(secret: &[u8]) {
    let bytes: Vec<_> = secret.iter().map(u8::to_string).collect();
    register(&bytes.join(", "));
    register(&bytes.join(","));
    let hex: Vec<_> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    register(&hex.concat());
    register(&bs58::encode(secret).into_string());
    register(BASE64_STANDARD.encode(secret).trim_end_matches('='));
    register(BASE64_URL_SAFE_NO_PAD.encode(secret).as_str());
}

/// What services have made for themselves in this database, a SQLite file, so far; how many secrets these are.
pub async fn register_server_secrets(sqlite: &Path) -> usize {
    let database = SqlitePool::connect(&format!("sqlite://{}", sqlite.display())).await.unwrap();
    let secrets: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM server_secrets").fetch_all(&database).await.unwrap();
    for secret in &secrets {
        register_bytes(secret);
    }
    database.close().await;
    secrets.len()
}

/// Makes what a service that keeps its books here would make for itself, before there is one, so that it is known.
pub async fn make_server_secrets(books: &Books) {
    for name in ["api_key_tag", "transaction_cache_1_sandbox"] {
        let secret = server_secret(books.secrets.as_ref(), name, &OsEntropy).await.unwrap();
        register_bytes(secret.expose());
    }
}

/// A wallet's secret key, in every form it could be printed in.
pub fn register_wallet(wallet: &Keypair) {
    register(&wallet.to_base58_string());
    register_bytes(wallet.secret_bytes());
}

/// What is secret in the environment of a service.
pub fn register_environment(command: &Command) {
    for (name, value) in command.get_envs() {
        let value = value.and_then(|value| value.to_str()).unwrap_or_default();
        match name.to_str() {
            Some("VALID_API_KEYS") => value.split(',').filter(|key| key.len() >= SHORTEST).for_each(register),
            Some("DATABASE_URL" | "REDIS_URL" | "SOLANA_RPC_URL" | "SOLANA_WS_URL") => {
                value.split(',').for_each(register_url);
            }
            // Paths to wallets are no secrets.
            Some("FEE_PAYER_KEYPAIR") => {
                let bytes = value.split(',').filter_map(|text| bs58::decode(text).into_vec().ok());
                let wallets = bytes.filter_map(|bytes| Keypair::try_from(bytes.as_slice()).ok());
                wallets.for_each(|wallet| register_wallet(&wallet));
            }
            _ => {}
        }
    }
}

fn register_url(text: &str) {
    let url = Url::parse(text).ok();
    let password = url.as_ref().and_then(Url::password);
    let query = url.as_ref().and_then(Url::query);
    let long = |text: &&str| text.len() >= SHORTEST;
    [password, query].into_iter().flatten().filter(long).for_each(register);
}

fn add(text: &str, in_answers: bool) {
    assert!(text.len() >= SHORTEST, "{text} would be found by chance");
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if !secrets.iter().any(|secret| secret.text == text) {
        secrets.push(Secret { text: text.to_owned(), in_answers });
    }
}

/// The start of a secret that stands in what was logged.
pub fn logged(text: &str) -> Option<String> {
    found(text, |_| true)
}

/// The start of a secret that stands in an answer.
pub fn answered(text: &str) -> Option<String> {
    found(text, |secret| !secret.in_answers)
}

fn found(text: &str, counts: impl Fn(&Secret) -> bool) -> Option<String> {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let secret = secrets.iter().find(|secret| counts(secret) && text.contains(&secret.text))?;
    Some(secret.text.chars().take(SHORTEST).collect())
}
