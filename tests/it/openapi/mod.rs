//! The OpenAPI document: what it says, that it is so, and that it can be read.

mod document;
mod page;
mod schemathesis;
