//! Verifying a proof: the free checks, the claim, the terms, the chain, the books, in that order.

use std::{sync::Arc, time::Duration};

use solana_pubkey::Pubkey;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::{
    PaymentProof, ProofRequest,
    agent::{Denied, agent_not_found},
    judge::{self, Terms},
    subscription::{subscription_not_found, unpayable},
};
use crate::{
    agents::{AgentStore, DaySpending, Purchase, SpendingUnit},
    api_keys::Caller,
    chain::{
        Chain, ChainError, ConfirmedTransaction, Lookup,
        assets::{Assets, Network},
    },
    clock::{Clock, UnixMs},
    ids::{Entropy, PaymentId},
    metrics::{Metrics, VerificationStatus},
    payments::{
        Claim, ClaimOutcome, ClaimStore, Objection, Paying, PayingAgent, Payment, PaymentState, PaymentStore,
        RecordOutcome, Recorder, Refusal, RefusalCode, Used, Verdict, spending,
    },
    requirements::{IssuedRequirement, Requirement},
    store_error::StoreError,
    subscriptions::SubscriptionStore,
};

/// How long a verification waits for a twin.
const TWIN_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const TWIN_POLL: Duration = Duration::from_millis(10);
/// How long judging may take. With what recording may take (waiting for the database is bounded there) it is shorter
/// than a claim's lease.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a payer's agent is looked up anew that was deleted before its payment was booked.
const MAX_LOOKUPS: usize = 3;

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
    pub recorder: Recorder,
    pub agents: Arc<dyn AgentStore>,
    pub subscriptions: Arc<dyn SubscriptionStore>,
    pub claims: Arc<dyn ClaimStore>,
    /// What goes on after an answer, and a shutdown waits for.
    pub tasks: TaskTracker,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: Arc<Metrics>,
}

