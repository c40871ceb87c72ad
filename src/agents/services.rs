//! What an agent may pay for: patterns that a payment's resource is held against.
//!
//! A pattern is a path (`/v1/*`) or a URL (`https://api.example.com/*`), and matches resources of its own kind: a path says
//! nothing of hosts. `*` stands for any characters, `/` too; at the start of a host, `*.` stands for one label or more.
//! Scheme and host are compared without case, ports with the scheme's own one filled in, paths by character; what follows
//! `?` or `#` does not count.
//!
//! A resource is brought into one form first, so that no spelling reaches out of a pattern: dot segments are resolved,
//! percent-encoded letters are decoded. What servers read in different ways is allowed by no pattern: encoded or
//! backward slashes, what is encoded twice, a user in front of the host, parameters behind dots.

use std::fmt::Write;

/// Most patterns of one agent.
pub const MAX_SERVICES: usize = 50;
/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 512;

/// Where a resource is, in one form.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    origin: Option<Origin>,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePattern {
    /// As it was given.
    text: String,
    origin: Option<Origin>,
    path: String,
}

/// What may be paid for: whatever one of these patterns matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedServices(Vec<ServicePattern>);

impl AllowedServices {
    /// # Errors
    /// What is wrong, as the rest of a sentence about the list.
    pub fn parse(texts: Vec<String>) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("must name at least one service: send null to allow all".to_owned());
        }
        if texts.len() > MAX_SERVICES {
            return Err(format!("must name at most {MAX_SERVICES} services"));
        }
        let pattern = |(index, text): (usize, String)| {
            ServicePattern::parse(text).map_err(|problem| format!("[{index}] {problem}"))
        };
        texts.into_iter().enumerate().map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// As a database has them. A pattern that this version cannot read, which a newer one wrote, allows nothing here.
    #[must_use]
    pub fn from_stored(texts: Vec<String>) -> Self {
        Self(texts.into_iter().map(ServicePattern::from_stored).collect())
    }

    /// As the patterns were given.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pattern| pattern.text.as_str())
    }

    /// Whether a payment for this may be made. One that says nothing of what it is for may not.
    #[must_use]
    pub fn allow(&self, resource: Option<&str>) -> bool {
        let place = resource.and_then(Place::of);
        place.is_some_and(|place| self.0.iter().any(|pattern| pattern.matches(&place)))
    }
}

impl ServicePattern {
    /// # Errors
    /// What is wrong, as the rest of a sentence.
    pub fn parse(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(format!("must be 1 to {MAX_PATTERN} bytes long"));
        }
        if text.contains(['?', '#']) {
            return Err("must end before ? or #, which do not count".to_owned());
        }
        let wrong = || {
            "must be a path such as /v1/* or a URL such as https://api.example.com/*, without a user, dot segments or \
             encoded slashes; of a host only the beginning may be *."
                .to_owned()
        };
        let (origin, path) = split(&text).ok_or_else(wrong)?;
        let origin =
            origin.map(|(scheme, authority)| Origin::parse(scheme, authority, true).ok_or_else(wrong));
        let segments = segments(path).filter(|segments| !segments.iter().any(|one| is_dots(one)));
        let path = segments.filter(|_| path.starts_with('/')).ok_or_else(wrong)?.join("/");
        Ok(Self { origin: origin.transpose()?, path, text })
    }

    fn from_stored(text: String) -> Self {
        // No path is empty.
        let nothing = Self { text: text.clone(), origin: None, path: String::new() };
        Self::parse(text).unwrap_or(nothing)
    }

    fn matches(&self, place: &Place) -> bool {
        let at_home = match (&self.origin, &place.origin) {
            (None, None) => true,
            (Some(pattern), Some(origin)) => pattern.matches(origin),
            _ => false,
        };
        at_home && glob(&self.path, &place.path)
    }
}

impl Place {
    /// `None` for what is neither a path nor a URL, or can be read in several ways.
    fn of(resource: &str) -> Option<Self> {
        let (origin, path) = split(resource)?;
        let origin = match origin {
            Some((scheme, authority)) => Some(Origin::parse(scheme, authority, false)?),
            None => None,
        };
        let path = path.split(['?', '#']).next()?;
        Some(Self { origin, path: resolved(&segments(if path.is_empty() { "/" } else { path })?)? })
    }
}

impl Origin {
    fn parse(scheme: &str, authority: &str, pattern: bool) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let good = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !good {
            return None;
        }
        let ip = authority.starts_with('[').then(|| authority.find(']')).flatten().map(|end| end + 1);
        let (host, port) = match (ip, authority.rsplit_once(':')) {
            (Some(end), _) => (&authority[..end], authority[end..].strip_prefix(':')),
            (None, Some((host, port))) => (host, Some(port)),
            (None, None) => (authority, None),
        };
        if ip.is_some_and(|end| port.is_none() && end != authority.len()) {
            return None;
        }
        let standard = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => standard,
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let name = if pattern { host.strip_prefix("*.").unwrap_or(&host) } else { &host };
        let good = if ip.is_some() { is_ip(name) } else { is_name(name) };
        good.then_some(Self { scheme, host, port })
    }

    /// As a pattern.
    fn matches(&self, origin: &Self) -> bool {
        let host = match self.host.strip_prefix('*') {
            Some(rest) => origin.host.len() > rest.len() && origin.host.ends_with(rest),
            None => self.host == origin.host,
        };
        host && self.scheme == origin.scheme && self.port == origin.port
    }
}

