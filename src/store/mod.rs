//! The implementations of the domains' store traits. Nothing but [`app`](crate::app) names them.

pub mod memory;
pub mod sqlite;
