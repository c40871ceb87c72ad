//! The command line.

#[cfg(feature = "sandbox")]
mod demo;
mod keys;
#[cfg(feature = "sandbox")]
mod local;
mod migrate;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::http::openapi_json;

/// 402pay facilitator: verifies payments on Solana and keeps the books.
///
/// Configured by the environment and a file `.env`; see `.env.example`.
#[derive(Debug, Parser)]
#[command(name = "pay402", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve,
    /// Run a local chain and the service against it, with wallets, money and lines to paste
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Options),
    /// Watch payments being made and judged on a local chain, then exit
    #[cfg(feature = "sandbox")]
    Demo,
    /// Print the OpenAPI document
    Openapi,
    /// Apply the database migrations that are missing, or list them all
    Migrate {
        #[arg(value_enum, default_value_t = migrate::Action::Up)]
        action: migrate::Action,
    },
    /// Make, list, revoke and rotate API keys in the database; no service need be running
    Keys {
        #[command(subcommand)]
        action: keys::Action,
    },
}

/// Runs the command and says why it failed, with every cause.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve => serve::run().await,
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => sandbox::run(options).await,
        #[cfg(feature = "sandbox")]
        Command::Demo => demo::run().await,
        Command::Openapi => print_openapi(),
        Command::Migrate { action } => migrate::run(action).await,
        Command::Keys { action } => keys::run(action).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pay402: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_openapi() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", openapi_json())?;
    Ok(())
}
