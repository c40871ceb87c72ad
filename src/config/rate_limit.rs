//! How often clients may ask, and whose word about their address is believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Environment;
use crate::{client_address::TrustedProxies, rate_limit::Limits};

/// The highest limit, in requests a minute.
const MAX_LIMIT: u32 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    pub limits: Limits,
    pub trusted_proxies: TrustedProxies,
}

impl RateLimitConfig {
    pub(super) fn read(env: &mut Environment) -> Self {
        let defaults = Limits::default();
        let limits = Limits {
            public: env.parsed("RATE_LIMIT_PUBLIC", defaults.public, limit),
            authenticated: env.parsed("RATE_LIMIT_AUTHENTICATED", defaults.authenticated, limit),
            verification: env.parsed("RATE_LIMIT_VERIFICATION", defaults.verification, limit),
        };
        let trusted_proxies = TrustedProxies::new(env.list("TRUSTED_PROXIES", network));
        Self { limits, trusted_proxies }
    }
}

fn limit(text: &str) -> Result<u32, &'static str> {
    let limit = text.parse().ok().filter(|limit| *limit <= MAX_LIMIT);
    limit.ok_or("must be requests a minute, from 1 to 1000000, or 0 for no limit")
}

/// A single address is the network of itself. An IPv4 network written as IPv6 would match nothing.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = network.filter(|network| match network {
        IpNet::V4(_) => true,
        IpNet::V6(network) => network.addr().to_ipv4_mapped().is_none(),
    });
    network.ok_or(
        "must be addresses and networks such as 10.0.0.0/8, separated by commas, IPv4 ones without ::ffff:",
    )
}

#[cfg(test)]
mod tests {
    use super::RateLimitConfig;
    use crate::{
        config::{Config, Environment},
        rate_limit::Limits,
    };

    fn read(variables: &[(&str, &str)]) -> Result<RateLimitConfig, Vec<String>> {
        let set = |environment: Environment, (name, value): &(&str, &str)| environment.with(name, *value);
        let config = Config::read(variables.iter().fold(Environment::default(), set));
        config.map(|config| config.rate_limit).map_err(|error| error.problems)
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        let defaults = Limits { public: 60, authenticated: 300, verification: 100 };
        assert_eq!(read(&[]).unwrap().limits, defaults);
        let limits = [
            ("RATE_LIMIT_PUBLIC", "0"),
            ("RATE_LIMIT_AUTHENTICATED", "1000000"),
            ("RATE_LIMIT_VERIFICATION", "1"),
        ];
        let set = Limits { public: 0, authenticated: 1_000_000, verification: 1 };
        assert_eq!(read(&limits).unwrap().limits, set);
        for wrong in ["-1", "1000001", "many", "1.5", "99999999999"] {
            for name in ["RATE_LIMIT_PUBLIC", "RATE_LIMIT_AUTHENTICATED", "RATE_LIMIT_VERIFICATION"] {
                let problems = read(&[(name, wrong)]).unwrap_err();
                assert!(
                    problems[0].starts_with(&format!("{name} must be requests a minute")),
                    "{problems:?}"
                );
            }
        }
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = "127.0.0.1, 10.0.0.0/8,::1,2001:db8::/32";
        assert!(read(&[("TRUSTED_PROXIES", proxies)]).is_ok());
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0.1:80", "10.0.0.0/8 ::1", "::ffff:10.0.0.0/104", "*"]
        {
            let problems = read(&[("TRUSTED_PROXIES", &format!("127.0.0.1,{wrong}"))]).unwrap_err();
            assert!(problems[0].starts_with("TRUSTED_PROXIES must be addresses"), "{wrong}: {problems:?}");
        }
    }
}
