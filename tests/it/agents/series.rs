//! How many series agents make.

use pay402::{
    metrics::{
        Metrics,
        agents::{MAX_AGENTS, OTHER},
    },
    money::{Amount, Currency},
};

#[test]
fn only_so_many_agents_have_a_series_of_what_they_spend() {
    let metrics = Metrics::new();
    let tokens = |count: u64| Some((Amount::from_atomic(1_000_000 * count).unwrap(), Currency::Usdc));
    let further = 3;
    for _ in 0..2 {
        for (number, count) in (0..MAX_AGENTS + further).zip(1..) {
            metrics.agents.paid(&format!("agent_{number}"), tokens(count));
        }
    }
    // Of no known currency it is counted, without an amount.
    metrics.agents.paid("agent_more", None);
    let text = metrics.render().unwrap();
    let series = |name: &str| -> Vec<&str> { text.lines().filter(|line| line.starts_with(name)).collect() };
    let spending = series("agent_spending_total{");
    assert_eq!(spending.len(), MAX_AGENTS + 1);
    for (agent, tokens) in [("agent_0", 2), ("agent_199", 400), (OTHER, 2 * (201 + 202 + 203))] {
        let line = format!("agent_spending_total{{agent_id=\"{agent}\",currency=\"USDC\"}} {tokens}");
        assert!(spending.contains(&line.as_str()), "{line} {spending:?}");
    }
    let requests = series("agent_requests_total{");
    assert_eq!(requests.len(), MAX_AGENTS + 1);
    let other = format!("agent_requests_total{{agent_id=\"{OTHER}\",status=\"success\"}} 7");
    assert!(requests.contains(&other.as_str()), "{requests:?}");
}
