//! The agent that a proof is by: who it is, and what a bad proof costs it.

use super::{PaymentProof, verify::ProofVerifier};
use crate::{
    agents::{Agent, Failure},
    api_keys::Caller,
    ids::{AgentId, EventId},
    payments::{Payment, Refusal, RefusalCode},
    store_error::StoreError,
};

/// A refused proof, and the agent whose it is, where it is known and is to answer for it.
#[derive(Debug)]
pub(super) struct Denied {
    pub refusal: Refusal,
    pub agent: Option<AgentId>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, agent: None }
    }
}

/// Whether a refusal tells against the agent: what it paid was wrong, or more than it may. What is stale or used may be
/// somebody else sending again what the agent has sent before.
const fn is_failure(code: RefusalCode) -> bool {
    match code {
        RefusalCode::InvalidPayment
        | RefusalCode::InsufficientAmount
        | RefusalCode::TransactionFailed
        | RefusalCode::AmountMismatch
        | RefusalCode::RecipientMismatch
        | RefusalCode::CurrencyMismatch
        | RefusalCode::SpendingLimitExceeded
        | RefusalCode::ServiceNotAllowed => true,
        RefusalCode::PaymentExpired
        | RefusalCode::InvalidSignature
        | RefusalCode::NonceMismatch
        | RefusalCode::SubscriptionNotFound
        | RefusalCode::SubscriptionInactive
        | RefusalCode::SubscriptionAlreadyPaid
        | RefusalCode::AgentNotFound
        | RefusalCode::ReplayAttack => false,
    }
}

impl ProofVerifier {
    /// The agent that pays: `registered`, with the payer's wallet, which the proof may name.
    pub(super) async fn paying_agent(
        &self,
        proof: &PaymentProof,
        registered: Option<&Agent>,
        caller: Option<&Caller>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let Some(name) = &proof.agent_id else { return Ok(Ok(())) };
        if registered.is_some_and(|agent| agent.id.as_str() == name || agent.public_key.to_string() == *name)
        {
            return Ok(Ok(()));
        }
        let named = match caller {
            Some(caller) => self.agents.find(&caller.user, name).await?,
            None => None,
        };
        Ok(Err(match named {
            Some(agent) => Refusal::new(
                RefusalCode::InvalidPayment,
                format!("the agent pays from {}, the proof is by {}", agent.public_key, proof.payer),
            ),
            None => agent_not_found(),
        }))
    }

    /// The owner's agent with the payer's wallet now.
    pub(super) async fn agent_of(&self, payment: &Payment) -> Result<Option<AgentId>, StoreError> {
        let Some(owner) = &payment.owner else { return Ok(None) };
        let found = self.agents.find(owner, &payment.payer.to_string()).await?;
        Ok(found.map(|agent| agent.id))
    }

    /// A bad proof costs its agent, once for each nonce that it signed: the signature covers nothing else, so that whoever
    /// has seen it can make further bad proofs of it.
    pub(super) async fn blame(&self, proof: &PaymentProof, denied: &Denied) {
        let Some(agent) = denied.agent.as_ref().filter(|_| is_failure(denied.refusal.code)) else { return };
        let at = self.clock.now();
        let failure = Failure {
            agent: agent.clone(),
            attempt: format!("proof {}", proof.nonce),
            at,
            event: EventId::new(at, self.entropy.as_ref()),
        };
        if let Err(error) = self.agents.note_failure(&failure).await {
            // The proof is refused all the same.
            tracing::warn!(error = &error as &dyn std::error::Error, "an agent's failure could not be noted");
        }
    }
}

pub(super) fn agent_not_found() -> Refusal {
    Refusal::new(
        RefusalCode::AgentNotFound,
        "no such agent is registered: register it with the key that you verify with",
    )
}
