//! `pay402 keys`: the operator's way to keys, on the database alone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use solana_pubkey::Pubkey;

use crate::{
    api_keys::{
        ApiKeyRecord, Environment, MAX_NAME, MAX_OVERLAP_SECS, MAX_RECIPIENTS, MAX_USER, NewKey, PlainKey,
        Scopes, Standing,
        service::{Actor, ApiKeys, KeyError, NewlyMade},
    },
    app::{herald, key_foundations, open_books},
    clock::{Clock, SystemClock, UnixMs},
    config::{Config, Environment as Variables},
    ids::{ApiKeyId, Entropy, OsEntropy},
    input,
    metrics::Metrics,
    telemetry,
};

/// How many keys are read at a time.
const PAGE: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a key and print it, once
    Create(Create),
    /// List keys, newest first
    List {
        /// Of this user only
        #[arg(long)]
        user: Option<String>,
    },
    /// End a key for good
    Revoke {
        /// Its id or its prefix
        #[arg(required_unless_present = "user")]
        key: Option<String>,
        /// Also every key that comes from it: made with it, its successor, and what comes from these
        #[arg(long, requires = "key")]
        with_descendants: bool,
        /// Every key of this user instead; of a configured key, `key:` and its first 12 characters
        #[arg(long, conflicts_with = "key")]
        user: Option<String>,
    },
    /// Replace a key by a new one, which is printed once
    Rotate {
        /// Its id or its prefix
        key: String,
        /// How long the old one goes on working, at most 604800 (a week)
        #[arg(long, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(..=MAX_OVERLAP_SECS))]
        overlap_seconds: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Who owns what is made with the key
    #[arg(long)]
    user: String,
    /// What the key is for
    #[arg(long)]
    name: String,
    /// test or live; else what the configured network needs
    #[arg(long)]
    environment: Option<Environment>,
    /// A permission, such as verify; once for each. Without any the key may do everything
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// A wallet that payments verified with the key must go to; once for each
    #[arg(long = "recipient")]
    recipients: Vec<Pubkey>,
    /// After how many days the key ends, at most 3650; without it, never
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
    expires_in_days: Option<u32>,
}

impl Create {
    fn into_key(self, here: Environment, now: UnixMs) -> anyhow::Result<NewKey> {
        let text = |option, value, max| {
            input::plain_text(value, max).map_err(|problem| anyhow::anyhow!("{option} {problem}"))
        };
        if self.recipients.len() > MAX_RECIPIENTS {
            bail!("--recipient may be given {MAX_RECIPIENTS} times");
        }
        let scopes = Scopes::from_names(self.scopes.iter().map(String::as_str)).context("--scope")?;
        let day = Duration::from_hours(24);
        Ok(NewKey {
            name: text("--name", self.name, MAX_NAME)?,
            user: text("--user", self.user, MAX_USER)?,
            environment: self.environment.unwrap_or(here),
            scopes: if scopes.is_empty() { Scopes::EVERYTHING } else { scopes },
            recipients: self.recipients,
            expires_at: self.expires_in_days.map(|days| now + day * days),
        })
    }
}

