//! x402 over HTTP: the real service on a sandbox chain.

mod good;
