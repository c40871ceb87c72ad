//! Everything in flight, looked after together: sent again, asked about in batches, ended, its leases kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use solana_signature::Signature;

use super::{Effect, Now, RequestNumber, StatusRound, schedule::Round};
use crate::{
    chain::settlement::{Finality, Findings, SignatureStatus},
    clock::UnixMs,
    payments::settlement::{Answer, Ending, InFlight, MessageHash, Policy, Step, TermsHash},
};

/// For how long a final block is believed in though nobody tells of a later one: somebody may have made it up.
const FINALITY_LIFETIME: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Flight {
    state: InFlight,
    /// Since when it is in flight here.
    since: Duration,
    /// Whether it cannot land any more, as far as is known.
    dead: bool,
    waiters: Vec<RequestNumber>,
    send_at: Duration,
    /// Whether a send is under way.
    sending: bool,
    renew_at: Duration,
    /// What the chain has said.
    ending: Option<Ending>,
    /// When that is next to be written down.
    finish_at: Duration,
    /// Whether it is being written down.
    finishing: bool,
}

#[derive(Debug, Default)]
pub(super) struct Flights {
    all: BTreeMap<MessageHash, Flight>,
    by_signature: HashMap<Signature, MessageHash>,
    hinted: BTreeSet<MessageHash>,
    /// The last final block that was heard of, and when it was asked for.
    finality: Option<(Finality, Now)>,
    /// When the last final block was asked for, the last time.
    finality_asked_at: Option<Now>,
    recent: Round,
    hints: Round,
    history: Round,
    final_block: Round,
    leases: Round,
    left_behind: Round,
    stale_claims: Round,
}

impl Flight {
    /// Whether it has been in flight for so long that its blockhash may be dead: by the wall's clock, after it was watched
    /// here for a while, as the one who journalled it may have gone by another; or by this instance's own, where the
    /// wall's was set back.
    fn has_lived(&self, policy: &Policy, at: Now) -> bool {
        let watched = at.steady.saturating_sub(self.since);
        let is_old = at.wall >= self.state.journalled_at + policy.least_life;
        is_old && watched >= policy.least_watch || watched >= policy.least_life
    }

    /// How long ago it was journalled, at most: by the wall's clock, or for as long as it is in flight here, where the wall's
    /// was set back.
    fn age(&self, now: Now) -> Duration {
        let millis = now.wall.0.saturating_sub(self.state.journalled_at.0);
        let age = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        age.max(now.steady.saturating_sub(self.since))
    }

    /// Whether the chain would know it, had it landed: histories reach back to `since`, as far as is known.
    fn would_be_known(&self, since: Option<UnixMs>) -> bool {
        since.is_some_and(|since| since <= self.state.journalled_at)
    }
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn messages(&self) -> Vec<MessageHash> {
        self.all.keys().copied().collect()
    }

    pub(super) fn add(&mut self, state: InFlight, waiter: Option<RequestNumber>, policy: &Policy, now: Now) {
        self.by_signature.insert(state.signature, state.message);
        let flight = self.all.entry(state.message).or_insert_with(|| Flight {
            state,
            since: now.steady,
            dead: false,
            waiters: Vec::new(),
            send_at: now.steady,
            sending: false,
            renew_at: now.steady,
            ending: None,
            finish_at: now.steady,
            finishing: false,
        });
        flight.renew_at = now.steady + policy.lease / 3;
        flight.waiters.extend(waiter);
    }

    /// Notes that a request waits for what is in flight; whether it is.
    pub(super) fn wait(&mut self, message: &MessageHash, number: RequestNumber) -> bool {
        let flight = self.all.get_mut(message);
        flight.map(|flight| flight.waiters.push(number)).is_some()
    }

    /// What a request for a message that is in flight here can be told without the database.
    pub(super) fn known(&self, message: &MessageHash, terms: &TermsHash) -> Option<Answer> {
        let InFlight { terms: of, signature, .. } = self.all.get(message)?.state;
        Some(if of == *terms { Answer::Pending { signature } } else { Answer::Duplicate })
    }