impl ProofVerifier {
    /// Judges a proof for `caller` (`None`: anonymous). An accepted one is in the books when this returns. `tag` names
    /// the request; a payment booked under the same tag is this request's own, made by an earlier attempt.
    ///
    /// # Errors
    /// When it cannot be judged now; then nothing has been used up.
    pub async fn verify(
        &self,
        request: &ProofRequest,
        caller: Option<&Caller>,
        tag: Option<&str>,
    ) -> Result<Verdict, VerifyError> {
        let started = Instant::now();
        let currency = request.proof.currency;
        let judged = match self.free_checks(request) {
            Ok(()) => self.claimed(request, caller, tag).await,
            Err(refusal) => Ok(Verdict::Refused(refusal)),
        };
        let verdict = match judged {
            Ok(Verdict::Refused(refusal)) => self.unless_own(&request.proof, tag, refusal).await,
            judged => judged,
        };
        match &verdict {
            Ok(Verdict::Accepted(_) | Verdict::AcceptedBefore(_)) => {
                self.metrics.verification(VerificationStatus::Success, currency, started.elapsed());
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

    /// Keeps twins waiting while the proof is judged, so that only one of them asks the chain.
    async fn claimed(
        &self,
        request: &ProofRequest,
        caller: Option<&Caller>,
        tag: Option<&str>,
    ) -> Result<Verdict, VerifyError> {
        let claim = Claim {
            nonce: request.proof.nonce.clone(),
            transaction: request.proof.transaction_id,
            request: request.digest,
        };
        match timeout(TWIN_WAIT, self.wait_for_claim(&claim)).await {
            // Whoever holds it may have ended without its claim: then the books know.
            Err(_) => {
                let on_record = self.payments.on_record(&claim.nonce, &claim.transaction, None).await?;
                let used = on_record.used.ok_or(VerifyError::TwinInFlight)?;
                return Ok(Verdict::Refused(already_used(used)));
            }
            Ok(ClaimOutcome::Used) => return Ok(Verdict::Refused(replay("nonce or transaction"))),
            Ok(_) => {}
        }
        let judged =
            timeout(JUDGE_TIMEOUT, self.judge(request, caller)).await.unwrap_or(Err(VerifyError::TimedOut));
        // Outside the timeout: a commit that is cut off may have happened all the same.
        let decided = match judged {
            Ok(Ok(payment)) => {
                let payment = Payment { request_tag: tag.map(str::to_owned), ..payment };
                self.record(&request.proof, payment).await
            }
            Ok(Err(denied)) => Ok(Err(denied)),
            Err(error) => Err(error),
        };
        let verdict = match decided {
            Ok(Ok(payment)) => Ok(Verdict::Accepted(Box::new(payment))),
            Ok(Err(denied)) => {
                if let Some(agent) = &denied.agent {
                    self.metrics.agents.refused(agent.as_str());
                }
                // Without a key, anybody could spoil its reputation.
                if caller.is_some() {
                    self.blame(&request.proof, &denied).await;
                }
                Ok(Verdict::Refused(denied.refusal))
            }
            Err(error) => Err(error),
        };
        let (claims, accepted) = (Arc::clone(&self.claims), matches!(verdict, Ok(Verdict::Accepted(_))));
        // Not on the way of the answer. There are no more of these than verifications, and a store's timeout bounds each.
        self.tasks.spawn(async move {
            if accepted { claims.mark_used(&claim).await } else { claims.release(&claim).await }
        });
        verdict
    }

    /// What this very request has booked before stands: the first attempt's answer was lost.
    async fn unless_own(
        &self,
        proof: &PaymentProof,
        tag: Option<&str>,
        refusal: Refusal,
    ) -> Result<Verdict, VerifyError> {
        if let Some(tag) = tag {
            let booked = self.payments.find_by_nonce(&proof.nonce).await?;
            if let Some(own) = booked.filter(|payment| payment.request_tag.as_deref() == Some(tag)) {
                return Ok(Verdict::AcceptedBefore(Box::new(own)));
            }
        }
        Ok(Verdict::Refused(refusal))
    }

    async fn wait_for_claim(&self, claim: &Claim) -> ClaimOutcome {
        loop {
            match self.claims.claim(claim).await {
                ClaimOutcome::InFlight => sleep(TWIN_POLL).await,
                outcome => return outcome,
            }
        }
    }

    /// The payment to be booked, or why there is none.
    async fn judge(
        &self,
        request: &ProofRequest,
        caller: Option<&Caller>,
    ) -> Result<Result<Payment, Denied>, VerifyError> {
        let (proof, now) = (&request.proof, self.clock.now());
        let paying = Paying {
            wallet: proof.payer,
            user: caller.map(|caller| caller.user.as_str()),
            unit: SpendingUnit::of(proof.currency),
            at: now,
        };
        let on_record = self.payments.on_record(&proof.nonce, &proof.transaction_id, Some(paying)).await?;
        if let Some(used) = on_record.used {
            return Ok(Err(already_used(used).into()));
        }
        let paying = on_record.agent.as_ref();
        let named = self.paying_agent(proof, paying.map(|paying| &paying.agent), caller).await?;
        if let Err(refusal) = named {
            return Ok(Err(refusal.into()));
        }
        // It is the payment that is bad, and the agent's.
        let denied = |refusal| Denied { refusal, agent: paying.map(|paying| paying.agent.id.clone()) };
        let subscription = match self.named_subscription(proof, caller, now).await? {
            Ok(subscription) => subscription,
            Err(refusal) => return Ok(Err(denied(refusal))),
        };
        let terms = self.terms(request.requirement.as_ref(), on_record.issued.as_ref(), caller);
        let (terms, issued) = match terms {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        if let Err(refusal) = judge::check_terms(proof, &terms) {
            return Ok(Err(denied(refusal)));
        }
        if let Some(paying) = paying
            && let Err(refusal) = self.check_agent(proof, &terms, paying, now).await
        {
            return Ok(Err(denied(refusal)));
        }
        let transaction = match self.look_up(proof).await? {
            Ok(transaction) => transaction,
            Err(refusal) => return Ok(Err(denied(refusal))),
        };
        let now = self.clock.now();
        let paid = judge::check_issued_before(issued, &transaction)
            .and_then(|()| judge::check_transaction(proof, &terms, &transaction, &self.policy.assets, now));
        let payment = |recipient| Payment {
            agent: paying.map(|paying| paying.agent.id.clone()),
            subscription,
            ..self.payment(proof, &terms, issued, caller, recipient, &transaction)
        };
        Ok(paid.map(payment).map_err(denied))
    }

    /// What the chain says, or said when it was last asked: of a confirmed transaction it does not say anything else later.
    async fn look_up(
        &self,
        proof: &PaymentProof,
    ) -> Result<Result<Arc<ConfirmedTransaction>, Refusal>, VerifyError> {
        let transaction = &proof.transaction_id;
        let known = self.claims.known(transaction);
        self.metrics.payment_cache(known.is_some());
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        match self.chain.transaction(transaction).await? {
            Lookup::Confirmed(found) => {
                let found = Arc::<ConfirmedTransaction>::from(found);
                // What the payer did not sign will never pay: strangers could fill the stores with it.
                if found.signers.contains(&proof.payer) {
                    self.claims.learn(Arc::clone(&found));
                }
                Ok(Ok(found))
            }
            Lookup::NotVisible => Err(VerifyError::TransactionNotVisible),
            Lookup::UnsupportedVersion => Ok(Err(Refusal::new(
                RefusalCode::InvalidPayment,
                "the transaction's version is not supported: pay with a legacy or v0 transaction",
            ))),
        }
    }

    /// Who must have been paid: the requirement in the body, else the one issued under the nonce, else the key's
    /// recipients, else the operator's wallets. Where there are both a sent and an issued requirement, they have to
    /// agree, and both hold.
    fn terms<'a>(
        &self,
        sent: Option<&Requirement>,
        issued: Option<&'a IssuedRequirement>,
        caller: Option<&Caller>,
    ) -> Result<(Terms, Option<&'a IssuedRequirement>), Refusal> {
        match (sent, issued) {
            (sent, Some(issued)) => {
                self.check_concerns(issued, sent.is_some(), caller)?;
                let both = match sent {
                    Some(sent) => sent.and(&issued.requirement).ok_or_else(issued_for_another)?,
                    None => issued.requirement.clone(),
                };
                Ok((Terms::Requirement(both), Some(issued)))
            }
            (Some(sent), None) => Ok((Terms::Requirement(sent.clone()), None)),
            (None, None) => {
                let own = caller.map(|caller| &caller.recipients).filter(|own| !own.is_empty());
                let recipients = own.unwrap_or(&self.policy.merchant_wallets);
                if recipients.is_empty() {
                    return Err(Refusal::new(
                        RefusalCode::RecipientMismatch,
                        "nothing says who must have been paid: send a requirement along, have one issued, or \
                         configure MERCHANT_WALLETS",
                    ));
                }
                Ok((Terms::Recipients(recipients.clone()), None))
            }
        }
    }

    /// An issued requirement decides only for those whom it concerns. Anybody with a key can have one issued that pays
    /// themselves, so with a key it has to be the caller's own, and for an anonymous caller, who is nobody's merchant,
    /// it has to be sent along too or pay one of the operator's wallets.
    fn check_concerns(
        &self,
        issued: &IssuedRequirement,
        sent_along: bool,
        caller: Option<&Caller>,
    ) -> Result<(), Refusal> {
        match caller {
            Some(caller) if caller.user == issued.owner => Ok(()),
            Some(_) => Err(issued_for_another()),
            None if sent_along || self.policy.merchant_wallets.contains(&issued.requirement.recipient) => {
                Ok(())
            }
            None => Err(Refusal::new(
                RefusalCode::RecipientMismatch,
                "the nonce's requirement pays none of the operator's wallets: send your API key, or the \
                 requirement along",
            )),
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
            resource: resource(proof, terms).map(str::to_owned),
            network: self.policy.network.as_str(),
            slot: transaction.slot,
            block_time: transaction.block_time,
            verified_at: now,
            agent: None,
            subscription: None,
            request_tag: None,
        }
    }

    async fn record(
        &self,
        proof: &PaymentProof,
        payment: Payment,
    ) -> Result<Result<Payment, Denied>, VerifyError> {
        let mut outcome = self.recorder.record(payment.clone()).await?;
        let mut payment = payment;
        for _ in 0..MAX_LOOKUPS {
            if outcome != RecordOutcome::Refused(Objection::AgentGone) || proof.agent_id.is_some() {
                break;
            }
            // Deleted since it was looked up, and nobody asked for it. The wallet may be registered anew.
            payment.agent = self.agent_of(&payment).await?;
            outcome = self.recorder.record(payment.clone()).await?;
        }
        let agent = payment.agent.clone();
        Ok(match outcome {
            RecordOutcome::Recorded => {
                self.metrics.payment_accepted(payment.amount, payment.currency);
                if let Some(agent) = agent {
                    self.metrics.agents.paid(agent.as_str(), Some((payment.amount, payment.currency)));
                }
                Ok(payment)
            }
            // What was paid before is no other payment of the agent's, wherever it is found out.
            RecordOutcome::AlreadyUsed(used) => Err(already_used(used).into()),
            RecordOutcome::Refused(Objection::AgentGone) => Err(agent_not_found().into()),
            RecordOutcome::Refused(Objection::Agent(why)) => {
                Err(Denied { refusal: spending::not_admitted(why), agent })
            }
            RecordOutcome::Refused(Objection::SubscriptionGone) => Err(subscription_not_found().into()),
            RecordOutcome::Refused(Objection::Subscription(why)) => {
                Err(Denied { refusal: unpayable(why), agent })
            }
        })
    }

    /// Before the chain is asked, by what has been spent for good. Recording is the judge.
    async fn check_agent(
        &self,
        proof: &PaymentProof,
        terms: &Terms,
        paying: &PayingAgent,
        at: UnixMs,
    ) -> Result<(), Refusal> {
        let purchase = Purchase {
            unit: Some(SpendingUnit::of(proof.currency)),
            amount: proof.amount,
            resource: resource(proof, terms),
        };
        let so_far = DaySpending { spent: paying.spent, reserved: 0 };
        let admitted = spending::admit_early(&*self.agents, &paying.agent, &purchase, so_far, at).await;
        admitted.map_err(spending::not_admitted)
    }
}

/// What is paid for: what the requirement says, else the proof.
fn resource<'a>(proof: &'a PaymentProof, terms: &'a Terms) -> Option<&'a str> {
    let required = match terms {
        Terms::Requirement(requirement) => requirement.resource.as_deref(),
        Terms::Recipients(_) => None,
    };
    required.or(proof.resource.as_deref())
}

fn issued_for_another() -> Refusal {
    Refusal::new(RefusalCode::NonceMismatch, "the nonce was issued for another requirement")
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
