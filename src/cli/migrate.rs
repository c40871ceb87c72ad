//! `pay402 migrate`.

use std::sync::Arc;

use clap::ValueEnum;

use crate::{
    app::open_books,
    config::{Config, Environment},
    metrics::Metrics,
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
    let database = open_books(&config.database.url, &Arc::new(Metrics::new())).await?.database;
    if matches!(action, Action::Up) {
        database.migrate().await?;
    }
    for migration in database.migration_status().await? {
        let state = if migration.applied { "applied" } else { "missing" };
        println!("{:04} {:<30} {state}", migration.version, migration.description);
    }
    database.close().await;
    Ok(())
}
