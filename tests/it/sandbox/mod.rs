//! The sandbox chain, driven by the clients the world uses.

mod bank;
mod basics;
mod commitments;
mod faults;
mod fork;
mod kit;
mod programs;
mod pubsub;
mod server;
mod setup;
mod simulation;
mod wire;
