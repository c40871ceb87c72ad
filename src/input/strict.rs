//! What JSON is refused before anything is read from it: a member that is there twice, nesting without end, text that no
//! database can keep.
//!
//! Readers disagree about members that are there twice, some taking the first and some the last. Where money hangs on
//! which, neither will do.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::FieldErrors;

/// How deep values may be nested.
const MAX_DEPTH: usize = 32;
/// How much of a path an error shows, in characters: names of members are the caller's.
const MAX_PATH: usize = 128;

/// # Errors
/// What is wrong, under the path of the member it is wrong with; `body` for the whole.
pub(super) fn check(json: &[u8]) -> Result<(), FieldErrors> {
    let mut path = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let checked = Walk { path: &mut path }.deserialize(&mut reader).and_then(|()| reader.end());
    checked.map_err(|error| {
        let mut field: String = path.join(".").chars().take(MAX_PATH).collect();
        if field.is_empty() {
            field.push_str("body");
        }
        FieldErrors::one(&field, problem(&error))
    })
}

/// Our own words as they are, the parser's with where it stood.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.is_data() {
        text.split(" at line ").next().unwrap_or_default().to_owned()
    } else {
        format!("is not valid: {text}")
    }
}

/// Walks through a value. `path` leads to where it stands, and stays there when it fails.
struct Walk<'a> {
    path: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        storable(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.deeper()?;
        for index in 0_usize.. {
            self.path.push(index.to_string());
            if items.next_element_seed(Walk { path: self.path })?.is_none() {
                self.path.pop();
                break;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.path.push(name.clone());
            storable(&name)?;
            if !names.insert(name) {
                return Err(A::Error::custom("is there twice"));
            }
            members.next_value_seed(Walk { path: self.path })?;
            self.path.pop();
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn deeper<E: Error>(&self) -> Result<(), E> {
        if self.path.len() < MAX_DEPTH {
            return Ok(());
        }
        Err(E::custom(format_args!("is nested more than {MAX_DEPTH} levels deep")))
    }
}

/// PostgreSQL keeps no NUL.
fn storable<E: Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("must not contain NUL (\\u0000)")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, MAX_PATH, check};

    #[track_caller]
    fn refused(json: &[u8], field: &str, message: &str) {
        let errors = check(json).unwrap_err().into_details();
        assert_eq!(errors[0].field, field);
        assert!(errors[0].message.contains(message), "{errors:?}");
    }

    #[test]
    fn members_that_are_there_twice() {
        refused(br#"{"nonce":"a","nonce":"a"}"#, "nonce", "is there twice");
        refused(br#"{"nonce":null,"nonce":"a"}"#, "nonce", "is there twice");
        refused(br#"{"nonce":"a","\u006eonce":"b"}"#, "nonce", "is there twice");
        refused(br#"{"a":[{},{"b":{"c":1,"d":2,"c":3}}]}"#, "a.1.b.c", "is there twice");
        check(br#"{"a":{"b":1},"b":[{"b":1},{"b":1}]}"#).unwrap();
    }

    #[test]
    fn nesting() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        check(nested(MAX_DEPTH - 1).as_bytes()).unwrap();
        for depth in [MAX_DEPTH, 200, 100_000] {
            let errors = check(nested(depth).as_bytes()).unwrap_err().into_details();
            assert!(errors[0].message.contains("nested"), "{errors:?}");
            assert!(errors[0].field.len() <= MAX_PATH);
        }
    }

    #[test]
    fn text_that_cannot_be_kept() {
        refused(br#"{"a":"x\u0000"}"#, "a", "NUL");
        refused(br#"{"a":{"x\u0000":1}}"#, "a.x\0", "NUL");
        refused(br#"{"a":"\ud800"}"#, "a", "is not valid: ");
        refused(b"{\"a\":\"\xff\"}", "a", "is not valid: ");
        refused(b"\xef\xbb\xbf{}", "body", "is not valid: ");
        refused(b"{} {}", "body", "is not valid: ");
        check(r#"{"a":"\ud83d\ude00 \u0001 é"}"#.as_bytes()).unwrap();
    }
}
