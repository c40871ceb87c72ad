//! The 402pay facilitator: decides whether a payment on Solana is good, and keeps the books.
//!
//! # How a payment is verified
//!
//! ```text
//! POST /verify
//!   http            finds the client's address and the caller, turns away who asks too often (rate_limit),
//!                   reads the body whole, runs the rest in a task of its own
//!   payments::proof wire    every bad field at once, or a proof
//!                   judge   its timestamp and signature: nothing but arithmetic
//!                   claims  nonce and transaction, held against concurrent twins
//!                   books   used before?   requirement issued under the nonce?   whose agent pays?
//!                   judge   who must have been paid, and what; what the agent may pay, and for what
//!   chain           the confirmed transaction, its signatures checked here
//!                   judge   who got what, by balances before and after
//!   payments::Recorder      those who wait share a commit; what has consequences, an agent's payment, apart
//!   store           payments, nonces, events and consequences in one database transaction
//!                   only then: valid
//! ```
//!
//! A refusal is a value ([`payments::Verdict`]) and uses nothing up. An error means that nothing could be decided: it is
//! answered with 503 and uses nothing up either. The database's unique constraints are the judge of what was used
//! before; claims only make that cheap and keep twins from asking the chain twice. They live in memory, or in a Redis that
//! instances share, and losing them costs speed alone.
//!
//! A request with an `Idempotency-Key` is claimed in the database before it is handled ([`idempotency`]); what it books
//! carries its tag, so that the answer can be given again even when it was lost.
//!
//! A key is told from an invented one by a tag under a secret of the server's, before the database or bcrypt are asked
//! ([`api_keys`]); what a route wants of a key is in its handler's signature.
//!
//! x402 payments are transactions that the service is asked to sign and send: `payments::x402` reads the requests, and
//! `chain::solana::rules` says by numbered rules whether one may be signed, without asking anybody.
//! [`payments::settlement`] journals one that is signed, and sends it until the chain says what became of it.
//!
//! # Rooms
//!
//! Domains ([`payments`], [`requirements`], [`agents`], [`api_keys`], [`rate_limit`], [`chain`]) hold models, rules and the traits of what they
//! need; they see no HTTP, no SQL. [`store`] and `chain::solana` implement those traits, [`http`] calls the
//! domains, [`app`] puts it all together, [`cli`] runs it. [`clock`], [`ids`], [`money`], [`input`], [`schema`] and [`shares`] are the
//! ground all stand on: time and randomness are arguments, amounts are whole atomic units. What the handlers and the
//! wire's types say of themselves is the OpenAPI document (`http::openapi`). `tests/it/architecture.rs` lists which room may
//! use which.
//!
//! `sandbox` is a whole Solana chain for trying and testing: the service talks to it through the client that it talks
//! to mainnet with.

pub mod agents;
pub mod api_keys;
pub mod app;
pub mod chain;
pub mod cli;
pub mod client_address;
pub mod clock;
pub mod config;
pub mod housekeeping;
pub mod http;
pub mod idempotency;
pub mod ids;
pub mod input;
pub mod metrics;
pub mod money;
pub mod open_files;
pub mod payments;
pub mod rate_limit;
pub mod requirements;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod schema;
pub mod server_secrets;
pub mod shares;
pub mod shutdown;
pub mod store;
pub mod store_error;
pub mod telemetry;
