//! The sandbox chain, driven by the clients the world uses.

mod bank;
mod basics;
mod commitments;
mod faults;
mod fork;
mod kit;
mod programs;
pub mod proxy;
mod pubsub;
mod server;
pub mod setup;
mod simulation;
mod wire;
