//! How often who may ask: limits per minute, by API key or by client address.
//!
//! The window slides and is strict: whatever a client does, in no sixty seconds are more of its requests admitted than
//! the limit says.

mod policy;
mod store;
mod window;

pub use policy::{Action, Decision, Limits, RateLimiter, Subject};
pub use store::RateLimitStore;
pub use window::{WINDOW, Window};
