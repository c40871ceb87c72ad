//! The chain's roles over several RPC endpoints, some of which are in trouble.

mod accounts;
mod again;
mod cluster;
mod failover;
mod fee_payers;
mod finality;
mod funds;
mod hints;
mod histories;
mod liars;
mod send;
mod settle;
mod simulation;
mod statuses;
