//! The log.

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
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
/// names a module of such a crate would be more exact, and win. Of two, the laxer says what is worth a look, so that neither
/// is laxer than theirs.
///
/// A layer beneath that of the log, and no filter in it: one of those remembers what it said last, and sqlx asks it through
/// `log` about lines that it then does not write, which would cost the next line that is written.
#[must_use]
pub fn filter<S: Subscriber>(directives: &str) -> impl Layer<S> + use<S> {
    let asked = EnvFilter::new(directives);
    let most = asked.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let targets = ALWAYS.map(|(target, level)| (target, level.min(most)));
    Targets::new().with_default(most).with_targets(targets).and_then(asked)
}

/// Sends the log to standard error, in the configured form, panics included. Later calls change nothing.
pub fn init(config: &LogConfig) {
    let (filter, log) =
        (filter(&config.filter), tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    // Fails only when there is a subscriber already, as in tests.
    let set = match config.format {
        LogFormat::Text => registry().with(filter).with(log.with_target(false)).try_init(),
        LogFormat::Json => registry().with(filter).with(log.json().flatten_event(true)).try_init(),
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
    use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, registry};

    use super::filter;

    /// What is less than the operator asks for is passed over without a look at any filter.
    #[test]
    fn what_is_not_logged_costs_nothing() {
        for (directives, most) in [("warn", LevelFilter::WARN), ("info,pay402=debug", LevelFilter::DEBUG)] {
            let log = registry().with(filter(directives)).with(tracing_subscriber::fmt::layer());
            assert_eq!(log.max_level_hint(), Some(most), "{directives}");
        }
    }
}
