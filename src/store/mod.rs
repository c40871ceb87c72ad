//! The implementations of the domains' store traits. Nothing but the composition root names them.

pub mod memory;
pub mod sqlite;
