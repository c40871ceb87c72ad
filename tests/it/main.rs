//! The one integration-test binary.

#[cfg(feature = "sandbox")]
mod sandbox;
