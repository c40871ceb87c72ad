//! The chain over Solana's JSON-RPC: `rpc` asks, `decode` makes sense of the answer. [`rules`] judges transactions that
//! are not on the chain yet, and asks nobody.

mod decode;
mod rpc;
pub mod rules;

pub use rpc::SolanaRpc;
