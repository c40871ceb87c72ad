//! `POST /verify` with payment proofs.

mod accepted;
mod amounts;
mod faults;
mod lookups;
mod malformed;
mod races;
mod refused;
mod terms;
