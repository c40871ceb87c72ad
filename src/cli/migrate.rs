//! `pay402 migrate`.

use std::sync::Arc;

use clap::ValueEnum;

use crate::{
    config::{Config, Environment},
    metrics::Metrics,
    store::sqlite::SqliteStore,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Action {
    /// Apply what is missing
    Up,
    /// List the migrations and whether the database has them
    Status,
}

pub(super) async fn run(action: Action) -> anyhow::Result<()> {
    let config = Config::read(Environment::of_process())?;
    let store = SqliteStore::open(&config.database.path, Arc::new(Metrics::new())).await?;
    if matches!(action, Action::Up) {
        store.migrate().await?;
    }
    for migration in store.migration_status().await? {
        let state = if migration.applied { "applied" } else { "missing" };
        println!("{:04} {:<30} {state}", migration.version, migration.description);
    }
    store.close().await;
    Ok(())
}
