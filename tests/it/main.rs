//! The one integration-test binary.

#[cfg(feature = "sandbox")]
mod agents;
#[cfg(feature = "sandbox")]
mod analytics;
#[cfg(feature = "sandbox")]
mod api_keys;
mod architecture;
#[cfg(feature = "sandbox")]
mod chaos;
#[cfg(feature = "sandbox")]
mod clients;
#[cfg(feature = "sandbox")]
mod conformance;
#[cfg(feature = "sandbox")]
mod crash;
#[cfg(feature = "sandbox")]
mod disk;
mod docs;
#[cfg(feature = "sandbox")]
mod durability;
#[cfg(feature = "sandbox")]
mod harness;
#[cfg(feature = "sandbox")]
mod http;
#[cfg(feature = "sandbox")]
mod instances;
#[cfg(feature = "sandbox")]
mod openapi;
#[cfg(feature = "sandbox")]
mod outage;
#[cfg(feature = "sandbox")]
mod plans;
#[cfg(feature = "sandbox")]
mod process;
#[cfg(feature = "sandbox")]
mod proof;
#[cfg(feature = "sandbox")]
mod redis;
#[cfg(feature = "sandbox")]
mod rpc;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "sandbox")]
mod settlement;
#[cfg(feature = "sandbox")]
mod subscriptions;
#[cfg(feature = "sandbox")]
mod x402;
