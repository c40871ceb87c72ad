//! The sandbox chain, driven by the clients the world uses.

mod basics;
mod setup;
