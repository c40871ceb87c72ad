//! Who may call.

use url::{Origin, Url};

use super::Environment;

/// Stands for every origin.
const ANY: &str = "*";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// Origins whose pages may read the answers, as browsers write them; `*` for all. None: no page may.
    pub allowed_origins: Vec<String>,
    /// Whether payments are verified and settled for callers with an API key only.
    pub require_api_key: bool,
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
        Self { allowed_origins, require_api_key }
    }
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
