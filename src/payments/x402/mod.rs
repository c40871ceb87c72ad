//! x402, versions 1 and 2: payments that the service makes final itself.
//!
//! `wire` reads requests, `requirements` the terms inside them, `reply` is what is answered. Whether a payment may be
//! settled is for [`chain::solana::rules`](crate::chain::solana::rules) to say: [`X402Request::terms`] is what they are
//! asked with.

mod reply;
mod requirements;
mod section;
mod wire;

pub use crate::chain::solana::rules::{Reason, Version};
pub use reply::{SettleReply, Supported, VerifyReply};
pub use requirements::Requirements;
pub use wire::{Malformed, Payload, X402Request, is_x402};
