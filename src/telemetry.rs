//! The log.

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// What holds whatever the operator asks for. The HTTP clients print URLs when they debug, and RPC URLs hold access
/// tokens; the sandbox's SVM reports every refused transaction as an error.
const ALWAYS: [&str; 7] = [
    "solana_rpc_client=info",
    "solana_pubsub_client=info",
    "reqwest=info",
    "hyper_util=info",
    "tungstenite=info",
    "tokio_tungstenite=info",
    "litesvm=off",
];

/// Sends the log to standard error, in the configured form. Later calls change nothing.
///
/// # Panics
/// Never: the directives of this file are well formed.
pub fn init(config: &LogConfig) {
    let mut filter = EnvFilter::new(&config.filter);
    for directive in ALWAYS {
        filter = filter.add_directive(directive.parse().expect("the directive is well formed"));
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when there is a subscriber already, as in tests.
    let _ = match config.format {
        LogFormat::Text => builder.with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
}
