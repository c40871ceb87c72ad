//! The agent that an x402 payment is by: whether it may pay, and what is held of its limits meanwhile.
//!
//! A verify holds the amount for about as long as the transaction can land. The settle of the same message takes the
//! hold over, in the transaction that journals it; without a verify before, it holds the amount itself.

use std::{fmt::Write, sync::Arc, time::Duration};

use super::{
    Facilitator, Reason, Undecided, X402Request,
    facilitator::{Judged, Passed},
};
use crate::{
    agents::{Agent, AgentStore, DaySpending, Failure, Held, Hold, NotAdmitted, Purchase, SpendingUnit},
    api_keys::Caller,
    chain::solana::rules::Refusal,
    clock::Clock,
    ids::{AgentId, Entropy, EventId},
    payments::{settlement::MessageHash, spending},
};

/// About the life of a blockhash: what a verify has found good is settled within it, or never.
const HOLD_LIFETIME: Duration = Duration::from_secs(90);

/// Where agents are looked up and their limits held.
#[derive(Clone, Debug)]
pub struct Agents {
    pub store: Arc<dyn AgentStore>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl Facilitator {
    /// The caller's agent that pays, if one does. Registered by others, a wallet is nobody's: anybody can register any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn paying_agent(
        &self,
        passed: &Passed,
        caller: Option<&Caller>,
    ) -> Result<Option<Agent>, Undecided> {
        let Some(caller) = caller else { return Ok(None) };
        Ok(self.agents.store.find(&caller.user, &passed.payment.payer.to_string()).await?)
    }

    /// Before the chain is asked: what an agent may not pay on the best of days.
    pub(super) async fn check_agent(
        &self,
        agent: &Agent,
        request: &X402Request,
        passed: &Passed,
    ) -> Result<(), Refusal> {
        let purchase =
            Purchase { unit: self.unit(passed), amount: passed.amount, resource: request.resource() };
        let (nothing, now) = (DaySpending::default(), self.agents.clock.now());
        let admitted = spending::admit_early(&*self.agents.store, agent, &purchase, nothing, now).await;
        admitted.map_err(|why| not_admitted(why).by(passed.payment.payer))
    }

    /// Holds the amount for a while, once for each message. What it may not pay costs whichever agent has the wallet by now.
    ///
    /// # Errors
    /// When the database did not confirm it.
    pub(super) async fn hold(&self, agent: &Agent, request: &X402Request, passed: &Passed) -> Judged<()> {
        let at = self.agents.clock.now();
        let hold = Hold {
            message: passed.message.0,
            agent: agent.id.clone(),
            unit: self.unit(passed),
            amount: passed.amount,
            resource: request.resource().map(str::to_owned),
            at,
        };
        Ok(match self.agents.store.hold(&hold, at + HOLD_LIFETIME).await? {
            // One that was deleted, and not registered again, has no limits any more.
            Held::Held | Held::AgentGone => Ok(()),
            Held::NotAdmitted { agent, why } => {
                self.blame(&agent, passed.message).await;
                Err(not_admitted(why).by(passed.payment.payer))
            }
        })
    }

    fn unit(&self, passed: &Passed) -> Option<SpendingUnit> {
        self.rules.currency_of(&passed.payment.mint).map(SpendingUnit::of)
    }

    /// Of what the chain would make of the payment: that costs the agent nothing, as it may be good later.
    pub(super) fn count_refusal(&self, agent: Option<&Agent>) {
        if let Some(agent) = agent {
            self.metrics.agents.refused(agent.id.as_str());
        }
    }

    /// What it may not pay costs an agent, once for each message.
    pub(super) async fn blame(&self, agent: &AgentId, message: MessageHash) {
        self.metrics.agents.refused(agent.as_str());
        let at = self.agents.clock.now();
        let mut attempt = "x402 ".to_owned();
        for byte in message.0 {
            let _ = write!(attempt, "{byte:02x}");
        }
        let event = EventId::new(at, self.agents.entropy.as_ref());
        let failure = Failure { agent: agent.clone(), attempt, at, event };
        if let Err(error) = self.agents.store.note_failure(&failure).await {
            // The payment is refused all the same.
            tracing::warn!(error = &error as &dyn std::error::Error, "an agent's failure could not be noted");
        }
    }
}

pub(super) fn not_admitted(why: NotAdmitted) -> Refusal {
    let reason = match why {
        NotAdmitted::Service => Reason::ServiceNotAllowed,
        NotAdmitted::Overspending(_) => Reason::SpendingLimitExceeded,
    };
    Refusal::new(reason, spending::not_admitted(why).message)
}