/// Scheme and authority, where there are any, and what follows.
fn split(text: &str) -> Option<(Option<(&str, &str)>, &str)> {
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return None;
    }
    if text.starts_with('/') {
        // Two slashes begin a host.
        return (!text.starts_with("//")).then_some((None, text));
    }
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some((Some((scheme, &rest[..end])), &rest[end..]))
}

fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.split('.').all(label)
}

fn is_ip(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// A path's segments, the first of them empty, with letters, digits and `-._~` decoded and all else encoded in one way.
fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/').map(decoded).collect()
}

fn decoded(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let mut text = String::with_capacity(segment.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte.is_ascii() && byte != b'%' {
            text.push(char::from(byte));
            continue;
        }
        let byte = if byte == b'%' {
            let value = hex(bytes, at)?;
            at += 2;
            value
        } else {
            byte
        };
        match byte {
            b'/' | b'\\' | 0x7f | ..=0x1f => return None,
            // Encoded twice.
            b'%' if hex(bytes, at).is_some() => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => text.push(char::from(byte)),
            byte => write!(text, "%{byte:02X}").ok()?,
        }
    }
    // Some servers cut off parameters before they resolve dots.
    let bare = text.split(';').next()?.split("%3B").next()?;
    (bare == text || !is_dots(bare)).then_some(text)
}

fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// The path without dot segments.
fn resolved(segments: &[String]) -> Option<String> {
    let (last, inner) = segments.split_last()?;
    // Whether two slashes are one or two, `..` means something else.
    if segments.iter().any(|one| one == "..") && inner.iter().skip(1).any(String::is_empty) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::with_capacity(segments.len());
    for segment in segments {
        match segment.as_str() {
            "." => {}
            // The first segment is what stands before the first slash.
            ".." => kept.truncate(kept.len().saturating_sub(1).max(1)),
            segment => kept.push(segment),
        }
    }
    if is_dots(last) || kept.len() == 1 {
        kept.push("");
    }
    Some(kept.join("/"))
}

