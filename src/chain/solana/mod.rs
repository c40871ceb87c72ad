//! The chain over Solana's JSON-RPC: `rpc` asks, `decode` makes sense of the answer.

mod decode;
mod rpc;

pub use rpc::SolanaRpc;
