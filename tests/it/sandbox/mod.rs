//! The sandbox chain, driven by the clients people use.
