//! `pay402`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use pay402::{
    cli::{Cli, run},
    shutdown::THREADS_TIMEOUT,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pay402: it cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli));
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    code
}