    /// Who waited for it.
    pub(super) fn remove(&mut self, message: &MessageHash) -> Vec<RequestNumber> {
        self.hinted.remove(message);
        let Some(flight) = self.all.remove(message) else { return Vec::new() };
        self.by_signature.remove(&flight.state.signature);
        flight.waiters
    }

    pub(super) fn hint(&mut self, signature: &Signature) {
        self.hinted.extend(self.by_signature.get(signature));
    }

    pub(super) fn sent(&mut self, message: &MessageHash, policy: &Policy, now: Now) {
        if let Some(flight) = self.all.get_mut(message) {
            flight.sending = false;
            flight.send_at = now.steady + policy.send_every;
        }
    }

    pub(super) fn finality(&mut self, finality: Option<Finality>, policy: &Policy, now: Now) {
        self.final_block.next_at = now.steady + policy.finality_every;
        // An endpoint that lags says less than is known.
        let is_news = |finality: &Finality| {
            self.finality.is_none_or(|(known, asked_at)| {
                finality.block_height >= known.block_height
                    || now.steady >= asked_at.steady + FINALITY_LIFETIME
            })
        };
        if let Some(finality) = finality.filter(is_news) {
            self.finality = Some((finality, self.finality_asked_at.unwrap_or(now)));
        }
    }

    pub(super) fn statuses(
        &mut self,
        round: StatusRound,
        asked: &[(MessageHash, Signature)],
        found: Option<Findings>,
        policy: &Policy,
        now: Now,
    ) {
        let (schedule, pause) = match round {
            StatusRound::Recent => (&mut self.recent, policy.poll_every),
            StatusRound::Hinted => (&mut self.hints, policy.poll_every),
            StatusRound::History(..) => (&mut self.history, policy.history_every),
        };
        let pause = if found.is_some() { pause } else { policy.retry_after.max(pause) };
        let goes_on = schedule.after.is_some() && found.is_some() || round == StatusRound::Hinted;
        schedule.next_at = if goes_on { now.steady } else { now.steady + pause };
        let Some(Findings { statuses, since }) = found else { return };
        for ((message, _), status) in asked.iter().zip(statuses) {
            self.observe(round, message, status.as_ref(), since, policy, now);
        }
    }

    fn observe(
        &mut self,
        round: StatusRound,
        message: &MessageHash,
        status: Option<&SignatureStatus>,
        since: Option<UnixMs>,
        policy: &Policy,
        now: Now,
    ) {
        let Some(flight) = self.all.get_mut(message) else { return };
        if flight.ending.is_some() {
            return;
        }
        let step = match (status, round) {
            (Some(status), _) => flight.state.clone().found(status, policy.bar),
            (None, StatusRound::History(finality, _)) if flight.dead && flight.would_be_known(since) => {
                flight.state.clone().not_found(finality)
            }
            // Not in the recent past that one node has at hand, or not in a history that is too short: that says nothing.
            (None, _) => return,
        };
        if let Step::Ended(ending) = step {
            flight.ending = Some(ending);
            flight.finish_at = now.steady;
        }
    }

    pub(super) fn finish_again(&mut self, message: &MessageHash, policy: &Policy, now: Now) {
        if let Some(flight) = self.all.get_mut(message) {
            flight.finishing = false;
            flight.finish_at = now.steady + policy.retry_after;
        }
    }

    /// Notes which leases are kept; which settlements are lost to another instance.
    pub(super) fn renewed(
        &mut self,
        asked: &[MessageHash],
        held: Option<Vec<MessageHash>>,
        policy: &Policy,
        now: Now,
    ) -> Vec<MessageHash> {
        // After a full batch there may be more, which do not keep.
        let goes_on = held.is_some() && asked.len() >= policy.renew_batch;
        self.leases.next_at = if goes_on { now.steady } else { now.steady + policy.retry_after };
        let Some(held) = held.map(BTreeSet::from_iter) else { return Vec::new() };
        for message in &held {
            if let Some(flight) = self.all.get_mut(message) {
                flight.renew_at = now.steady + policy.lease / 3;
            }
        }
        asked.iter().filter(|message| !held.contains(message)).copied().collect()
    }

