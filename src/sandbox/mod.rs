//! A Solana chain inside the process.
