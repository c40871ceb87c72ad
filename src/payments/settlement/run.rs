//! Doing what the engine says, one effect at a time.

use std::{fmt::Debug, sync::Arc, time::Duration};

use solana_signature::Signature;
use tokio::time::timeout;

use super::{
    Ending, Finished, InFlight, MessageHash, Policy, SettlementStore, StatusRound, Trouble,
    engine::{Effect, Event},
};
use crate::{
    chain::settlement::{Search, SettlementChain},
    clock::{Clock, UnixMs},
    metrics::Metrics,
    store_error::StoreError,
};

/// How long an effect may take. What has not ended by then may have taken place.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How many lapsed claims are removed at once.
const FORGET_BATCH: u32 = 256;

#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub holder: String,
    pub policy: Policy,
    pub store: Arc<dyn SettlementStore>,
    pub chain: Arc<dyn SettlementChain>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

impl Runner {
    /// What came of an effect. `None` for those that are for the caller.
    pub(super) async fn run(&self, effect: Effect) -> Option<Event> {
        let store = self.store.as_ref();
        Some(match effect {
            Effect::Prepare(_) | Effect::Answer(..) => return None,
            Effect::Claim(number, claim) => {
                let claimed = stored("claim", store.claim(&claim)).await;
                Event::Claimed(number, claim, claimed)
            }
            Effect::LastValid(number) => {
                let height = asked("last valid block height", self.chain.last_valid_block_height()).await;
                Event::LastValid(number, height)
            }
            Effect::Journal(number, journal) => {
                let outcome = stored("journal", store.journal(&journal)).await;
                Event::Journalled(number, journal, outcome)
            }
            Effect::Abandon(number, claim) => {
                // Where it was not reached, its lease runs out.
                Event::Abandoned(number, stored("abandon", store.abandon(&claim)).await)
            }
            Effect::Send(message, transaction) => {
                // Whatever it returns, the transaction may land.
                let _ = asked("send", self.chain.send(&transaction)).await;
                Event::Sent(message)
            }
            Effect::Statuses(round, asked) => self.statuses(round, asked).await,
            Effect::Finality => Event::Finality(asked("finality", self.chain.finality()).await),
            Effect::Finish(message, ending) => {
                let finished = stored("finish", store.finish(&message, &ending, self.clock.now())).await;
                self.count(&finished);
                Event::Finished(message, finished)
            }
            Effect::Renew(messages) => {
                let held = self.lease(&messages, self.clock.now() + self.policy.lease).await;
                Event::Renewed(messages, held)
            }
            Effect::TakeOver { limit } => Event::TakenOver(self.take_over(limit).await),
            Effect::ForgetClaims => {
                let _ = stored("forget", store.forget_claims(self.clock.now(), FORGET_BATCH)).await;
                Event::Forgot
            }
        })
    }

    /// Keeps leases until then; which of them this instance still has.
    async fn lease(&self, messages: &[MessageHash], until: UnixMs) -> Result<Vec<MessageHash>, Trouble> {
        stored("renew", self.store.renew(&self.holder, messages, until)).await
    }

    /// Ends the leases of what is not finished, so that another instance need not wait for that.
    pub(super) async fn hand_over(&self, left: &[MessageHash]) {
        for batch in left.chunks(self.policy.renew_batch) {
            let _ = self.lease(batch, self.clock.now()).await;
        }
        if !left.is_empty() {
            tracing::info!(settlements = left.len(), "left settlements to other instances");
        }
        self.metrics.settlements.in_flight(0);
    }

    async fn statuses(&self, round: StatusRound, of: Vec<(MessageHash, Signature)>) -> Event {
        let signatures: Vec<Signature> = of.iter().map(|(_, signature)| *signature).collect();
        let search = match round {
            StatusRound::Recent | StatusRound::Hinted => Search::Recent,
            StatusRound::History(finality, age) => Search::History { seen: finality.slot, age },
        };
        let statuses = asked("statuses", self.chain.statuses(&signatures, search)).await;
        // An answer of another length is no answer to this question.
        let statuses = statuses.and_then(|found| {
            if found.statuses.len() == of.len() { Ok(found) } else { Err(Trouble::Unavailable) }
        });
        Event::Statuses(round, of, statuses)
    }

    async fn take_over(&self, limit: u32) -> Result<Vec<InFlight>, Trouble> {
        let now = self.clock.now();
        let taken =
            stored("take over", self.store.take_over(&self.holder, now, now + self.policy.lease, limit))
                .await?;
        if !taken.is_empty() {
            tracing::info!(settlements = taken.len(), "going on with settlements that were left behind");
        }
        Ok(taken)
    }

    /// Each settlement once, by who ended it.
    fn count(&self, finished: &Result<Option<Finished>, Trouble>) {
        let Ok(Some(finished)) = finished else { return };
        let Finished { record, first: true, reserved_lamports, agent, currency } = finished else { return };
        let super::SettlementState::Ended(ending) = &record.state else { return };
        let elapsed = self.clock.now().0.saturating_sub(record.journalled_at.0);
        let elapsed = Duration::from_millis(u64::try_from(elapsed).unwrap_or(0));
        self.metrics.settlements.ended(ending.as_str(), elapsed);
        match (ending, agent) {
            (Ending::Settled { .. }, Some(agent)) => {
                let paid = currency.map(|currency| (record.amount, currency));
                self.metrics.agents.paid(agent.as_str(), paid);
            }
            (Ending::Failed { .. }, Some(agent)) => self.metrics.agents.refused(agent.as_str()),
            // Neither accepted nor refused, as far as anybody knows.
            (Ending::Expired, _) | (_, None) => {}
        }
        if ending.landed() {
            self.metrics.settlements.sponsored(*reserved_lamports);
        }
        if let Ending::Failed { reason, .. } = ending {
            tracing::warn!(signature = %record.signature, reason, "a settlement failed on chain");
        }
    }
}

async fn stored<T>(what: &str, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Trouble> {
    match timeout(EFFECT_TIMEOUT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::warn!(
                what,
                error = &error as &dyn std::error::Error,
                "a settlement's database call failed"
            );
            Err(if error.is_unknown() { Trouble::Unknown } else { Trouble::Unavailable })
        }
        Err(_) => {
            tracing::warn!(what, "a settlement's database call does not end");
            Err(Trouble::Unknown)
        }
    }
}

async fn asked<T, E: std::error::Error + Debug + 'static>(
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Trouble> {
    match timeout(EFFECT_TIMEOUT, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(what, error = &error as &dyn std::error::Error, "the chain did not answer");
            Err(Trouble::Unavailable)
        }
        Err(_) => {
            tracing::warn!(what, "the chain does not answer in time");
            Err(Trouble::Unavailable)
        }
    }
}
