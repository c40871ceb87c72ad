//! The HTTP surface. Handlers extract, make one domain call, and convert back.

mod error;
mod extract;
mod idempotency;
mod middleware;
mod openapi;
mod router;
mod routes;
mod server;

pub use openapi::openapi_json;
pub use router::{Readiness, ReadinessBoard, ReadinessCheck, Services, router};
pub use server::serve;
