//! What an agent may pay for: patterns that a payment's resource is held against.
//!
//! A pattern is a path (`/v1/*`) or a URL (`https://api.example.com/*`), and matches resources of its own kind: a path says
//! nothing of hosts. `*` stands for any characters, `/` too; at the start of a host, `*.` stands for one label or more.
//! Scheme and host are compared without case, ports with the scheme's own one filled in, paths by character; what follows
//! `?` or `#` does not count.
//!
//! A resource is brought into one form first (`place`), so that no spelling reaches out of a pattern.

mod place;

use place::{Origin, Place, is_dots, segments, split};

/// Most patterns of one agent.
pub const MAX_SERVICES: usize = 50;
/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 512;

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

    /// How many of the patterns this version cannot read.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.0.iter().filter(|pattern| pattern.path.is_empty()).count()
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
            "/v1/%25%32%65%25%32%65/admin",
            "/v1/%25%32e%25%32e/admin",
            "/v1/%2%35e/admin",
            "/v1/..%25%33b/admin",
            "/v1/..%253bx/admin",
            "/v1/%25u002e%25u002e/admin",
            "/v1/%c0%ae%c0%ae/admin",
            "/v1/%e0%80%ae%e0%80%ae/admin",
            "/v1/..%c0%af..%c0%afadmin",
            "/v1/..%20/admin",
            "/v1/..%20;x/admin",
            "/v1/.%20./admin",
            "/v1/%20/../../admin",
            "/v1/;x/../../admin",
            "/v1/%ff",
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

    /// What the most generous server does: decodes again and again, takes any slash for one and longer forms of a character
    /// for it, cuts off parameters and spaces, and resolves dots.
    fn most_generous(path: &str) -> Vec<String> {
        let mut text = path.as_bytes().to_vec();
        for _ in 0..8 {
            let mut decoded = Vec::new();
            let mut rest = text.as_slice();
            while let [first, tail @ ..] = rest {
                let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
                let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%');
                decoded.push(byte.unwrap_or(*first));
                rest = if byte.is_some() { &tail[2..] } else { tail };
            }
            text = decoded;
        }
        let overlong = |text: Vec<u8>| String::from_utf8_lossy(&text).replace("\u{fffd}\u{fffd}", ".");
        let text = overlong(text).replace('\\', "/");
        let mut folder = Vec::new();
        for part in text.split('/').map(|part| part.split(';').next().unwrap_or_default().trim_end()) {
            match part {
                "" | "." => {}
                ".." => drop(folder.pop()),
                part => folder.push(part.to_owned()),
            }
        }
        folder
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
            ),
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "%25", "%32", "%65", "%35", "%2", "%", "2", "5", "e", "f", ".", "%2e", "%20", ";", "%3b", "%c0%ae", "/..",
                    "/",
                ]),
                0..12,
            ),
        ) {
            for path in [format!("/v1/{}", parts.join("/")), format!("/v1/{}", pieces.concat())] {
                if allows("/v1/*", &path) {
                    let folder = most_generous(&path);
                    prop_assert_eq!(folder.first().map(String::as_str), Some("v1"), "{}", path);
                }
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
