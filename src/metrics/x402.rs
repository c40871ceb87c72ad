//! What x402 requests come to.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Registry};

use super::{counter, histogram, register};

/// A settlement waits for blocks: from 50 ms to the time a request is answered within.
const SETTLE_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0, 25.0, 30.0];

#[derive(Debug)]
pub struct X402Metrics {
    verified: IntCounterVec,
    verify_duration: HistogramVec,
    settled: IntCounterVec,
    settle_duration: HistogramVec,
}

impl X402Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let settle_duration =
            HistogramOpts::new("x402_settle_duration_seconds", "Time to answer an x402 settle request");
        Self {
            verified: counter(
                registry,
                "x402_verify_total",
                "x402 verify requests judged, by what was answered",
                &["version", "reason"],
            ),
            verify_duration: histogram(
                registry,
                "x402_verify_duration_seconds",
                "Time to judge an x402 verify request",
                &["version"],
            ),
            settled: counter(
                registry,
                "x402_settle_total",
                "x402 settle requests, by what was answered",
                &["version", "reason"],
            ),
            settle_duration: register(
                registry,
                HistogramVec::new(settle_duration.buckets(SETTLE_BUCKETS.to_vec()), &["version"])
                    .expect("the metric is well formed"),
            ),
        }
    }

    /// `reason` is `valid` or one of the published reasons.
    pub fn verified(&self, version: u8, reason: &str, elapsed: Duration) {
        let version = label(version);
        self.verified.with_label_values(&[version, reason]).inc();
        self.verify_duration.with_label_values(&[version]).observe(elapsed.as_secs_f64());
    }

    /// `reason` is `settled` or one of the published reasons.
    pub fn settled(&self, version: u8, reason: &str, elapsed: Duration) {
        let version = label(version);
        self.settled.with_label_values(&[version, reason]).inc();
        self.settle_duration.with_label_values(&[version]).observe(elapsed.as_secs_f64());
    }

    /// A verify request that could not be read.
    pub fn verify_malformed(&self) {
        self.verified.with_label_values(&["unknown", "invalid_payload"]).inc();
    }

    /// A settle request that could not be read.
    pub fn settle_malformed(&self) {
        self.settled.with_label_values(&["unknown", "invalid_payload"]).inc();
    }
}

const fn label(version: u8) -> &'static str {
    match version {
        1 => "1",
        2 => "2",
        _ => "unknown",
    }
}
