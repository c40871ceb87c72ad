//! Objects within a request, by their path: what is wrong inside them is named in full.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::input::{self, FieldErrors};

/// The path of an object, such as `paymentRequirements.extra`.
pub(super) struct Section(String);

impl Section {
    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub fn inner(&self, name: &str) -> Self {
        Self(self.field(name))
    }

    pub fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.0)
    }

    /// The object taken apart, or `None` with the reason noted.
    pub fn required<'a, T: Deserialize<'a>>(
        &self,
        raw: Option<&'a RawValue>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        if raw.is_none() {
            errors.add(&self.0, "is required");
        }
        self.optional(raw, errors)
    }

    /// The object taken apart; `None` where it is absent, or wrong (then with the reason noted).
    pub fn optional<'a, T: Deserialize<'a>>(
        &self,
        raw: Option<&'a RawValue>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let problems = match input::object(raw?.get().as_bytes()) {
            Ok(object) => return Some(object),
            Err(problems) => problems,
        };
        for problem in problems.into_details() {
            errors.add(&self.0, problem.message);
        }
        None
    }
}
