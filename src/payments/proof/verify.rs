//! Verifying a proof: the free checks, the claim, the terms, the chain, the books, in that order.

use std::{sync::Arc, time::Duration};

use solana_pubkey::Pubkey;
use tokio::time::{Instant, sleep, timeout};

use super::{
    PaymentProof, ProofRequest,
    judge::{self, Terms},
};
use crate::{
    api_keys::Caller,
    chain::{
        Chain, ChainError, ConfirmedTransaction, Lookup,
        assets::{Assets, Network},
    },
    clock::Clock,
    ids::{Entropy, PaymentId},
    metrics::{Metrics, VerificationStatus},
    payments::{
        Claim, ClaimOutcome, ClaimStore, Payment, PaymentState, PaymentStore, RecordOutcome, Refusal,
        RefusalCode, Used, Verdict,
    },
    requirements::{IssuedRequirement, Requirement, RequirementStore},
    store_error::StoreError,
};

/// How long a verification waits for a twin that holds its nonce or transaction.
const TWIN_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const TWIN_POLL: Duration = Duration::from_millis(10);
/// How long a verification may take once it holds its claim. Shorter than a claim's lease.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a proof could not be judged. The nonce stays unused; the same request may succeed later.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the transaction is not confirmed yet, or does not exist")]
    TransactionNotVisible,
    #[error("the chain could not be read")]
    Chain(#[from] ChainError),
    #[error("the books could not be read or written")]
    Store(#[from] StoreError),
    #[error("the same proof is being verified")]
    TwinInFlight,
    #[error("the verification took too long")]
    TimedOut,
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct ProofPolicy {
    pub network: Network,
    pub assets: Assets,
    /// Who must have been paid where nothing else says so.
    pub merchant_wallets: Vec<Pubkey>,
}

/// Judges proofs and books the good ones.
#[derive(Clone, Debug)]
pub struct ProofVerifier {
    pub policy: ProofPolicy,
    pub chain: Arc<dyn Chain>,
    pub payments: Arc<dyn PaymentStore>,
    pub requirements: Arc<dyn RequirementStore>,
    pub claims: Arc<dyn ClaimStore>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: Arc<Metrics>,
}

impl ProofVerifier {
    /// Judges a proof for `caller` (`None`: anonymous). An accepted one is in the books when this returns.
    ///
    /// # Errors
    /// When it cannot be judged now; then nothing has been used up.
    pub async fn verify(
        &self,
        request: &ProofRequest,
        caller: Option<&Caller>,
    ) -> Result<Verdict, VerifyError> {
        let started = Instant::now();
        let currency = request.proof.currency;
        let verdict = match self.free_checks(request) {
            Err(refusal) => Ok(Verdict::Refused(refusal)),
            Ok(()) => self.claimed(request, caller).await,
        };
        match &verdict {
            Ok(Verdict::Accepted(payment)) => {
                self.metrics.verification(VerificationStatus::Success, currency, started.elapsed());
                self.metrics.payment_accepted(payment.amount, currency);
            }
            Ok(Verdict::Refused(refusal)) => {
                let status = match refusal.code {
                    RefusalCode::PaymentExpired => VerificationStatus::Expired,
                    RefusalCode::ReplayAttack => VerificationStatus::Replay,
                    _ => VerificationStatus::Failure,
                };
                self.metrics.verification(status, currency, started.elapsed());
            }
            Err(_) => {}
        }
        verdict
    }

    fn free_checks(&self, request: &ProofRequest) -> Result<(), Refusal> {
        judge::check_timestamp(&request.proof, self.clock.now())?;
        judge::check_signature(&request.proof)
    }

    /// Holds the nonce and the transaction while the proof is judged, so that of concurrent twins only one asks the
    /// chain.
    async fn claimed(&self, request: &ProofRequest, caller: Option<&Caller>) -> Result<Verdict, VerifyError> {
        let claim = Claim { nonce: request.proof.nonce.clone(), transaction: request.proof.transaction_id };
        match timeout(TWIN_WAIT, self.wait_for_claim(&claim)).await {
            Err(_) => return Err(VerifyError::TwinInFlight),
            Ok(ClaimOutcome::Used) => return Ok(Verdict::Refused(replay("nonce or transaction"))),
            Ok(_) => {}
        }
        let verdict = timeout(VERIFY_TIMEOUT, self.judge_and_record(request, caller))
            .await
            .unwrap_or(Err(VerifyError::TimedOut));
        match &verdict {
            Ok(Verdict::Accepted(_)) => self.claims.mark_used(&claim).await,
            _ => self.claims.release(&claim).await,
        }
        verdict
    }

    async fn wait_for_claim(&self, claim: &Claim) -> ClaimOutcome {
        loop {
            match self.claims.claim(claim).await {
                ClaimOutcome::InFlight => sleep(TWIN_POLL).await,
                outcome => return outcome,
            }
        }
    }

    async fn judge_and_record(
        &self,
        request: &ProofRequest,
        caller: Option<&Caller>,
    ) -> Result<Verdict, VerifyError> {
        let proof = &request.proof;
        if let Some(used) = self.payments.used(&proof.nonce, &proof.transaction_id).await? {
            return Ok(Verdict::Refused(already_used(used)));
        }
        let issued = self.requirements.find(&proof.nonce).await?;
        let decided = self
            .terms(request.requirement.as_ref(), issued.as_ref(), caller)
            .and_then(|(terms, issued)| judge::check_terms(proof, &terms).map(|()| (terms, issued)))
            .and_then(|decided| check_parties(proof).map(|()| decided));
        let (terms, issued) = match decided {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Verdict::Refused(refusal)),
        };
        let transaction = match self.chain.transaction(&proof.transaction_id).await? {
            Lookup::Confirmed(transaction) => transaction,
            Lookup::NotVisible => return Err(VerifyError::TransactionNotVisible),
            Lookup::UnsupportedVersion => {
                return Ok(Verdict::Refused(Refusal::new(
                    RefusalCode::InvalidPayment,
                    "the transaction's version is not supported: pay with a legacy or v0 transaction",
                )));
            }
        };
        let assets = &self.policy.assets;
        match judge::check_transaction(proof, &terms, &transaction, assets, self.clock.now()) {
            Ok(recipient) => {
                self.record(self.payment(proof, &terms, issued, caller, recipient, &transaction)).await
            }
            Err(refusal) => Ok(Verdict::Refused(refusal)),
        }
    }

    /// Who must have been paid: the requirement in the body, else the one issued under the nonce, else the key's
    /// recipients, else the operator's wallets.
    ///
    /// An issued requirement binds only whom it concerns. Anybody with a key can have one issued that pays
    /// themselves, so it must not decide for another merchant: with a key it has to be the caller's own, and for an
    /// anonymous caller it has to pay one of the operator's wallets, where there are any.
    fn terms<'a>(
        &self,
        sent: Option<&Requirement>,
        issued: Option<&'a IssuedRequirement>,
        caller: Option<&Caller>,
    ) -> Result<(Terms, Option<&'a IssuedRequirement>), Refusal> {
        let wallets = &self.policy.merchant_wallets;
        let issued_to_another =
            || Refusal::new(RefusalCode::NonceMismatch, "the nonce was issued for another requirement");
        if let Some(issued) = issued {
            let concerns_caller = match caller {
                Some(caller) => caller.user == issued.owner,
                None => {
                    sent.is_some() || wallets.is_empty() || wallets.contains(&issued.requirement.recipient)
                }
            };
            let agrees = sent.is_none_or(|sent| sent.asks_the_same_as(&issued.requirement));
            if !concerns_caller || !agrees {
                return Err(issued_to_another());
            }
            return Ok((Terms::Requirement(issued.requirement.clone()), Some(issued)));
        }
        if let Some(sent) = sent {
            return Ok((Terms::Requirement(sent.clone()), None));
        }
        let recipients = caller.map(|caller| &caller.recipients).filter(|own| !own.is_empty());
        match recipients.unwrap_or(wallets).as_slice() {
            [] => Err(Refusal::new(
                RefusalCode::RecipientMismatch,
                "nothing says who must have been paid: send a requirement along, have one issued, or configure \
                 MERCHANT_WALLETS",
            )),
            recipients => Ok((Terms::Recipients(recipients.to_vec()), None)),
        }
    }

    fn payment(
        &self,
        proof: &PaymentProof,
        terms: &Terms,
        issued: Option<&IssuedRequirement>,
        caller: Option<&Caller>,
        recipient: Pubkey,
        transaction: &ConfirmedTransaction,
    ) -> Payment {
        let now = self.clock.now();
        let required_resource = match terms {
            Terms::Requirement(requirement) => requirement.resource.as_ref(),
            Terms::Recipients(_) => None,
        };
        Payment {
            id: PaymentId::new(now, self.entropy.as_ref()),
            state: PaymentState::Settled,
            owner: caller.map(|caller| &caller.user).or(issued.map(|issued| &issued.owner)).cloned(),
            transaction: proof.transaction_id,
            nonce: proof.nonce.clone(),
            meets_requirement: issued.is_some(),
            payer: proof.payer,
            recipient,
            currency: proof.currency,
            amount: proof.amount,
            resource: required_resource.or(proof.resource.as_ref()).cloned(),
            network: self.policy.network.as_str(),
            slot: transaction.slot,
            block_time: transaction.block_time,
            verified_at: now,
        }
    }

    async fn record(&self, payment: Payment) -> Result<Verdict, VerifyError> {
        Ok(match self.payments.record(&payment).await? {
            RecordOutcome::Recorded => Verdict::Accepted(Box::new(payment)),
            RecordOutcome::AlreadyUsed(used) => Verdict::Refused(already_used(used)),
        })
    }
}

/// No agent and no subscription is registered with this service yet, so a proof that names one names nobody.
fn check_parties(proof: &PaymentProof) -> Result<(), Refusal> {
    if proof.agent_id.is_some() {
        return Err(Refusal::new(RefusalCode::AgentNotFound, "no such agent is registered"));
    }
    if proof.subscription_id.is_some() {
        return Err(Refusal::new(RefusalCode::SubscriptionNotFound, "there is no such subscription"));
    }
    Ok(())
}

fn already_used(used: Used) -> Refusal {
    replay(match used {
        Used::Nonce => "nonce",
        Used::Transaction => "transaction",
    })
}

fn replay(what: &str) -> Refusal {
    Refusal::new(
        RefusalCode::ReplayAttack,
        format!("the {what} has paid before: pay again under a fresh nonce"),
    )
}
