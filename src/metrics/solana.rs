//! Metrics of the chain's endpoints and of the fee payers.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{counter, gauge, histogram, register};

/// An endpoint's label is its place in `SOLANA_RPC_URL`, from 0: a URL may hold an access token.
#[derive(Debug)]
pub struct SolanaMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    up: IntGaugeVec,
    slot: IntGaugeVec,
    lag: IntGaugeVec,
    outcomes_in_doubt: IntCounterVec,
    websocket_up: IntGaugeVec,
    websocket_hints: IntCounter,
    balance: IntGaugeVec,
    balance_errors: IntCounterVec,
    fee_payer_up: IntGaugeVec,
    floor: IntGauge,
}

impl SolanaMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let endpoint = |name, help| gauges(registry, name, help, &["endpoint"]);
        let fee_payer = |name, help| gauges(registry, name, help, &["fee_payer"]);
        Self {
            requests: counter(
                registry,
                "rpc_endpoint_requests_total",
                "Requests to one RPC endpoint",
                &["endpoint", "status"],
            ),
            duration: histogram(
                registry,
                "rpc_endpoint_request_duration_seconds",
                "Time of a request to one RPC endpoint",
                &["endpoint"],
            ),
            up: endpoint("rpc_endpoint_up", "Whether the endpoint is asked first: 1, or 0 while put behind"),
            slot: endpoint("rpc_endpoint_slot", "The newest slot of the endpoint's last answer"),
            lag: endpoint("rpc_endpoint_lag_slots", "How far that was behind the other endpoints"),
            outcomes_in_doubt: counter(
                registry,
                "rpc_outcomes_in_doubt_total",
                "Looks at a settlement whose outcome was told and not believed",
                &["reason"],
            ),
            websocket_up: gauges(
                registry,
                "solana_websocket_up",
                "Whether the WebSocket is open: 1 or 0",
                &[],
            ),
            websocket_hints: register(
                registry,
                IntCounter::new("solana_websocket_hints_total", "Landed transactions told by the WebSocket")
                    .expect("the metric is well formed"),
            ),
            balance: fee_payer("fee_payer_balance_lamports", "The balance when it was last read"),
            balance_errors: counter(
                registry,
                "fee_payer_balance_errors_total",
                "Balances that could not be read",
                &["fee_payer"],
            ),
            fee_payer_up: fee_payer("fee_payer_up", "Whether the balance allows settling: 1 or 0"),
            floor: gauge(registry, "fee_payer_floor_lamports", "The balance below which nothing is settled"),
        }
    }

    pub fn endpoint_request(&self, endpoint: &str, ok: bool, elapsed: Duration) {
        let status = if ok { "success" } else { "error" };
        self.requests.with_label_values(&[endpoint, status]).inc();
        self.duration.with_label_values(&[endpoint]).observe(elapsed.as_secs_f64());
    }

    pub fn endpoint_up(&self, endpoint: &str, up: bool) {
        self.up.with_label_values(&[endpoint]).set(i64::from(up));
    }

    /// Both in slots.
    pub fn endpoint_slot(&self, endpoint: &str, slot: u64, lag: u64) {
        self.slot.with_label_values(&[endpoint]).set(saturated(slot));
        self.lag.with_label_values(&[endpoint]).set(saturated(lag));
    }

    /// The outcome of a transaction was told and not believed, for this reason.
    pub fn outcome_in_doubt(&self, reason: &str) {
        self.outcomes_in_doubt.with_label_values(&[reason]).inc();
    }

    pub fn websocket_up(&self, up: bool) {
        self.websocket_up.with_label_values::<&str>(&[]).set(i64::from(up));
    }

    pub fn websocket_hint(&self) {
        self.websocket_hints.inc();
    }

    pub fn fee_payer_floor(&self, lamports: u64) {
        self.floor.set(saturated(lamports));
    }

    /// A balance was read; `enough` to settle with, or not.
    pub fn fee_payer_balance(&self, fee_payer: &str, lamports: u64, enough: bool) {
        self.balance.with_label_values(&[fee_payer]).set(saturated(lamports));
        self.fee_payer_up.with_label_values(&[fee_payer]).set(i64::from(enough));
    }

    /// A balance could not be read. What was read last stands.
    pub fn fee_payer_balance_error(&self, fee_payer: &str) {
        self.balance_errors.with_label_values(&[fee_payer]).inc();
    }
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels).expect("the metric is well formed"))
}

fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
