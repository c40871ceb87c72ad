//! Settlements: the engine against a world that does its worst, then against the real stores and the sandbox chain.

mod away;
mod chain;
mod many;
pub mod model;
mod nodes;
pub mod random;
mod real;
mod simulation;
mod world;
