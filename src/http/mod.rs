//! The HTTP surface. Handlers extract, make one domain call, and convert back.

mod allowed;
mod error;
mod extract;
mod idempotency;
mod middleware;
mod router;
mod routes;
mod server;

pub use router::{Readiness, ReadinessBoard, ReadinessCheck, Services, router};
pub use server::serve;
