//! What agents pay. An agent's id is a label, so how many have one of their own is capped.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use prometheus::{CounterVec, IntCounterVec, Opts, Registry};

use super::{counter, register, tokens};
use crate::money::{Amount, Currency};

/// How many agents have a series of their own: the first since the start that pay. The others share one.
pub const MAX_AGENTS: usize = 200;
/// The label of all further agents.
pub const OTHER: &str = "other";

#[derive(Debug)]
pub struct AgentMetrics {
    requests: IntCounterVec,
    spending: CounterVec,
    known: Mutex<HashSet<String>>,
}

impl AgentMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let spending =
            Opts::new("agent_spending_total", "Whole tokens of agents' accepted payments, for display only");
        Self {
            requests: counter(
                registry,
                "agent_requests_total",
                "Payments of agents that were decided",
                &["agent_id", "status"],
            ),
            spending: register(
                registry,
                CounterVec::new(spending, &["agent_id", "currency"]).expect("the metric is well formed"),
            ),
            known: Mutex::default(),
        }
    }

    /// An agent's payment was refused, by this service or by the chain.
    pub fn refused(&self, agent: &str) {
        self.requests.with_label_values(&[self.label(agent), "failure"]).inc();
    }

    /// An agent's payment was accepted. `None`: in a token that is no known currency.
    pub fn paid(&self, agent: &str, paid: Option<(Amount, Currency)>) {
        let label = self.label(agent);
        self.requests.with_label_values(&[label, "success"]).inc();
        if let Some((amount, currency)) = paid {
            self.spending.with_label_values(&[label, currency.as_str()]).inc_by(tokens(amount, currency));
        }
    }

    fn label<'a>(&self, agent: &'a str) -> &'a str {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(agent) {
            agent
        } else if known.len() < MAX_AGENTS {
            known.insert(agent.to_owned());
            agent
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_AGENTS, OTHER};
    use crate::metrics::Metrics;

    #[test]
    fn only_so_many_agents_have_a_series() {
        let metrics = Metrics::new();
        for _ in 0..2 {
            for number in 0..MAX_AGENTS + 3 {
                metrics.agents.refused(&format!("agent_{number}"));
            }
        }
        let text = metrics.render().unwrap();
        let series: Vec<&str> =
            text.lines().filter(|line| line.starts_with("agent_requests_total{")).collect();
        assert_eq!(series.len(), MAX_AGENTS + 1);
        let other = format!("agent_requests_total{{agent_id=\"{OTHER}\",status=\"failure\"}} 6");
        assert!(series.contains(&other.as_str()), "{series:?}");
    }
}
