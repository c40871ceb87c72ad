//! What settling needs of the chain, where a fee payer is configured.

use std::sync::Arc;

use async_trait::async_trait;
use solana_pubkey::Pubkey;

use crate::{
    chain::{
        funds::{FeePayerFunds, Funds},
        hints::{LandingHints, NoHints},
        solana::{SolanaRpc, hints::WebSocketHints, signer::FeePayers},
    },
    clock::Clock,
    config::Config,
    http::{Readiness, ReadinessCheck},
    metrics::Metrics,
    shutdown::Shutdown,
};

/// The fee payers, what they hold, and who tells what landed.
#[derive(Clone, Debug)]
pub struct Settling {
    pub fee_payers: FeePayers,
    pub funds: Arc<FeePayerFunds>,
    pub hints: Arc<dyn LandingHints>,
}

impl Settling {
    /// `None` without a fee payer.
    pub(super) fn start(
        config: &Config,
        rpc: &SolanaRpc,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Option<Self> {
        let fee_payers = config.fee_payer.keys.clone()?;
        let funds = Arc::new(FeePayerFunds::new(
            fee_payers.addresses().collect(),
            config.fee_payer.min_lamports,
            Arc::new(rpc.clone()),
            Arc::clone(clock),
            Arc::clone(metrics),
        ));
        funds.start(shutdown.clone());
        let ws_urls = &config.solana.ws_urls;
        let hints: Arc<dyn LandingHints> = if ws_urls.is_empty() {
            Arc::new(NoHints)
        } else {
            Arc::new(WebSocketHints::start(super::exposed(ws_urls), Arc::clone(metrics), shutdown.clone()))
        };
        Some(Self { fee_payers, funds, hints })
    }
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
