//! `pay402`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use pay402::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
