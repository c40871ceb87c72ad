//! The HTTP surface around the payments.

mod attacks;
mod attempts;
mod authorization;
mod books;
mod browser;
mod capacity;
mod connections;
mod edge;
mod h2c;
mod idempotency;
mod json;
mod keys;
mod leaks;
mod load;
mod operations;
mod rate_limits;
mod shutdown;
