//! Fast state inside the process.

mod claims;

pub use claims::MemoryClaims;
pub(in crate::store) use claims::{LEASE, NONCE_LIFETIME, TRANSACTION_LIFETIME, used_keys};
