//! `pay402 serve`.

use anyhow::Context;
use tokio::net::TcpListener;

use crate::{
    app::App,
    config::{Config, Environment},
    telemetry,
};

pub(super) async fn run() -> anyhow::Result<()> {
    let config = Config::read(Environment::of_process())?;
    telemetry::init(&config.log);
    let app = App::new(&config).await?;
    app.shutdown().on_signals().context("signals cannot be listened to")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, network = %config.solana.network, "listening");
    app.serve(listener).await;
    tracing::info!("stopped");
    Ok(())
}
