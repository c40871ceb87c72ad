//! The HTTP surface. Handlers extract, make one domain call, and convert back.

mod admission;
mod allowed;
mod authentication;
mod body;
mod connection;
mod cors;
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
mod x402;

pub use connection::ConnectionLimits;
pub use load::Load;
pub use openapi::openapi_json;
pub use router::{Readiness, ReadinessBoard, ReadinessCheck, Services, router};
pub use server::serve;
