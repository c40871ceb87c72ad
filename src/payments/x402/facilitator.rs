//! Judging payments: the rules that cost nothing, then the chain in one round trip.

use std::sync::Arc;

use solana_pubkey::Pubkey;
use tokio::time::Instant;

use super::{Agents, Supported, VerifyReply, X402Request, settle::Signing, verified::Verified};
use crate::{
    agents::Agent,
    api_keys::Caller,
    chain::{
        ChainError,
        assets::Network,
        simulation::{FailureKind, Simulation, Simulator},
        solana::{
            rules::{CheckedPayment, Holdings, Reason, Refusal, Rules},
            signer::SignError,
        },
    },
    metrics::Metrics,
    money::Amount,
    payments::settlement::{Claimed, Ending, MessageHash, SettlementState, Settlements, TermsHash},
    store_error::StoreError,
};

const LANDED: &str = "the transaction has landed before: it cannot pay a second time";

/// Why nothing could be decided. Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    #[error("the chain could not be read")]
    Chain(#[from] ChainError),
    /// Trouble of ours, not the buyer's.
    #[error("the fee payer {0} of this service is out of SOL")]
    FeePayerShort(Pubkey),
    #[error("the books could not be read or written")]
    Store(#[from] StoreError),
    #[error("too much is being settled")]
    Busy,
    #[error("the database or the chain did not answer")]
    Unavailable,
    #[error("the transaction could not be signed")]
    Sign(#[from] SignError),
    #[error("the signed transaction could not be encoded")]
    Encoding(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A payment that passed the rules, and what it is known by.
pub(super) struct Passed {
    pub payment: CheckedPayment,
    pub amount: Amount,
    pub message: MessageHash,
    pub terms: TermsHash,
}

/// Decided, one way or the other.
pub(super) type Judged<T> = Result<Result<T, Refusal>, Undecided>;

/// x402 as the routes see it. Clones share what is behind it.
#[derive(Clone, Debug)]
pub struct Facilitator {
    pub(super) network: Network,
    pub(super) rules: Arc<Rules>,
    /// `None`: no fee payer is configured, and every payment is refused as made for another one.
    pub(super) signing: Option<Signing>,
    pub(super) simulator: Arc<dyn Simulator>,
    pub(super) settlements: Settlements,
    pub(super) verified: Verified,
    pub(super) agents: Agents,
    pub(super) metrics: Arc<Metrics>,
}

impl Facilitator {
    /// `rules` know the same fee payers that `signing` holds the keys of.
    #[must_use]
    pub fn new(
        network: Network,
        rules: Rules,
        signing: Option<Signing>,
        simulator: Arc<dyn Simulator>,
        settlements: Settlements,
        agents: Agents,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (rules, verified) = (Arc::new(rules), Verified::new(Arc::clone(&agents.clock)));
        Self { network, rules, signing, simulator, settlements, verified, agents, metrics }
    }

    /// What `/supported` says.
    #[must_use]
    pub fn supported(&self) -> Supported {
        let Some(signing) = &self.signing else { return Supported::new(self.network, None, &[]) };
        let fee_payers: Vec<Pubkey> = signing.fee_payers.addresses().collect();
        // Where all are short the first stands, and is what 503 names.
        let able = fee_payers.iter().find(|fee_payer| signing.funds.allow_settling(fee_payer));
        Supported::new(self.network, able.or(fee_payers.first()), &fee_payers)
    }

    /// Judges a payment and signs nothing. What the caller's agent is about to pay is held of its limits for a while.
    ///
    /// # Errors
    /// When it cannot be judged now.
    pub async fn verify(
        &self,
        request: &X402Request,
        caller: Option<&Caller>,
    ) -> Result<VerifyReply, Undecided> {
        let started = Instant::now();
        let judged = self.judge(request, caller).await;
        let reason = match &judged {
            Ok(Ok(_)) => "valid",
            Ok(Err(refusal)) => refusal.reason.v2(),
            Err(_) => Reason::UnexpectedVerifyError.v2(),
        };
        self.metrics.x402.verified(request.version.number(), reason, started.elapsed());
        Ok(match judged? {
            Ok(payer) => VerifyReply::valid(&payer),
            Err(refusal) => VerifyReply::invalid(request.version, &refusal),
        })
    }

    async fn judge(&self, request: &X402Request, caller: Option<&Caller>) -> Judged<Pubkey> {
        let passed = match self.free_checks(request) {
            Ok(passed) => passed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.check_fee_payer(&passed.payment)?;
        let agent = self.paying_agent(&passed, caller).await?;
        if let Some(agent) = &agent
            && let Err(refusal) = self.check_agent(agent, request, &passed).await
        {
            self.blame(&agent.id, passed.message).await;
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.look_ahead(&passed.payment, agent.as_ref()).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.check_unsettled(&passed).await? {
            return Ok(Err(refusal));
        }
        if let Some(agent) = &agent
            && let Err(refusal) = self.hold(agent, request, &passed).await?
        {
            return Ok(Err(refusal));
        }
        self.verified.note(passed.message, passed.terms);
        Ok(Ok(passed.payment.payer))
    }

    /// Rules 1 to 19, and that the books can hold the amount.
    pub(super) fn free_checks(&self, request: &X402Request) -> Result<Passed, Refusal> {
        let payment = self.rules.check(&request.terms())?;
        let amount = Amount::from_atomic(payment.amount).map_err(|error| {
            let message = format!("the amount of {} atomic units {error}", payment.amount);
            Refusal::new(Reason::InvalidPayload, message).by(payment.payer)
        })?;
        let message = MessageHash(payment.message_sha256);
        Ok(Passed { payment, amount, message, terms: TermsHash(request.fingerprint()) })
    }

    /// Nothing is promised that the fee payer cannot pay for.
    pub(super) fn check_fee_payer(&self, payment: &CheckedPayment) -> Result<(), Undecided> {
        let fee_payer = payment.fee_payer;
        let can_pay = self.signing.as_ref().is_none_or(|signing| signing.funds.allow_settling(&fee_payer));
        if can_pay { Ok(()) } else { Err(Undecided::FeePayerShort(fee_payer)) }
    }

    /// Rule 20, and what the mint and the token accounts say: one round trip, in which those are read too. The agent's is what
    /// the chain would refuse, but for a payment that was made before, or too long ago.
    pub(super) async fn look_ahead(&self, payment: &CheckedPayment, agent: Option<&Agent>) -> Judged<()> {
        let simulation = self.simulator.simulate(&payment.transaction, &payment.holdings()).await?;
        let Simulation { failure, accounts, .. } = simulation;
        let [mint, source, destination] = [0, 1, 2].map(|index| accounts.get(index).and_then(Option::as_ref));
        let holdings = Holdings { mint, source, destination };
        let Some(failure) = failure else {
            let judged = self.rules.check_holdings(payment, &holdings);
            return Ok(judged.inspect_err(|_| self.count_refusal(agent)));
        };
        let refused = |message: String| Refusal::new(Reason::SimulationFailed, message).by(payment.payer);
        Ok(Err(match failure.kind {
            FailureKind::FeePayerShort => {
                self.fees_changed();
                return Err(Undecided::FeePayerShort(payment.fee_payer));
            }
            FailureKind::UnknownBlockhash => refused(format!(
                "the transaction's blockhash {} is expired or unknown: build and sign the payment anew",
                payment.blockhash
            )),
            FailureKind::AlreadyLanded => refused(LANDED.to_owned()),
            FailureKind::Other => {
                self.count_refusal(agent);
                let explained = self.rules.explain(payment, &holdings);
                explained.unwrap_or_else(|| refused(format!("the transaction would fail: {failure}")))
            }
        }))
    }

    /// What the books know to be over is not good any more, whatever a node that lags behind says of it.
    async fn check_unsettled(&self, passed: &Passed) -> Judged<()> {
        let booked = self.settlements.look_up(&passed.message, &passed.terms).await?;
        let message = match booked {
            Claimed::Booked(record) => match record.state {
                SettlementState::Pending => return Ok(Ok(())),
                SettlementState::Ended(Ending::Expired) => {
                    "the transaction was sent before, did not land in time and never will: build and sign the payment anew"
                }
                SettlementState::Ended(_) => LANDED,
            },
            Claimed::OtherTerms => {
                let message = "this transaction is another payment's: it was or is being settled for other requirements";
                let refusal = Refusal::new(Reason::DuplicateSettlement, message);
                return Ok(Err(refusal.by(passed.payment.payer)));
            }
            Claimed::Fresh | Claimed::Verifying => return Ok(Ok(())),
        };
        Ok(Err(Refusal::new(Reason::SimulationFailed, message).by(passed.payment.payer)))
    }

    /// Has the fee payers' balances read soon.
    pub(super) fn fees_changed(&self) {
        if let Some(signing) = &self.signing {
            signing.funds.changed();
        }
    }
}
