//! The log.

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{LogConfig, LogFormat};

/// What holds whatever the operator asks for. The HTTP clients print URLs when they debug, and RPC URLs hold access
/// tokens; the HTTP servers print heads when they trace, and heads hold API keys; the sandbox's SVM reports every refused
/// transaction as an error.
const ALWAYS: [(&str, LevelFilter); 9] = [
    ("solana_rpc_client", LevelFilter::INFO),
    ("solana_pubsub_client", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("tungstenite", LevelFilter::INFO),
    ("tokio_tungstenite", LevelFilter::INFO),
    ("litesvm", LevelFilter::OFF),
];

/// What is never logged, whatever the operator asks for. A filter of its own: in theirs, whoever names a module of such a
/// crate would be more exact, and win.
#[must_use]
pub fn always() -> Targets {
    Targets::new().with_default(LevelFilter::TRACE).with_targets(ALWAYS)
}

/// Sends the log to standard error, in the configured form, panics included. Later calls change nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::new(&config.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when there is a subscriber already, as in tests.
    let set = match config.format {
        LogFormat::Text => builder.with_target(false).finish().with(always()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().with(always()).try_init(),
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
