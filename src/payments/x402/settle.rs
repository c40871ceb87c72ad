//! Settling: verified again, signed, and then in the hands of [`payments::settlement`](crate::payments::settlement).

use std::{future::ready, sync::Arc, time::Duration};

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::time::{Instant, timeout_at};

use super::{
    Facilitator, SettleReply, Undecided, Version, X402Request,
    agent::not_admitted,
    facilitator::{Judged, Passed},
};
use crate::{
    api_keys::Caller,
    chain::{
        funds::FeePayerFunds,
        hints::{Hint, LandingHints, Watched},
        solana::{
            rules::{Reason, Refusal, message_sha256},
            signer::FeePayers,
        },
    },
    payments::settlement::{
        Answer, Cap, Claimed, Ending, MessageHash, NewSettlement, Record, Settled, SettlementState,
        TermsHash, WITHOUT_KEY, kept_resource,
    },
};

/// What the fee payer is charged for each signature, in lamports.
const LAMPORTS_PER_SIGNATURE: u64 = 5_000;
/// Within what a request is answered: clients give up after 30 seconds. The engine takes 25 of them at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(28);
/// How long the books may hold up an answer, before the engine is asked or after that.
const BOOKS_TIMEOUT: Duration = Duration::from_secs(3);

/// Whose SOL pays, whether there is enough of it, and who tells what landed.
#[derive(Clone, Debug)]
pub struct Signing {
    pub fee_payers: FeePayers,
    pub funds: Arc<FeePayerFunds>,
    pub hints: Arc<dyn LandingHints>,
}

/// Why a claimed payment is not signed.
enum Unsigned {
    Refused(Refusal),
    Undecided(Undecided),
}

impl Facilitator {
    /// Makes a payment final, once. What was settled before is answered from the books.
    ///
    /// # Errors
    /// When nothing was sent, for want of the database, the chain or SOL.
    pub async fn settle(
        &self,
        request: &X402Request,
        caller: Option<&Caller>,
    ) -> Result<SettleReply, Undecided> {
        let started = Instant::now();
        let told = self.told(request, caller, started + ANSWER_WITHIN).await;
        let reason = match &told {
            Ok(Told::Settled(_)) => "settled",
            Ok(Told::Failed(refusal, _)) => refusal.reason.v2(),
            Err(_) => Reason::UnexpectedSettleError.v2(),
        };
        self.metrics.x402.settled(request.version.number(), reason, started.elapsed());
        Ok(told?.into_reply(request.version, &request.payload.network))
    }

    async fn told(
        &self,
        request: &X402Request,
        caller: Option<&Caller>,
        by: Instant,
    ) -> Result<Told, Undecided> {
        let passed = match self.free_checks(request) {
            Ok(passed) => passed,
            Err(refusal) => return self.told_before(request, caller, refusal, by).await,
        };
        // For as long as somebody waits for the outcome of what is journalled here.
        let mut watched = None;
        let prepare = || self.prepare(request, &passed, caller);
        let watch = |signature| watched = self.watch(signature);
        let settled = self.settlements.settle_watching(passed.message, passed.terms, prepare, watch).await;
        if let (None, Some(caller), Settled::Answered(answer)) = (&watched, caller, &settled)
            && answer.is_booked()
        {
            self.adopt(passed.message, passed.terms, caller, by).await;
        }
        let told = match settled {
            Settled::Refused(Unsigned::Refused(refusal)) => return Ok(Told::Failed(refusal, None)),
            Settled::Refused(Unsigned::Undecided(trouble)) => return Err(trouble),
            Settled::Answered(answer) => {
                if let Answer::NotAdmitted(_) = &answer {
                    self.blame_payer(&passed, caller, by).await;
                }
                told(answer, passed.payment.payer, caller.is_some())?
            }
        };
        self.fees_changed();
        Ok(told)
    }

