//! Changes to what may be there or not: left out, `null`, or another value.

use std::fmt;

use serde_json::value::RawValue;

use super::FieldErrors;

/// What is to become of an optional value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Change<T> {
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(with(value)),
        }
    }

    /// The value after the change.
    pub fn applied_to(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<'a> Change<&'a RawValue> {
    /// By a member that was read with [`present`](super::present).
    #[must_use]
    pub fn of(raw: Option<&'a RawValue>) -> Self {
        match raw {
            None => Self::Keep,
            Some(raw) if raw.get() == "null" => Self::Clear,
            Some(raw) => Self::Set(raw),
        }
    }
}

impl FieldErrors {
    /// A change to an optional field; none where its value is wrong (then with the reason noted).
    pub fn change<T, E: fmt::Display>(
        &mut self,
        field: &str,
        raw: Option<&RawValue>,
        parse: impl FnOnce(&RawValue) -> Result<T, E>,
    ) -> Change<T> {
        match Change::of(raw) {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(raw) => self.optional(field, Some(raw), parse).map_or(Change::Keep, Change::Set),
        }
    }
}
