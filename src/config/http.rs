//! Who may call, and how many connections clients may hold for how long.

use std::{num::NonZeroUsize, time::Duration};

use url::{Origin, Url};

use super::Environment;

/// Stands for every origin.
const ANY: &str = "*";

const DEFAULT_CONNECTIONS: usize = 10_000;
/// A NAT's worth of clients, and far from what there is in all.
const DEFAULT_CONNECTIONS_PER_ADDRESS: usize = 256;
/// The most that may be asked for.
const MOST_CONNECTIONS: usize = 1_000_000;
/// Longer than the 60 s after which common load balancers give up an idle connection.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const MAX_IDLE_TIMEOUT_SECS: u64 = 3600;
/// More than a verification's parts may take together (body 10 s, twin 10 s, judging 15 s, recording 20 s), so that its own
/// end comes first. Connections and leases count on no request taking longer.
const MAX_REQUEST_TIMEOUT_SECS: u64 = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Origins whose pages may read the answers, as browsers write them; `*` for all. None: no page may.
    pub allowed_origins: Vec<String>,
    /// Whether payments are verified and settled for callers with an API key only.
    pub require_api_key: bool,
    /// Connections open at a time, if the limit of open files allows.
    pub max_connections: usize,
    /// Of one client address, or /64 network. `None` for no limit.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a request may take, from its head to its answer's head.
    pub request_timeout: Duration,
}

impl HttpConfig {
    pub(super) fn read(env: &mut Environment) -> Self {
        let allowed_origins = env.list("ALLOWED_ORIGINS", |text| {
            origin(text).ok_or("must be * or origins such as https://shop.example, separated by commas")
        });
        let require_api_key = env.parsed("REQUIRE_API_KEY", false, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        });
        let max_connections = env.parsed("MAX_CONNECTIONS", DEFAULT_CONNECTIONS, |text| {
            connections(text).filter(|most| *most > 0).ok_or("must be from 1 to 1000000")
        });
        let per_address =
            env.parsed("MAX_CONNECTIONS_PER_ADDRESS", DEFAULT_CONNECTIONS_PER_ADDRESS, |text| {
                connections(text).ok_or("must be from 1 to 1000000, or 0 for no limit")
            });
        let idle_timeout = env.parsed("IDLE_TIMEOUT_SECONDS", DEFAULT_IDLE_TIMEOUT, |text| {
            seconds(text, MAX_IDLE_TIMEOUT_SECS).ok_or("must be seconds, from 1 to 3600")
        });
        let most = Duration::from_secs(MAX_REQUEST_TIMEOUT_SECS);
        let request_timeout = env.parsed("REQUEST_TIMEOUT_SECONDS", most, |text| {
            seconds(text, MAX_REQUEST_TIMEOUT_SECS).ok_or("must be seconds, from 1 to 60")
        });
        Self {
            allowed_origins,
            require_api_key,
            max_connections,
            max_connections_per_address: NonZeroUsize::new(per_address),
            idle_timeout,
            request_timeout,
        }
    }
}

fn seconds(text: &str, most: u64) -> Option<Duration> {
    let secs = text.parse().ok().filter(|secs| (1..=most).contains(secs));
    secs.map(Duration::from_secs)
}

fn connections(text: &str) -> Option<usize> {
    text.parse().ok().filter(|connections| *connections <= MOST_CONNECTIONS)
}

/// The origin as browsers write it: in lower case, without the scheme's own port, without a path.
fn origin(text: &str) -> Option<String> {
    if text == ANY {
        return Some(text.to_owned());
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match url.origin() {
        origin @ Origin::Tuple(..) if bare => Some(origin.ascii_serialization()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, written) in [
            ("https://shop.example", "https://shop.example"),
            ("https://Shop.Example/", "https://shop.example"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://[::1]:80", "http://[::1]"),
            ("*", "*"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(written));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "shop.example",
            "https://",
            "https://shop.example/path",
            "https://shop.example?x",
            "https://shop.example#x",
            "https://user@shop.example",
            "https://user:password@shop.example",
            "ftp://shop.example",
            "null",
            "file:///",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
