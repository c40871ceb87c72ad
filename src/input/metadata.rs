//! A caller's own JSON object, kept for them as it came.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Longest `metadata`, in bytes of JSON.
pub const MAX_METADATA: usize = 4096;

/// # Errors
/// When it is no object, or too long.
pub fn metadata(raw: &RawValue) -> Result<String, String> {
    if !raw.get().starts_with('{') {
        return Err("must be a JSON object".to_owned());
    }
    short_enough(raw.get().to_owned())
}

/// `old` with the members of `change`, which a `null` removes. Members keep their text, to the digit.
///
/// # Errors
/// When there is more of it than is kept.
pub fn merged_metadata(old: Option<&str>, change: &str) -> Result<String, String> {
    let members = |json: &str| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(json);
    let mut merged = old.map(members).transpose().ok().flatten().unwrap_or_default();
    let change = members(change).map_err(|_| "must be a JSON object".to_owned())?;
    for (name, value) in change {
        if value.get() == "null" {
            merged.remove(&name);
        } else {
            merged.insert(name, value);
        }
    }
    short_enough(serde_json::to_string(&merged).map_err(|_| "must be a JSON object".to_owned())?)
}

fn short_enough(json: String) -> Result<String, String> {
    if json.len() > MAX_METADATA {
        return Err(format!("must be at most {MAX_METADATA} bytes of JSON"));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::{MAX_METADATA, merged_metadata};

    #[test]
    fn members_are_set_replaced_and_removed() {
        let old = r#"{"a":1.00,"b":{"x":1},"c":"z"}"#;
        let merged = merged_metadata(Some(old), r#"{"b":{"y":2},"c":null,"d":[1e2],"e":null}"#);
        assert_eq!(merged.as_deref(), Ok(r#"{"a":1.00,"b":{"y":2},"d":[1e2]}"#));
        assert_eq!(merged_metadata(None, r#"{"a":1}"#).as_deref(), Ok(r#"{"a":1}"#));
    }

    #[test]
    fn what_grows_too_long_is_refused() {
        let half = "x".repeat(MAX_METADATA / 2);
        let old = format!(r#"{{"a":"{half}"}}"#);
        assert!(merged_metadata(Some(&old), &format!(r#"{{"a":"{half}"}}"#)).is_ok(), "it takes its place");
        assert!(merged_metadata(Some(&old), &format!(r#"{{"b":"{half}"}}"#)).is_err());
    }
}
