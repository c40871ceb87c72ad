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
//! A proof may pay a period of a subscription, in the database transaction that books it. [`subscriptions`] go from state to
//! state by a pure function of time and payments, so that nobody waits for the worker that writes down what time has made
//! of them.
//!
//! ```text
//! POST /settle
//!   http            who may ask; the body read whole; a task of its own
//!   payments::x402  wire       every bad field at once, or a request; dispatch on the payload's version
//!   chain::solana   rules      1 to 19, pure: the one transfer, to whom, how much, and no fee payer of ours in it
//!   payments::settlement       claims the message in the database; who comes second waits, or is told what is in the books
//!   payments::x402  facilitator   simulated with the mint and the token accounts, unless `verified` knows it from just now
//!                   settle     signed by the fee payer
//!   payments::settlement       journalled with its fee reserved against the day's caps: committed, and only then heard of by
//!                              anybody else
//!   chain::solana   sent to all endpoints, the same bytes again and again, until it is confirmed or its blockhash is dead
//!   store           the end of it, its fee and its event in one database transaction
//!                   only then: success. After 25 s without an end: settlement_pending, and the engine goes on
//! ```
//!
//! A claim is a lease: what a dead instance has journalled another one takes over, and what it only claimed is free again.
//!
//! What the books come to ([`analytics`]) is read from sums that a worker keeps behind the payments, and from what is newer
//! than those: recording a payment does nothing for it.
//!
//! # Rooms
//!
//! Domains ([`payments`], [`requirements`], [`agents`], [`plans`], [`subscriptions`], [`usage`], [`analytics`],
//! [`api_keys`], [`rate_limit`], [`chain`]) hold models, rules and the traits of what they need; they see no HTTP, no
//! SQL. [`store`] and `chain::solana` implement those traits, [`http`] calls the domains, [`app`] puts it all together,
//! [`cli`] runs it. [`clock`], [`calendar`], [`ids`], [`money`], [`input`], [`schema`] and [`shares`] are the ground all
//! stand on: time and randomness are arguments, amounts are whole atomic units. What the handlers and the wire's types
//! say of themselves is the OpenAPI document (`http::openapi`). `tests/it/architecture.rs` lists which room may use
//! which.
//!
//! `sandbox` is a whole Solana chain for trying and testing: the service talks to it through the client that it talks
//! to mainnet with.

pub mod agents;
pub mod analytics;
pub mod api_keys;
pub mod app;
pub mod calendar;
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
pub mod plans;
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
pub mod subscriptions;
pub mod telemetry;
pub mod usage;
