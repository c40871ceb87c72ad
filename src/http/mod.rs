//! The HTTP surface. Handlers extract, make one domain call, and convert back.

mod admission;
mod allowed;
mod attempts;
mod authentication;
mod body;
mod connection;
mod cors;
mod deadline;
mod error;
mod extract;
mod headers;
mod idempotency;
mod load;
mod message;
mod middleware;
mod openapi;
mod panics;
mod router;
mod routes;
mod server;
mod slots;
mod verifications;
mod x402;

pub use attempts::Attempts;
pub use connection::ConnectionLimits;
pub use load::Load;
pub use openapi::openapi_json;
pub use router::{Readiness, ReadinessBoard, ReadinessCheck, Services, router};
pub use server::serve;
pub use slots::Slots;
pub use verifications::Verifications;
