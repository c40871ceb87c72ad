//! One chain, several RPC nodes with faults of their own, and the service's client over all of them.

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::{
        ChainError,
        assets::Network,
        settlement::{Search, SettlementChain, SignatureStatus},
        solana::SolanaRpc,
    },
    metrics::Metrics,
    sandbox::{Faults, SandboxNode},
};

use solana_signature::Signature;

use crate::sandbox::setup::{Fixture, start};

/// An endpoint where nobody listens.
pub const DEAD: &str = "http://127.0.0.1:1";

pub struct Cluster {
    pub chain: Fixture,
    others: Vec<SandboxNode>,
    pub rpc: SolanaRpc,
    pub metrics: Arc<Metrics>,
}

/// In all history, for transactions of whatever age.
pub fn history(seen: u64) -> Search {
    Search::History { seen, age: Duration::MAX }
}

impl Cluster {
    /// `nodes` of them, at least one.
    pub async fn start(nodes: usize) -> Self {
        Self::beside(&[], nodes).await
    }

    /// With these URLs before the nodes'.
    pub async fn beside(urls: &[&str], nodes: usize) -> Self {
        let chain = start().await;
        let mut others = Vec::new();
        for _ in 1..nodes {
            others.push(chain.sandbox.add_node().await.unwrap());
        }
        let metrics = Arc::new(Metrics::new());
        let mut all: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        all.push(chain.sandbox.rpc_url());
        all.extend(others.iter().map(SandboxNode::rpc_url));
        let rpc = SolanaRpc::new(Network::Sandbox, &all, &metrics);
        Self { chain, others, rpc, metrics }
    }

    pub fn nodes(&self) -> usize {
        self.others.len() + 1
    }

    pub fn faults(&self, node: usize) -> &Faults {
        if node == 0 { self.chain.sandbox.faults() } else { self.others[node - 1].faults() }
    }

    pub fn calls(&self, method: &str) -> Vec<u64> {
        (0..self.nodes()).map(|node| self.faults(node).calls(method)).collect()
    }

    pub async fn statuses(
        &self,
        signatures: &[Signature],
        search: Search,
    ) -> Result<Vec<Option<SignatureStatus>>, ChainError> {
        Ok(self.rpc.statuses(signatures, search).await?.statuses)
    }

    pub fn sample(&self, series: &str) -> Option<f64> {
        let text = self.metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}
