//! The HTTP surface around the payments.

mod books;
mod edge;
mod idempotency;
mod keys;
mod operations;
mod rate_limits;
