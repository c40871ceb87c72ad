//! `POST /verify` with payment proofs.

mod accepted;
mod amounts;
mod faults;
mod malformed;
mod races;
mod refused;
mod terms;
