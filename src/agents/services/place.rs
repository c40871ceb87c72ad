//! Where a resource is, in one form: dot segments are resolved, percent-encoded letters are decoded.
//!
//! What servers read in different ways is nowhere: encoded or backward slashes, what is encoded twice, what is not UTF-8, a
//! user in front of the host, parameters or spaces behind dots.

use std::fmt::Write;

/// Where a resource is, in one form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub origin: Option<Origin>,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Place {
    /// `None` for what is neither a path nor a URL, or can be read in several ways.
    pub fn of(resource: &str) -> Option<Self> {
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
    pub fn parse(scheme: &str, authority: &str, pattern: bool) -> Option<Self> {
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
    pub fn matches(&self, origin: &Self) -> bool {
        let host = match self.host.strip_prefix('*') {
            Some(rest) => origin.host.len() > rest.len() && origin.host.ends_with(rest),
            None => self.host == origin.host,
        };
        host && self.scheme == origin.scheme && self.port == origin.port
    }
}

/// Scheme and authority, where there are any, and what follows.
pub(super) fn split(text: &str) -> Option<(Option<(&str, &str)>, &str)> {
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
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/').map(decoded).collect()
}

fn decoded(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let (mut text, mut plain) = (String::with_capacity(segment.len()), Vec::with_capacity(segment.len()));
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte.is_ascii() && byte != b'%' {
            text.push(char::from(byte));
            plain.push(byte);
            continue;
        }
        let byte = if byte == b'%' {
            let value = hex(bytes, at)?;
            at += 2;
            value
        } else {
            byte
        };
        plain.push(byte);
        match byte {
            b'/' | b'\\' | 0x7f | ..=0x1f => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => text.push(char::from(byte)),
            byte => write!(text, "%{byte:02X}").ok()?,
        }
    }
    // Longer forms of a character than it needs are not UTF-8 either.
    let plain = String::from_utf8(plain).ok()?;
    (!is_encoded(&plain) && !is_almost_dots(&plain)).then_some(text)
}

/// Whether some server would decode it once more: it was encoded twice, be it in parts.
fn is_encoded(plain: &str) -> bool {
    let bytes = plain.as_bytes();
    let escape = |at: usize| hex(bytes, at).is_some() || matches!(bytes.get(at), Some(b'u' | b'U'));
    plain.match_indices('%').any(|(at, _)| escape(at + 1))
}

/// Whether some server would read it as dots or as nothing: it cuts off parameters or spaces before it resolves dots.
fn is_almost_dots(plain: &str) -> bool {
    let bare = plain.split(';').next().unwrap_or_default();
    bare.chars().all(|one| matches!(one, '.' | ' ')) && plain.contains([';', ' '])
}

fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
}

pub(super) fn is_dots(segment: &str) -> bool {
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