    pub(super) fn taken_over(
        &mut self,
        taken: Option<Vec<InFlight>>,
        policy: &Policy,
        now: Now,
    ) -> Vec<InFlight> {
        let full = taken.as_ref().is_some_and(|taken| taken.len() >= policy.take_over_batch);
        let pause = if full { Duration::ZERO } else { policy.take_over_every };
        self.left_behind.next_at = now.steady + pause;
        taken.unwrap_or_default()
    }

    pub(super) fn forgot(&mut self, policy: &Policy, now: Now) {
        self.stale_claims.next_at = now.steady + policy.take_over_every;
    }

    /// What is due. A question is open until its answer comes, or until nobody expects it any more.
    pub(super) fn due(&mut self, policy: &Policy, draining: bool, now: Now, effects: &mut Vec<Effect>) {
        let given_up_at = now.steady + policy.effect_patience;
        self.mark_dead(policy);
        self.sends_due(policy, now, effects);
        self.endings_due(policy, now, effects);
        if !self.all.is_empty() {
            self.statuses_due(policy, given_up_at, now, effects);
            self.leases_due(policy, given_up_at, now, effects);
            if self.final_block.is_due(now) {
                self.final_block.next_at = given_up_at;
                self.finality_asked_at = Some(now);
                effects.push(Effect::Finality);
            }
        }
        if draining {
            return;
        }
        let room = policy.max_in_flight.saturating_sub(self.all.len()).min(policy.take_over_batch);
        if self.left_behind.is_due(now) && room > 0 {
            self.left_behind.next_at = given_up_at;
            effects.push(Effect::TakeOver { limit: u32::try_from(room).unwrap_or(0) });
        }
        if self.stale_claims.is_due(now) {
            self.stale_claims.next_at = given_up_at;
            effects.push(Effect::ForgetClaims);
        }
    }

    /// By a final block that was asked for late enough: where the last valid height is wrong, an earlier one need not be
    /// past everything that the settlement can be in.
    fn mark_dead(&mut self, policy: &Policy) {
        for flight in self.all.values_mut() {
            flight.dead = self.finality.is_some_and(|(finality, asked_at)| {
                flight.state.is_dead(finality) && flight.has_lived(policy, asked_at)
            });
        }
    }

    /// Sends what was not sent for a while, unless it cannot land any more.
    fn sends_due(&mut self, policy: &Policy, now: Now, effects: &mut Vec<Effect>) {
        let under_way = self.all.values().filter(|flight| flight.sending && flight.send_at > now.steady);
        let room = policy.max_sends.saturating_sub(under_way.count());
        let due = self
            .all
            .values_mut()
            .filter(|flight| flight.send_at <= now.steady && flight.ending.is_none() && !flight.dead);
        for flight in longest_due(due, |flight| flight.send_at, room) {
            flight.sending = true;
            flight.send_at = now.steady + policy.effect_patience;
            effects.push(Effect::Send(flight.state.message, flight.state.transaction.clone()));
        }
    }

    fn endings_due(&mut self, policy: &Policy, now: Now, effects: &mut Vec<Effect>) {
        let under_way = self.all.values().filter(|flight| flight.finishing && flight.finish_at > now.steady);
        let room = policy.max_finishes.saturating_sub(under_way.count());
        let due =
            self.all.values_mut().filter(|flight| flight.ending.is_some() && flight.finish_at <= now.steady);
        for flight in longest_due(due, |flight| flight.finish_at, room) {
            flight.finishing = true;
            flight.finish_at = now.steady + policy.effect_patience;
            let finish = |ending: &Ending| Effect::Finish(flight.state.message, ending.clone());
            effects.extend(flight.ending.as_ref().map(finish));
        }
    }

