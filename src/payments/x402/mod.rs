//! x402, versions 1 and 2: payments that the service makes final itself.
//!
//! `wire` reads requests, `requirements` the terms inside them, `reply` is what is answered. Whether a payment may be
//! settled is for [`chain::solana::rules`](crate::chain::solana::rules) to say: [`X402Request::terms`] is what they are
//! asked with. [`Facilitator`] asks them, and then the chain; `agent` knows whose limits a payment counts against; `settle`
//! signs, and has it made final. What `verify` has found
//! is known to a settle for a moment (`verified`).

mod agent;
mod facilitator;
mod reply;
mod requirements;
mod schema;
mod section;
mod settle;
mod verified;
mod wire;

pub use crate::chain::solana::rules::{Reason, Version};
pub use agent::Agents;
pub use facilitator::{Facilitator, Undecided};
pub use reply::{SettleReply, Supported, VerifyReply};
pub use requirements::Requirements;
pub use schema::X402Body;
pub use settle::Signing;
pub use wire::{Malformed, Payload, X402Request, is_x402};
