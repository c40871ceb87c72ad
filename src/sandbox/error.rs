//! What can go wrong with the sandbox itself.

use std::{io, net::SocketAddr};

use solana_pubkey::Pubkey;
use solana_transaction_error::TransactionError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    #[error("cannot listen on {addr}")]
    Bind { addr: SocketAddr, source: io::Error },
    #[error("{0} is not a loopback address, and this chain is for nobody else")]
    NotLoopback(SocketAddr),
    #[error("no two consecutive ports are free")]
    NoPortPair,
    #[error("the transaction was refused")]
    Refused(#[source] TransactionError),
    #[error("the transaction landed and failed")]
    Failed(#[source] TransactionError),
    #[error("{0} is not a mint")]
    NotAMint(Pubkey),
    #[error("the mint cannot be described to its program: {0}")]
    MintSpec(&'static str),
}
