//! The address a request really comes from: the socket's, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// How many forwarded addresses are looked at. No real chain of proxies is as long.
const MAX_HOPS: usize = 64;

/// The proxies whose word about where a request came from is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the address, in its canonical form, is one of theirs.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address. `peer` is the socket's, `forwarded` the lines of `X-Forwarded-For` in their order.
    ///
    /// Each proxy appends the address it was called from, so the list is walked from the right, for as long as the
    /// last hop is trusted: what stands further left may be anybody's invention. An entry that is no address ends the
    /// walk, and the proxy that passed it on counts as the client.
    #[must_use]
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let hops = forwarded
            .rev()
            .flat_map(|line| line.rsplit(','))
            .map(str::trim)
            .filter(|hop| !hop.is_empty())
            .take(MAX_HOPS);
        let mut client = peer.to_canonical();
        for hop in hops {
            if !self.trust(client) {
                break;
            }
            let Some(address) = address(hop) else { break };
            client = address;
        }
        client
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    bare.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::TrustedProxies;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let networks = proxies.iter().map(|network| network.parse().unwrap()).collect();
        let lines = forwarded.iter().copied();
        TrustedProxies::new(networks).client(peer.parse().unwrap(), lines).to_string()
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        assert_eq!(client(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(PROXIES, "192.0.2.1", &["198.51.100.7", "10.0.0.1"]), "192.0.2.1");
        assert_eq!(client(PROXIES, "192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        assert_eq!(client(PROXIES, "10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(PROXIES, "10.0.0.1", &["6.6.6.6, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            client(PROXIES, "10.0.0.1", &["6.6.6.6, 198.51.100.7 , 10.9.9.9,10.1.1.1"]),
            "198.51.100.7"
        );
        assert_eq!(client(PROXIES, "fd00::1", &["6.6.6.6,10.0.0.9,198.51.100.7,fd00::2"]), "198.51.100.7");
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(
            client(PROXIES, "10.0.0.1", &["6.6.6.6", "198.51.100.7, 10.0.0.2", "10.0.0.3"]),
            "198.51.100.7"
        );
        assert_eq!(client(PROXIES, "10.0.0.1", &["198.51.100.7", "", " , "]), "198.51.100.7");
    }

    #[test]
    fn where_all_are_trusted_the_left_most_is_the_client() {
        assert_eq!(client(PROXIES, "10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(client(PROXIES, "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk_at_who_passed_it_on() {
        for nonsense in ["unknown", "_hidden", "1.2.3", "1.2.3.4:x", "[::1", "999.1.1.1", "localhost"] {
            let line = format!("198.51.100.7, {nonsense}, 10.0.0.2");
            assert_eq!(client(PROXIES, "10.0.0.1", &[&line]), "10.0.0.2", "{nonsense}");
            assert_eq!(client(PROXIES, "10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        for (written, read) in [
            ("198.51.100.7:567", "198.51.100.7"),
            ("[2001:db8::7]:567", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
        ] {
            assert_eq!(client(PROXIES, "10.0.0.1", &[written]), read);
        }
        assert_eq!(client(PROXIES, "::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(PROXIES, "::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn a_chain_without_end_is_not_walked_to_its_end() {
        let line = vec!["10.0.0.2"; 100_000].join(",");
        assert_eq!(client(PROXIES, "10.0.0.1", &["198.51.100.7", &line]), "10.0.0.2");
    }
}
