//! The engine of one instance: every decision about settlements, and no effect.

mod effect;
mod flights;
mod requests;
mod schedule;

use std::{collections::BTreeMap, time::Duration};

pub use effect::{Effect, Event, RequestNumber, StatusRound, Trouble};
pub use schedule::Now;

use super::{MessageHash, Policy};
use flights::Flights;
use requests::Request;

/// See the module above. What it forgets when its process dies is in the database.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    /// This process. Another start is another holder.
    holder: String,
    attempts: u64,
    requests: BTreeMap<RequestNumber, Request>,
    flights: Flights,
    draining: bool,
}

impl Engine {
    /// `holder` is a name that no other instance has, and none before this start.
    #[must_use]
    pub fn new(policy: Policy, holder: String) -> Self {
        let flights = Flights::default();
        Self { policy, holder, attempts: 0, requests: BTreeMap::new(), flights, draining: false }
    }

    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes note of what has happened, and says what to do about it.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.apply(event, now, &mut effects);
        self.requests_due(now, &mut effects);
        self.flights.due(&self.policy, self.draining, now, &mut effects);
        effects
    }

    fn apply(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Settle(number, message, terms) => self.settle(number, message, terms, now, effects),
            Event::Claimed(number, claim, claimed) => self.claimed(number, claim, claimed, now, effects),
            Event::Prepared(number, prepared) => self.prepared(number, prepared, effects),
            Event::LastValid(number, height) => self.dated(number, height, now, effects),
            Event::Journalled(number, journal, outcome) => {
                self.journalled(number, journal, outcome, now, effects);
            }
            Event::Abandoned(number, held) => self.abandoned(number, held, now, effects),
            Event::Hint(signature) => self.flights.hint(&signature),
            Event::Sent(message) => self.flights.sent(&message, &self.policy, now),
            Event::Statuses(round, asked, statuses) => {
                self.flights.statuses(round, &asked, statuses.ok(), &self.policy, now);
            }
            Event::Finality(finality) => self.flights.finality(finality.ok(), &self.policy, now),
            Event::Finished(message, finished) => self.finished(&message, finished, now, effects),
            Event::Renewed(asked, held) => self.renewed(&asked, held, now),
            Event::TakenOver(taken) => {
                for in_flight in self.flights.taken_over(taken.ok(), &self.policy, now) {
                    self.flights.add(in_flight, None, &self.policy, now);
                }
            }
            Event::Forgot => self.flights.forgot(&self.policy, now),
        }
    }

    /// When something is to be done though nothing has happened.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let requests = self.requests.values().map(Request::wake_at);
        requests.chain([self.flights.wake_at(self.draining)]).min().unwrap_or(Duration::MAX)
    }

    /// From here on nothing new is begun.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Answers everybody who still waits: the process is about to end, and nothing is waited for any more.
    pub fn end(&mut self) -> Vec<Effect> {
        self.drain();
        let mut effects = Vec::new();
        let waiting: Vec<RequestNumber> = self.requests.keys().copied().collect();
        for number in waiting {
            self.give_up(number, &mut effects);
        }
        effects
    }

    /// Whether everything it began is done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.flights.len() == 0
    }

    /// How many settlements are in flight here.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    /// What it has in flight: to be given up when the process ends before it is done.
    #[must_use]
    pub fn in_flight(&self) -> Vec<MessageHash> {
        self.flights.messages()
    }
}
