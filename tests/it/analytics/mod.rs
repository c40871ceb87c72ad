//! What the books come to.

mod agents;
mod exact;
mod late;
mod model;
mod plans;
mod rollup;
mod routes;
mod trouble;
mod values;