/// Whether a pattern of literal text and `*` matches the whole text, in linear time.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AllowedServices, MAX_SERVICES, ServicePattern, glob};

    fn allows(pattern: &str, resource: &str) -> bool {
        AllowedServices::parse(vec![pattern.to_owned()]).unwrap().allow(Some(resource))
    }

    #[test]
    fn what_matches() {
        for (pattern, resource) in [
            ("https://api.example.com/*", "https://api.example.com/"),
            ("https://api.example.com/*", "https://api.example.com"),
            ("https://api.example.com/*", "HTTPS://API.Example.COM:443/v1/x?y=1#z"),
            ("https://API.example.com/v1/*", "https://api.example.com./v1/a/b/c"),
            ("https://*.example.com/*", "https://a.b.example.com/x"),
            ("http://[::1]:8080/*", "http://[::1]:8080/x"),
            ("mcp://tools.example.com/*", "mcp://tools.example.com/search"),
            ("/v1/*", "/v1/x"),
            ("/v1/*", "/v1/"),
            ("/v1*", "/v1beta"),
            ("/v1/*/items", "/v1/a/b/items"),
            ("/v1/x", "/v1/./x"),
            ("/v1/x", "/v1/y/../x"),
            ("/v1/x", "/%76%31/x?query"),
            ("/caf\u{e9}", "/caf%c3%A9"),
            ("/a%20b", "/a%20b"),
            ("/100%25/*", "/100%25/x"),
            ("/v1//x", "/v1//x"),
        ] {
            assert!(allows(pattern, resource), "{pattern} {resource}");
        }
    }

    #[test]
    fn what_does_not_match() {
        for (pattern, resource) in [
            ("https://api.example.com/*", "http://api.example.com/x"),
            ("https://api.example.com/*", "https://api.example.com:8443/x"),
            ("https://api.example.com/*", "https://api.example.com.evil.com/x"),
            ("https://api.example.com/*", "https://evil.com/api.example.com/"),
            ("https://api.example.com/*", "https://evil.com/https://api.example.com/"),
            ("https://*.example.com/*", "https://example.com/x"),
            ("https://*.example.com/*", "https://evil-example.com/x"),
            ("https://*.example.com/*", "https://evil.com/.example.com/x"),
            ("https://api.example.com/v1/*", "https://api.example.com/V1/x"),
            ("https://api.example.com/v1/*", "/v1/x"),
            ("/v1/*", "https://api.example.com/v1/x"),
            ("/v1/*", "/v1"),
            ("/v1/*", "/v2/v1/x"),
            ("/v1/x", "/v1/x/"),
        ] {
            assert!(!allows(pattern, resource), "{pattern} {resource}");
        }
        let services = AllowedServices::parse(vec!["/v1/*".to_owned()]).unwrap();
        assert!(!services.allow(None));
    }

    /// Each would reach `/admin` or another host on some server.
    #[test]
    fn tricks() {
        for path in [
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/.%2E/admin",
            "/v1/x/../../admin",
            "/v1/..%2fadmin",
            "/v1/..%5cadmin",
            "/v1/..\\admin",
            "/v1/%252e%252e/admin",
            "/v1/%252e%252e%252fadmin",
            "/v1/..;/admin",
            "/v1/..;x=y/admin",
            "/v1/..%3b/admin",
            "/v1//../admin",
            "/v1/..",
            "/v1/x%00/../../admin",
            "/v1/x\u{0}",
            "/v1/%",
            "/v1/%2",
            "/v1/%zz",
            "/v1/x y",
            "/v1/\tx",
            "//evil.com/v1/x",
            "v1/x",
            "",
            "*",
        ] {
            assert!(!allows("/v1/*", path), "{path:?}");
            let url = format!("https://api.example.com{path}");
            assert!(!allows("https://api.example.com/v1/*", &url), "{url:?}");
        }
        for url in [
            "https://api.example.com@evil.com/v1/x",
            "https://api.example.com:x@evil.com/v1/x",
            "https://api.example.com%2eevil.com/v1/x",
            "https://api.example.com%40evil.com/v1/x",
            "https://api.example.com\\@evil.com/v1/x",
            "https:/api.example.com/v1/x",
            "https:api.example.com/v1/x",
            "https:///v1/x",
            "https://evil.com?https://api.example.com/v1/x",
            "https://evil.com#https://api.example.com/v1/x",
            "https://api.example.com:/v1/x",
            "https://api.example.com:+443/v1/x",
            "https://api.example.com:70000/v1/x",
            "https://api..example.com/v1/x",
            "https://\u{430}pi.example.com/v1/x",
            "https://[::1]evil.com/v1/x",
            "javascript://api.example.com/v1/x",
        ] {
            assert!(!allows("https://api.example.com/v1/*", url), "{url:?}");
            assert!(!allows("https://*.example.com/v1/*", url), "{url:?}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "",
            "*",
            "v1/*",
            "//evil.com/*",
            "https://api.example.com",
            "https://*/x",
            "https://*",
            "https://a.*.com/x",
            "https://api.example.com*/x",
            "https://user@api.example.com/",
            "https://api.example.com:*/",
            "/v1/?x=*",
            "/v1/#x",
            "/v1/../x",
            "/v1/%2e%2e/x",
            "/v1/%2f",
            "/v1/ x",
            "1http://a.b/",
        ] {
            assert!(ServicePattern::parse(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(ServicePattern::parse(format!("/{}", "x".repeat(512))).is_err());
        assert!(AllowedServices::parse(vec![]).unwrap_err().contains("null"));
        assert!(AllowedServices::parse(vec!["/x".to_owned(); MAX_SERVICES + 1]).is_err());
        assert!(
            AllowedServices::parse(vec!["/x".to_owned(), "x".to_owned()]).unwrap_err().starts_with("[1] ")
        );
    }

    #[test]
    fn what_a_newer_version_wrote_allows_nothing() {
        let texts = vec!["regex:.*".to_owned(), "/v1/*".to_owned()];
        let services = AllowedServices::from_stored(texts.clone());
        assert!(
            services.allow(Some("/v1/x"))
                && !services.allow(Some("/v2"))
                && !services.allow(Some("regex:.*"))
        );
        assert!(services.texts().eq(texts.iter()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC{0,60}", resource in "\\PC{0,80}") {
            if let Ok(services) = AllowedServices::parse(vec![pattern]) {
                let _ = services.allow(Some(&resource));
            }
        }

        /// However a path is spelled, what a server would make of it stays below the pattern's folder.
        #[test]
        fn nothing_leads_out_of_a_folder(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "v1", ".", "..", "%2e", "%2E%2e", ".%2e", "..;a", "", "%2f", "%5c", "%252e", "..%2f", "\\",
                ]),
                0..8,
            )
        ) {
            let path = format!("/v1/{}", parts.join("/"));
            if allows("/v1/*", &path) {
                // What the most generous server does: decodes again and again, any slash is one, parameters are cut.
                let mut text = path;
                for _ in 0..3 {
                    for (code, plain) in [("%25", "%"), ("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%5c", "/")] {
                        text = text.replace(code, plain);
                    }
                }
                let text = text.replace('\\', "/");
                let mut folder: Vec<&str> = Vec::new();
                for part in text.split('/').map(|part| part.split(';').next().unwrap_or_default()) {
                    match part {
                        "" | "." => {}
                        ".." => drop(folder.pop()),
                        part => folder.push(part),
                    }
                }
                prop_assert_eq!(folder.first(), Some(&"v1"));
            }
        }

        /// The linear matcher agrees with the definition.
        #[test]
        fn globs_match_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
                    Some((first, rest)) => text.first() == Some(first) && slow(rest, &text[1..]),
                }
            }
            prop_assert_eq!(glob(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