    /// What the rules refuse now they may have let through before: the service had another fee payer then, or wider bounds.
    /// What is in the books is told from there, as ever.
    async fn told_before(
        &self,
        request: &X402Request,
        caller: Option<&Caller>,
        refusal: Refusal,
        by: Instant,
    ) -> Result<Told, Undecided> {
        let Some(message) = message_sha256(&request.payload.transaction).map(MessageHash) else {
            return Ok(Told::Failed(refusal, None));
        };
        let terms = TermsHash(request.fingerprint());
        let looking_up = self.settlements.look_up(&message, &terms);
        let found = timeout_at(books_by(by), looking_up).await.map_err(|_| Undecided::Unavailable)??;
        let Claimed::Booked(record) = found else {
            return Ok(Told::Failed(refusal, None));
        };
        let settled = self.settlements.settle(message, terms, || ready(Err(refusal.clone()))).await;
        match settled {
            Settled::Refused(refusal) => Ok(Told::Failed(refusal, None)),
            Settled::Answered(answer) => {
                if let (Some(caller), true) = (caller, answer.is_booked()) {
                    self.adopt(message, terms, caller, by).await;
                }
                told(answer, record.payer, caller.is_some())
            }
        }
    }

    /// A stranger who saw the payment may have asked before its merchant did, without a key: it is the merchant's all the
    /// same. Only bookkeeping, so that it fails nothing; the next time it is asked for it is tried again.
    async fn adopt(&self, message: MessageHash, terms: TermsHash, caller: &Caller, by: Instant) {
        let adopting = self.settlements.adopt(&message, &terms, &caller.user);
        match timeout_at(books_by(by), adopting).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a settlement cannot be entered under its owner");
            }
            Err(_) => tracing::warn!("a settlement cannot be entered under its owner in time"),
        }
    }

    /// Notes that an agent has tried to pay more than it may. It is refused all the same where that is not noted in time.
    async fn blame_payer(&self, passed: &Passed, caller: Option<&Caller>, by: Instant) {
        let blaming = async {
            if let Ok(Some(agent)) = self.paying_agent(passed, caller).await {
                self.blame(&agent.id, passed.message).await;
            }
        };
        if timeout_at(books_by(by), blaming).await.is_err() {
            tracing::warn!("an agent's failure could not be noted in time");
        }
    }

    /// Judges the payment again, unless that was done a moment ago, and signs it. What is left of an agent's limits is for
    /// the journal to say, where nothing has been sent yet.
    async fn prepare(
        &self,
        request: &X402Request,
        passed: &Passed,
        caller: Option<&Caller>,
    ) -> Result<NewSettlement, Unsigned> {
        self.check_fee_payer(&passed.payment).map_err(Unsigned::Undecided)?;
        let agent = self.paying_agent(passed, caller).await.map_err(Unsigned::Undecided)?;
        if let Some(agent) = &agent
            && let Err(refusal) = self.check_agent(agent, request, passed).await
        {
            self.blame(&agent.id, passed.message).await;
            return Err(Unsigned::Refused(refusal));
        }
        if !self.verified.take(passed.message, passed.terms) {
            let judged = self.look_ahead(&passed.payment, agent.as_ref()).await;
            judged.map_err(Unsigned::Undecided)?.map_err(Unsigned::Refused)?;
        }
        let signed = self.sign(request, passed, caller).map_err(Unsigned::Undecided)?;
        let signed = signed.map_err(Unsigned::Refused)?;
        let Some(agent) = agent else { return Ok(signed) };
        let resource = request.resource().map(str::to_owned);
        Ok(NewSettlement { agent: Some(agent.id), resource, ..signed })
    }

    fn sign(&self, request: &X402Request, passed: &Passed, caller: Option<&Caller>) -> Judged<NewSettlement> {
        let payment = &passed.payment;
        let Some(signing) = &self.signing else {
            // The rules have seen to it.
            let message = "the payment is made for another fee payer";
            return Ok(Err(Refusal::new(Reason::FeePayerNotManaged, message).by(payment.payer)));
        };
        let signed = signing.fee_payers.sign(payment.transaction.clone())?;
        let transaction = bincode::serialize(&signed).map_err(|error| Undecided::Encoding(error))?;
        let signatures = u64::try_from(payment.signers.len()).unwrap_or(u64::MAX);
        let base_fee = LAMPORTS_PER_SIGNATURE.saturating_mul(signatures);
        Ok(Ok(NewSettlement {
            transaction,
            signature: signed.signatures.first().copied().unwrap_or_default(),
            fee_payer: payment.fee_payer,
            payer: payment.payer,
            pay_to: payment.pay_to,
            asset: payment.mint,
            currency: self.rules.currency_of(&payment.mint),
            amount: passed.amount,
            network: self.network,
            resource: request.resource().map(|resource| kept_resource(resource).to_owned()),
            owner: caller.map(|caller| caller.user.clone()),
            agent: None,
            key_id: Some(caller.map_or_else(|| WITHOUT_KEY.to_owned(), |caller| caller.key_id.clone())),
            max_fee_lamports: base_fee.saturating_add(payment.priority_fee_lamports),
            x402_version: request.version.number(),
        }))
    }

    fn watch(&self, signature: Signature) -> Option<Watched> {
        let settlements = self.settlements.clone();
        let hint: Hint = Arc::new(move |signature| settlements.hint(signature));
        self.signing.as_ref().map(|signing| signing.hints.watch(signature, hint))
    }
}

