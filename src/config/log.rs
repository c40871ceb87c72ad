//! What is logged, and how.

use tracing_subscriber::EnvFilter;

use super::{AppEnv, Environment};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or `tracing` directives such as `info,pay402=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl LogConfig {
    pub(super) fn read(env: &mut Environment, app_env: AppEnv) -> Self {
        let default_format = match app_env {
            AppEnv::Development => LogFormat::Text,
            AppEnv::Production => LogFormat::Json,
        };
        Self {
            filter: env.parsed("LOG_LEVEL", "info".to_owned(), |text| {
                EnvFilter::try_new(text)
                    .map(|_| text.to_owned())
                    .map_err(|_| "must be error, warn, info, debug or trace, or tracing directives")
            }),
            format: env.parsed("LOG_FORMAT", default_format, |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("must be text or json"),
            }),
        }
    }
}
