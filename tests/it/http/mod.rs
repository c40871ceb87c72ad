//! The HTTP surface around the payments.

mod books;
mod edge;
mod keys;
mod operations;
