//! x402 put together: the rules, the fee payers where some are configured, and the engine that settles.
//!
//! The engine runs without a fee payer too: what was signed by one that is gone has to be finished all the same.

use std::sync::Arc;

use async_trait::async_trait;
use solana_pubkey::Pubkey;

use crate::{
    agents::AgentStore,
    chain::{
        funds::{FeePayerFunds, Funds},
        hints::{LandingHints, NoHints},
        solana::{SolanaRpc, hints::WebSocketHints, rules::Rules},
    },
    clock::Clock,
    config::Config,
    http::{Readiness, ReadinessCheck},
    ids::Entropy,
    metrics::Metrics,
    payments::{
        settlement::{Policy, SettlementStore, Settlements},
        x402::{Agents, Facilitator, Signing},
    },
    shutdown::Shutdown,
};

/// What settling is made of.
pub(super) struct Parts<'a> {
    pub config: &'a Config,
    pub rpc: &'a SolanaRpc,
    pub store: Arc<dyn SettlementStore>,
    pub agents: Arc<dyn AgentStore>,
    pub clock: &'a Arc<dyn Clock>,
    pub entropy: &'a Arc<dyn Entropy>,
    pub metrics: &'a Arc<Metrics>,
    pub shutdown: &'a Shutdown,
}

impl Parts<'_> {
    /// Starts the engine, and the watch over the fee payers' balances.
    pub(super) fn start(self) -> (Facilitator, Settlements, Option<Arc<FeePayerFunds>>) {
        let Parts { config, rpc, store, agents, clock, entropy, metrics, shutdown } = self;
        shutdown.keep_going(rpc.clone(), |rpc| async move { rpc.watch_history().await });
        let signing = signing(config, rpc, clock, metrics, shutdown);
        let funds = signing.as_ref().map(|signing| Arc::clone(&signing.funds));
        let fee_payers = signing.iter().flat_map(|signing| signing.fee_payers.addresses()).collect();
        let network = config.solana.network;
        let rules = Rules::new(network, config.solana.assets.clone(), fee_payers, config.x402.rules.clone());
        let policy = Policy {
            bar: config.x402.commitment,
            without_key_lamports: config.x402.without_key_lamports,
            ..Policy::new(config.x402.caps)
        };
        let settlements = Settlements::start(
            policy,
            store,
            Arc::new(rpc.clone()),
            Arc::clone(clock),
            Arc::clone(entropy),
            Arc::clone(metrics),
            shutdown.clone(),
        );
        let agents = Agents { store: agents, clock: Arc::clone(clock), entropy: Arc::clone(entropy) };
        let facilitator = Facilitator::new(
            network,
            rules,
            signing,
            Arc::new(rpc.clone()),
            settlements.clone(),
            agents,
            Arc::clone(metrics),
        );
        (facilitator, settlements, funds)
    }
}

/// `None` without a fee payer.
fn signing(
    config: &Config,
    rpc: &SolanaRpc,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> Option<Signing> {
    let fee_payers = config.fee_payer.keys.clone()?;
    let funds = Arc::new(FeePayerFunds::new(
        fee_payers.addresses().collect(),
        config.fee_payer.min_lamports,
        Arc::new(rpc.clone()),
        Arc::clone(clock),
        Arc::clone(metrics),
    ));
    shutdown.keep_going(Arc::clone(&funds), FeePayerFunds::run);
    let ws_urls = &config.solana.ws_urls;
    let hints: Arc<dyn LandingHints> = if ws_urls.is_empty() {
        Arc::new(NoHints)
    } else {
        let (urls, bar) = (super::exposed(ws_urls), config.x402.commitment);
        Arc::new(WebSocketHints::start(urls, bar, Arc::clone(metrics), shutdown.clone()))
    };
    Some(Signing { fee_payers, funds, hints })
}

/// Payments are verified with or without it, so it is never more than degraded.
#[derive(Debug)]
pub(super) struct FeePayerCheck(pub Option<Arc<FeePayerFunds>>);

#[async_trait]
impl ReadinessCheck for FeePayerCheck {
    fn component(&self) -> &'static str {
        "fee_payer"
    }

    async fn check(&self) -> Readiness {
        let Some(funds) = &self.0 else { return Readiness::Ready("not configured: nothing is settled") };
        let problems: Vec<String> =
            funds.overview().filter_map(|(address, funds)| problem(&address, funds)).collect();
        if problems.is_empty() {
            Readiness::Ready("every fee payer can pay")
        } else {
            Readiness::Degraded(problems.join("; "))
        }
    }
}

fn problem(address: &Pubkey, funds: Funds) -> Option<String> {
    match funds {
        Funds::Enough => None,
        Funds::Low(lamports) => Some(format!("{address} is running low: {lamports} lamports")),
        Funds::Short(lamports) => {
            Some(format!("{address} settles nothing: {lamports} lamports are too few, send it SOL"))
        }
        Funds::Unknown => Some(format!("the balance of {address} cannot be read")),
    }
}