    fn statuses_due(&mut self, policy: &Policy, given_up_at: Duration, now: Now, effects: &mut Vec<Effect>) {
        if self.hints.is_due(now) && !self.hinted.is_empty() {
            let hinted: Vec<MessageHash> = self.hinted.iter().take(policy.status_batch).copied().collect();
            self.hinted.retain(|message| !hinted.contains(message));
            let asked = hinted.iter().filter_map(|message| {
                let flight = self.all.get(message)?;
                Some((*message, flight.state.signature))
            });
            effects.push(Effect::Statuses(StatusRound::Hinted, asked.collect()));
            self.hints.next_at = given_up_at;
        }
        if self.recent.is_due(now) {
            let asked = next_batch(&self.all, &mut self.recent, policy.status_batch, |_| true);
            if asked.is_empty() {
                self.recent.next_at = now.steady + policy.poll_every;
            } else {
                self.recent.next_at = given_up_at;
                effects.push(Effect::Statuses(StatusRound::Recent, asked));
            }
        }
        if let Some((finality, _)) = self.finality
            && self.history.is_due(now)
        {
            let asked = next_batch(&self.all, &mut self.history, policy.status_batch, |flight| flight.dead);
            if !asked.is_empty() {
                self.history.next_at = given_up_at;
                let ages = asked.iter().filter_map(|(message, _)| Some(self.all.get(message)?.age(now)));
                let age = ages.max().unwrap_or_default();
                effects.push(Effect::Statuses(StatusRound::History(finality, age), asked));
            }
        }
    }

    fn leases_due(&mut self, policy: &Policy, given_up_at: Duration, now: Now, effects: &mut Vec<Effect>) {
        if !self.leases.is_due(now) {
            return;
        }
        let due = self.all.values_mut().filter(|flight| flight.renew_at <= now.steady);
        let due = longest_due(due, |flight| flight.renew_at, policy.renew_batch);
        let due: Vec<MessageHash> = due.map(|flight| flight.state.message).collect();
        if !due.is_empty() {
            self.leases.next_at = given_up_at;
            effects.push(Effect::Renew(due));
        }
    }

    /// When the next thing is due.
    pub(super) fn wake_at(&self, draining: bool) -> Duration {
        let mut wake_at = self.left_behind.next_at.min(self.stale_claims.next_at);
        if draining {
            wake_at = Duration::MAX;
        }
        if self.all.is_empty() {
            return wake_at;
        }
        for round in [&self.recent, &self.final_block] {
            wake_at = wake_at.min(round.next_at);
        }
        for flight in self.all.values() {
            wake_at = wake_at.min(flight.renew_at.max(self.leases.next_at));
            if flight.ending.is_some() {
                wake_at = wake_at.min(flight.finish_at);
            } else if !flight.dead {
                wake_at = wake_at.min(flight.send_at);
            }
        }
        wake_at
    }
}

/// Those that have been due for longest, so many at most: in any other order some would never have their turn.
fn longest_due<'a>(
    due: impl Iterator<Item = &'a mut Flight>,
    at: impl Fn(&Flight) -> Duration,
    room: usize,
) -> impl Iterator<Item = &'a mut Flight> {
    let mut due: Vec<&mut Flight> = due.collect();
    if (1..due.len()).contains(&room) {
        due.sort_by_key(|flight| at(flight));
    }
    due.into_iter().take(room)
}

/// The next settlements of a round that are to be asked about, and where the one after goes on.
fn next_batch(
    flights: &BTreeMap<MessageHash, Flight>,
    round: &mut Round,
    size: usize,
    wanted: impl Fn(&Flight) -> bool,
) -> Vec<(MessageHash, Signature)> {
    use std::ops::Bound::{Excluded, Unbounded};
    let from = round.after.take().map_or(Unbounded, Excluded);
    let unknown = |(_, flight): &(&MessageHash, &Flight)| flight.ending.is_none() && wanted(flight);
    let batch: Vec<_> = flights
        .range((from, Unbounded))
        .filter(unknown)
        .take(size)
        .map(|(message, flight)| (*message, flight.state.signature))
        .collect();
    if batch.len() == size {
        round.after = batch.last().map(|(message, _)| *message);
    }
    batch
}