/// Opens the configured database, migrating it as the service would.
pub(super) async fn run(action: Action) -> anyhow::Result<()> {
    let config = Config::read(Variables::of_process())?;
    telemetry::init(&config.log);
    let metrics = Arc::new(Metrics::new());
    let books = open_books(&config.database.url, &metrics).await?;
    if config.database.auto_migrate {
        books.database.migrate().await.context("the database cannot be migrated")?;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let network = config.solana.network;
    let foundations = key_foundations(&books, network, &clock, &entropy, &metrics);
    let herald = herald(config.redis.as_ref(), &metrics)?;
    let keys = ApiKeys::new(foundations, entropy, None, herald);
    let done = act(action, &keys, Environment::of(network), clock.now()).await;
    books.database.close().await;
    done
}

async fn act(action: Action, keys: &ApiKeys, here: Environment, now: UnixMs) -> anyhow::Result<()> {
    match action {
        Action::Create(create) => {
            let made = keys.issue(create.into_key(here, now)?, Actor::Operator).await?;
            show(&made);
        }
        Action::List { user } => list(keys, user.as_deref(), now).await?,
        Action::Revoke { key: Some(key), with_descendants, .. } => {
            revoke(keys, &name(key), with_descendants).await.map_err(told)?;
        }
        Action::Revoke { user, .. } => {
            let user = user.unwrap_or_default();
            let revoked = keys.revoke_all_of(&user).await?;
            for key in &revoked {
                eprintln!("{} is revoked", key.prefix);
            }
            eprintln!("{} keys of {user} are revoked", revoked.len());
        }
        Action::Rotate { key, overlap_seconds } => {
            let overlap = Duration::from_secs(overlap_seconds);
            let rotated = keys.replace(Actor::Operator, &name(key), overlap).await;
            let (made, old) = rotated.map_err(told)?;
            show(&made);
            eprintln!("{} works until {}", old.prefix, end(old.expires_at));
        }
    }
    Ok(())
}

async fn revoke(keys: &ApiKeys, key: &str, with_descendants: bool) -> Result<(), KeyError> {
    let (revoked, descendants) = if with_descendants {
        keys.revoke_line(Actor::Operator, key).await?
    } else {
        (keys.revoke(Actor::Operator, key).await?, Vec::new())
    };
    eprintln!("{} is revoked", revoked.prefix);
    for key in descendants {
        eprintln!("{} is revoked", key.prefix);
    }
    let active = keys.active_descendants(&revoked).await;
    let active = active.inspect_err(|error| eprintln!("which keys come from it cannot be read: {error}"));
    let active = active.unwrap_or_default();
    if !active.is_empty() {
        let active = active.iter().map(ApiKeyId::as_str).collect::<Vec<_>>().join(", ");
        eprintln!("{active} come from it and still work: to revoke them too, add --with-descendants");
    }
    Ok(())
}

/// The key alone to stdout, where a script picks it up; the rest beside it.
fn show(made: &NewlyMade) {
    println!("{}", made.key.expose());
    let (id, user) = (&made.record.id, &made.record.user);
    eprintln!("{id}, a {} key of {user}: it is not shown again", made.record.environment);
}

async fn list(keys: &ApiKeys, user: Option<&str>, now: UnixMs) -> anyhow::Result<()> {
    println!(
        "{:<30} {:<16} {:<8} {:<14} {:<14} {:<30} {:<30} user, name, permissions",
        "id", "prefix", "state", "expires", "used", "created by", "replaced by"
    );
    let mut offset = 0;
    loop {
        let page = keys.list(Actor::Operator, user, PAGE, offset).await?;
        page.keys.iter().for_each(|key| println!("{}", line(key, now)));
        offset += PAGE;
        if page.keys.is_empty() || u64::from(offset) >= page.total {
            return Ok(());
        }
    }
}

fn line(key: &ApiKeyRecord, now: UnixMs) -> String {
    let state = match key.standing(now) {
        Standing::Active if key.replaced_by.is_some() => "rotated",
        Standing::Active => "active",
        Standing::Revoked => "revoked",
        Standing::Expired => "expired",
    };
    let used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.0.to_string());
    format!(
        "{:<30} {:<16} {state:<8} {:<14} {used:<14} {:<30} {:<30} {}, {}, {}",
        key.id.as_str(),
        key.prefix,
        end(key.expires_at),
        key.created_by.as_deref().unwrap_or("-"),
        key.replaced_by.as_ref().map_or("-", ApiKeyId::as_str),
        key.user,
        key.name,
        key.scopes.names().join(" "),
    )
}

/// In Unix milliseconds, as everywhere.
fn end(at: Option<UnixMs>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.0.to_string())
}

/// What the operator names a key by; where they give the whole key, its prefix.
fn name(given: String) -> String {
    PlainKey::parse(&given).map_or(given, |key| key.prefix().to_owned())
}

/// Without what was given: it may be a key, or most of one.
fn told(error: KeyError) -> anyhow::Error {
    anyhow::Error::new(error).context("nothing was changed")
}
