//! The chain over Solana's JSON-RPC, and the rules of what may be sent there.
//!
//! `endpoint` asks one node and judges it (`health`, `slots`, `silence`), `pool` knows whom to ask next. On top of these
//! stand the roles: `rpc` reads, `accounts` and `simulate` look ahead, `settlement` sends, `statuses` finds out. What all of
//! them say together is for [`evidence`] to judge, which is pure. `decode` makes sense of transactions. [`hints`] listens on
//! a WebSocket, [`signer`] holds the fee payers' keys. [`rules`] judges transactions that are not on the chain yet, and asks
//! nobody.

mod accounts;
mod decode;
mod endpoint;
pub mod evidence;
mod health;
pub mod hints;
mod pool;
mod rpc;
pub mod rules;
mod settlement;
pub mod signer;
mod silence;
mod simulate;
mod slots;
mod statuses;

pub use rpc::SolanaRpc;
