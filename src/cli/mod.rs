//! The command line.

mod migrate;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Apply the database migrations that are missing, or list them all
    Migrate {
        #[arg(value_enum, default_value_t = migrate::Action::Up)]
        action: migrate::Action,
    },
}

/// Runs the command and says why it failed, with every cause.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve => serve::run().await,
        Command::Migrate { action } => migrate::run(action).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pay402: {error:#}");
            ExitCode::FAILURE
        }
    }
}
