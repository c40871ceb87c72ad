//! The HTTP surface around the payments.

mod authorization;
mod books;
mod edge;
mod idempotency;
mod keys;
mod operations;
