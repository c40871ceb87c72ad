//! What the books come to.

mod exact;
mod model;
mod plans;
mod rollup;
mod routes;
mod values;
