//! x402's own clients, as their makers publish them: merchants and buyers, with this service between them.
//!
//! `tests/clients` has their programs, and tests/run.sh installs what these need into `target/clients`.

mod differential;
mod paying;
mod programs;
mod stage;
