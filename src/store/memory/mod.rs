//! Fast state inside the process.

mod claims;
mod rate_limit;
mod windows;

pub use claims::MemoryClaims;
pub(in crate::store) use claims::{LEASE, NONCE_LIFETIME, TRANSACTION_LIFETIME, used_keys};
pub use rate_limit::MemoryRateLimits;
