//! The log.

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, Targets},
    layer::{Filter, SubscriberExt},
    registry,
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

/// What is logged: what the operator asks for, but for what never is. The latter is a filter of its own: in theirs, whoever
/// names a module of such a crate would be more exact, and win. Both are one filter: of two, the laxer would say what is
/// worth a look.
#[must_use]
pub fn filter<S>(directives: &str) -> impl Filter<S> + use<S> {
    let always = Targets::new().with_default(LevelFilter::TRACE).with_targets(ALWAYS);
    EnvFilter::new(directives).and(always)
}

/// Sends the log to standard error, in the configured form, panics included. Later calls change nothing.
pub fn init(config: &LogConfig) {
    let (filter, log) =
        (filter(&config.filter), tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    // Fails only when there is a subscriber already, as in tests.
    let set = match config.format {
        LogFormat::Text => registry().with(log.with_target(false).with_filter(filter)).try_init(),
        LogFormat::Json => registry().with(log.json().flatten_event(true).with_filter(filter)).try_init(),
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

#[cfg(test)]
mod tests {
    use tracing::Subscriber;
    use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, registry};

    use super::filter;

    /// What is less than the operator asks for is passed over without a look at any filter.
    #[test]
    fn what_is_not_logged_costs_nothing() {
        for (directives, most) in [("warn", LevelFilter::WARN), ("info,pay402=debug", LevelFilter::DEBUG)] {
            let log = registry().with(tracing_subscriber::fmt::layer().with_filter(filter(directives)));
            assert_eq!(log.max_level_hint(), Some(most), "{directives}");
        }
    }
}
