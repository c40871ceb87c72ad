//! Payments through the route while everything around it fails: the real service on either database and a sandbox chain.
//! Whatever happens, nobody is told what is not so, nothing is on the chain twice, and in the end the books say what the
//! chain says.

mod books;
mod chain_trouble;
mod forks;
mod full_disk;
mod kill;
mod kill_under_load;
mod many;
mod moments;
mod outages;
mod redis;
mod stage;