/// An outcome, in no version's words yet.
enum Told {
    Settled(Box<Record>),
    /// With the transaction, where something was sent, or may have been.
    Failed(Refusal, Option<Signature>),
}

impl Told {
    fn into_reply(self, version: Version, network: &str) -> SettleReply {
        match self {
            Self::Settled(record) => {
                SettleReply::settled(network, &record.signature, &record.payer, record.amount.atomic())
            }
            Self::Failed(refusal, signature) => {
                SettleReply::failed(version, network, &refusal, signature.as_ref())
            }
        }
    }
}

/// When the books have held up an answer for long enough that is due by then.
fn books_by(by: Instant) -> Instant {
    by.min(Instant::now() + BOOKS_TIMEOUT)
}

fn told(answer: Answer, payer: Pubkey, has_key: bool) -> Result<Told, Undecided> {
    let failed = |reason, message: &'static str, signature| {
        Ok(Told::Failed(Refusal::new(reason, message).by(payer), signature))
    };
    match answer {
        Answer::Ended(record) => Ok(ended(record)),
        Answer::Pending { signature } => failed(
            Reason::SettlementPending,
            "the outcome is not known yet: send the same request again, or ask GET /payments/{transaction}; do not \
             pay again",
            Some(signature),
        ),
        Answer::Duplicate => failed(
            Reason::DuplicateSettlement,
            "this transaction is another payment's: it was or is being settled for other requirements",
            None,
        ),
        Answer::CapReached(Cap::Key) if !has_key => failed(
            Reason::AnonymousSponsorshipUsedUp,
            "the transaction fees that this service pays a day for callers without an API key are used up: use a key, or \
             try again after midnight UTC",
            None,
        ),
        Answer::CapReached(Cap::Key) => failed(
            Reason::KeySponsorshipUsedUp,
            "the transaction fees that this API key has paid for by this service a day are used up: try again after \
             midnight UTC",
            None,
        ),
        Answer::CapReached(Cap::Total) => failed(
            Reason::SponsorshipUsedUp,
            "the transaction fees that this service pays a day are used up: try again after midnight UTC",
            None,
        ),
        Answer::NotAdmitted(why) => Ok(Told::Failed(not_admitted(why).by(payer), None)),
        Answer::Busy => Err(Undecided::Busy),
        Answer::Refused | Answer::Unavailable => Err(Undecided::Unavailable),
    }
}

fn ended(record: Box<Record>) -> Told {
    let failed = |reason, message: String| {
        Told::Failed(Refusal::new(reason, message).by(record.payer), Some(record.signature))
    };
    match &record.state {
        SettlementState::Ended(Ending::Settled { .. }) => Told::Settled(record),
        SettlementState::Ended(Ending::Failed { slot, reason }) => failed(
            Reason::TransactionFailed,
            format!("the transaction landed in slot {slot} and failed: {reason}; no money has moved"),
        ),
        SettlementState::Ended(Ending::Expired) => failed(
            Reason::BlockHeightExceeded,
            format!(
                "the transaction did not land by block height {} and never will: it is safe to pay again",
                record.last_valid_block_height
            ),
        ),
        SettlementState::Pending => failed(
            Reason::SettlementPending,
            "the outcome is not known yet: send the same request again".to_owned(),
        ),
    }
}
