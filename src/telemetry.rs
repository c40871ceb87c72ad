//! The log.

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// What holds whatever the operator asks for. The HTTP clients print URLs when they debug, and RPC URLs hold access
/// tokens; the HTTP servers print heads when they trace, and heads hold API keys; the sandbox's SVM reports every refused
/// transaction as an error.
const ALWAYS: [&str; 9] = [
    "solana_rpc_client=info",
    "solana_pubsub_client=info",
    "reqwest=info",
    "hyper=info",
    "hyper_util=info",
    "h2=info",
    "tungstenite=info",
    "tokio_tungstenite=info",
    "litesvm=off",
];

/// What is logged under these directives.
///
/// # Panics
/// Never: the directives of this file are well formed.
#[must_use]
pub fn filter(directives: &str) -> EnvFilter {
    ALWAYS.iter().fold(EnvFilter::new(directives), |filter, directive| {
        filter.add_directive(directive.parse().expect("the directive is well formed"))
    })
}

/// Sends the log to standard error, in the configured form, panics included. Later calls change nothing.
pub fn init(config: &LogConfig) {
    let filter = filter(&config.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when there is a subscriber already, as in tests.
    let set = match config.format {
        LogFormat::Text => builder.with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if set.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Says where, under the id of the request. The message only where it was written in the code: one made at run time may
/// quote what a caller sent.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>();
    tracing::error!(at, message_in_code = message, "panicked");
}
