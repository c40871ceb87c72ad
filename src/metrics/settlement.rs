//! What settlements come to.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::{counter, gauge, register};

/// From a quarter of a second to beyond the life of a blockhash.
const BUCKETS: &[f64] = &[0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 60.0, 90.0, 120.0, 300.0];

#[derive(Debug)]
pub struct SettlementMetrics {
    ended: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGauge,
    sponsored_lamports: IntCounter,
}

impl SettlementMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let duration = HistogramOpts::new(
            "settlement_duration_seconds",
            "Time from a settlement's journal entry to its end in the books",
        );
        let sponsored_lamports = IntCounter::new(
            "settlement_sponsored_lamports_total",
            "The most that landed settlements can have cost in transaction fees",
        );
        Self {
            ended: counter(
                registry,
                "settlement_total",
                "Settlements this instance ended in the books",
                &["outcome"],
            ),
            duration: register(
                registry,
                HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["outcome"])
                    .expect("the metric is well formed"),
            ),
            in_flight: gauge(
                registry,
                "settlements_in_flight",
                "Settlements that this instance has journalled or taken over and that have not ended",
            ),
            sponsored_lamports: register(registry, sponsored_lamports.expect("the metric is well formed")),
        }
    }

    /// `outcome` is `settled`, `failed` or `expired`.
    pub fn ended(&self, outcome: &str, elapsed: Duration) {
        self.ended.with_label_values(&[outcome]).inc();
        self.duration.with_label_values(&[outcome]).observe(elapsed.as_secs_f64());
    }

    pub fn in_flight(&self, count: usize) {
        self.in_flight.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Transaction fees of a settlement that landed.
    pub fn sponsored(&self, lamports: u64) {
        self.sponsored_lamports.inc_by(lamports);
    }
}
