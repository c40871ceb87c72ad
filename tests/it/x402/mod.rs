//! x402: how requests are read and answered, and what the rules let through.

mod accounts;
mod attacks;
mod budget;
mod clients;
mod decoding;
mod extras;
mod http;
pub mod kit;
pub mod mutations;
mod oracle;
mod order;
mod replies;
mod signers;
mod slow_books;
mod terms;
mod transfer;
mod wire;
