//! Fast state inside the process.

mod claims;

pub use claims::MemoryClaims;
