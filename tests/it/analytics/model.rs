//! The books as a list, to be counted by looking at every line; and a database with the same in it.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use pay402::{
    agents::{Agent, Created, SpendingUnit},
    analytics::{AgentPage, EventPage, PaymentSum, Ranking, RevenueSum, Tally, Window},
    clock::UnixMs,
    ids::{AgentId, EventId, PaymentId},
    money::{Amount, Currency},
    payments::{
        Payment, PaymentState, RecordOutcome, Source,
        settlement::{Claimed, Ending, Journal, Journalled, MessageHash},
    },
    store::Books,
};

use crate::conformance::{agents, payment, settlements, signature};

/// One payment.
#[derive(Clone, Debug)]
pub struct Line {
    pub owner: Option<&'static str>,
    pub agent: Option<AgentId>,
    pub state: PaymentState,
    pub source: Source,
    pub currency: Option<Currency>,
    pub units: u64,
    /// When it counts.
    pub at: UnixMs,
    pub event: Option<EventId>,
    /// What it is settled under.
    pub message: Option<MessageHash>,
    number: u64,
}

/// Payments with all that in common, and how many there are and what they come to.
pub type Sums = BTreeMap<(String, String, Option<Currency>), (u64, u128)>;

fn within(at: UnixMs, window: Window) -> bool {
    window.from <= at && at < window.to
}

/// Ids as the service makes them: of that time, and no other has the same.
pub fn id(at: UnixMs, number: u64) -> PaymentId {
    let lowest = PaymentId::lowest_at(at);
    PaymentId::from_stored(format!("{}{number:016}", &lowest.as_str()[..14]))
}

/// What agents have spent, the first one first: in each currency so many payments, which come to so much.
pub type Ranked = Vec<(AgentId, BTreeMap<Option<Currency>, (u64, u128)>)>;

#[derive(Debug, Default)]
pub struct Model {
    pub lines: Vec<Line>,
    /// Who makes the payments that come next.
    pub agent: Option<AgentId>,
    /// Whose agent has the wallet that the service settles from.
    wallet: Option<(String, AgentId)>,
    /// All agents, and the events that tell of them.
    registered: Vec<(Agent, EventId)>,
}

impl Model {
    fn number(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The agent of this number is the owner's. The first has the wallet that the service settles from.
    pub async fn register(&mut self, books: &Books, owner: &str, number: u8) -> Agent {
        let agent = Agent { owner: owner.to_owned(), ..agents::registered(number) };
        let event = EventId::about(agent.created_at, &[agent.id.as_str()]);
        assert_eq!(books.agents.create(&agent, &event).await.unwrap(), Created::Kept);
        self.registered.push((agent.clone(), event));
        if number == 1 {
            self.wallet = Some((agent.owner.clone(), agent.id.clone()));
        }
        agent
    }

    /// A payment is proved at `at`.
    pub async fn prove(
        &mut self,
        books: &Books,
        owner: Option<&'static str>,
        (currency, units): (Currency, u64),
        at: UnixMs,
    ) {
        let number = self.number();
        let proved = Payment {
            id: id(at, number),
            owner: owner.map(str::to_owned),
            currency,
            amount: Amount::from_atomic(units).unwrap(),
            verified_at: at,
            agent: self.agent.clone(),
            ..payment(number)
        };
        let event = Some(EventId::of_payment(&proved.id));
        assert_eq!(books.payments.record_all(&[proved]).await.unwrap(), [RecordOutcome::Recorded]);
        self.lines.push(Line {
            owner,
            agent: self.agent.clone(),
            state: PaymentState::Settled,
            source: Source::Proof,
            currency: Some(currency),
            units,
            at,
            event,
            message: None,
            number,
        });
    }

    /// The service begins to settle a payment at `at`; its place in the list.
    pub async fn begin(
        &mut self,
        books: &Books,
        owner: Option<&'static str>,
        (currency, units): (Option<Currency>, u64),
        at: UnixMs,
    ) -> usize {
        let number = self.number();
        let mut message = [0; 32];
        message[..8].copy_from_slice(&number.to_be_bytes());
        let message = MessageHash(message);
        let attempt = format!("attempt {number}");
        let claim = settlements::claim(0, &attempt);
        let claim = pay402::payments::settlement::Claim {
            message,
            at,
            lease_until: at + Duration::from_secs(15),
            ..claim
        };
        assert_eq!(books.settlements.claim(&claim).await.unwrap(), Claimed::Fresh);
        let mut entry: Journal = settlements::journal(claim, number);
        entry.payment = id(at, number);
        entry.settlement.signature = signature(2_000_000 + number);
        entry.settlement.owner = owner.map(str::to_owned);
        entry.settlement.agent = self.agent.clone();
        entry.settlement.currency = currency;
        entry.settlement.amount = Amount::from_atomic(units).unwrap();
        assert_eq!(books.settlements.journal(&entry).await.unwrap(), Journalled::Done);
        self.lines.push(Line {
            owner,
            agent: self.agent.clone(),
            state: PaymentState::Pending,
            source: Source::X402,
            currency,
            units,
            at,
            event: None,
            message: Some(message),
            number,
        });
        self.lines.len() - 1
    }

    /// What the service settles ends at `at`.
    pub async fn end(&mut self, books: &Books, place: usize, state: PaymentState, at: UnixMs) {
        let line = &mut self.lines[place];
        let ending = match state {
            PaymentState::Settled => Ending::Settled { slot: 7 },
            PaymentState::Failed => Ending::Failed { slot: 7, reason: "no funds".to_owned() },
            PaymentState::Expired => Ending::Expired,
            PaymentState::Pending => unreachable!("that is no end"),
        };
        let finished = books.settlements.finish(&line.message.unwrap(), &ending, at).await.unwrap();
        assert!(finished.unwrap().first);
        line.event = Some(EventId::of_ending(&id(line.at, line.number), at));
        (line.state, line.at) = (state, at);
    }

    /// What nobody has asked for with a key finds its owner.
    pub async fn adopt(&mut self, books: &Books, place: usize, owner: &'static str) {
        let line = &mut self.lines[place];
        let terms = settlements::claim(0, "").terms;
        assert!(books.settlements.adopt(&line.message.unwrap(), &terms, owner).await.unwrap());
        line.owner = Some(owner);
        line.agent = self.wallet.clone().filter(|(of, _)| of == owner).map(|(_, agent)| agent);
    }

    /// What the service settles for nobody.
    pub fn unowned(&self) -> Vec<usize> {
        let lines = self.lines.iter().enumerate();
        let unowned = lines.filter(|(_, line)| line.owner.is_none() && line.message.is_some());
        unowned.map(|(place, _)| place).collect()
    }

    pub fn pending(&self) -> Vec<usize> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| line.state == PaymentState::Pending).map(|(place, _)| place).collect()
    }

    fn own<'a>(&'a self, owner: &'a str, window: Window) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.owner == Some(owner) && within(line.at, window))
    }

    pub fn payments(&self, owner: &str, window: Window) -> Sums {
        let mut sums = Sums::new();
        for line in self.own(owner, window) {
            let sum = sums.entry(key(line.state, line.source, line.currency)).or_default();
            sum.0 += 1;
            sum.1 += line.currency.map_or(0, |_| u128::from(line.units));
        }
        sums
    }

    pub fn revenue(
        &self,
        owner: &str,
        span_ms: i64,
        window: Window,
    ) -> BTreeMap<(i64, Option<Currency>), (u64, u128)> {
        let mut sums = BTreeMap::new();
        for line in self.own(owner, window).filter(|line| line.state == PaymentState::Settled) {
            let start = line.at.0 - line.at.0.rem_euclid(span_ms);
            let sum: &mut (u64, u128) = sums.entry((start, line.currency)).or_default();
            sum.0 += 1;
            sum.1 += line.currency.map_or(0, |_| u128::from(line.units));
        }
        sums
    }

    /// All of the owner's agents that spent anything.
    pub fn agents(&self, owner: &str, window: Window, ranking: Ranking) -> Ranked {
        let mut spent = BTreeMap::<AgentId, BTreeMap<_, (u64, u128)>>::new();
        for line in self.own(owner, window).filter(|line| line.state == PaymentState::Settled) {
            let Some(agent) = line.agent.clone() else { continue };
            let sum = spent.entry(agent).or_default().entry(line.currency).or_default();
            sum.0 += 1;
            sum.1 += line.currency.map_or(0, |_| u128::from(line.units));
        }
        let counts = |currency: Currency| match ranking {
            Ranking::Stablecoins => SpendingUnit::of(currency) == SpendingUnit::Stable,
            Ranking::Transactions => false,
            one => one.as_str() == currency.as_str(),
        };
        let mut ranked: Ranked = spent.into_iter().collect();
        ranked.sort_by_cached_key(|(agent, spent)| {
            let counted = spent.iter().filter(|(currency, _)| currency.is_some_and(counts));
            let amount: u128 = counted.map(|(_, sum)| sum.1).sum();
            let payments: u64 = spent.values().map(|sum| sum.0).sum();
            (Reverse(amount), Reverse(payments), agent.clone())
        });
        ranked
    }

    /// Ids and types of the events of that time, newest first.
    pub fn events(&self, owner: &str, window: Window) -> Vec<(String, String)> {
        let event = |line: &Line| {
            let kind = match (line.source, line.state) {
                (Source::Proof, _) => "payment.verified",
                (_, PaymentState::Settled) => "payment.settled",
                (_, PaymentState::Failed) => "payment.failed",
                (_, PaymentState::Expired) => "payment.expired",
                (_, PaymentState::Pending) => return None,
            };
            Some((line.event.as_ref()?.to_string(), kind.to_owned()))
        };
        let mut events: Vec<_> = self.own(owner, window).filter_map(event).collect();
        let registered = self.registered.iter();
        let registered =
            registered.filter(|(agent, _)| agent.owner == owner && within(agent.created_at, window));
        events.extend(registered.map(|(_, event)| (event.to_string(), "agent.created".to_owned())));
        events.sort();
        events.reverse();
        events
    }
}

fn key(
    state: PaymentState,
    source: Source,
    currency: Option<Currency>,
) -> (String, String, Option<Currency>) {
    (format!("{state:?}"), format!("{source:?}"), currency)
}

pub fn plain(tally: Tally) -> (u64, u128) {
    (tally.payments, tally.amount.atomic())
}

/// The store's answer in the model's form. No two sums are of the same.
pub fn sums(found: &[PaymentSum]) -> Sums {
    let sums: Sums =
        found.iter().map(|sum| (key(sum.state, sum.source, sum.currency), plain(sum.tally))).collect();
    assert_eq!(sums.len(), found.len(), "{found:?}");
    sums
}

pub fn revenue(found: &[RevenueSum]) -> BTreeMap<(i64, Option<Currency>), (u64, u128)> {
    let sums: BTreeMap<_, _> =
        found.iter().map(|sum| ((sum.start.0, sum.currency), plain(sum.tally))).collect();
    assert_eq!(sums.len(), found.len(), "{found:?}");
    sums
}

pub fn events(found: &EventPage) -> Vec<(String, String)> {
    found.events.iter().map(|event| (event.id.to_string(), event.kind.clone())).collect()
}

/// The store's page in the model's form. No agent is in it twice, and none has a currency twice.
pub fn ranked(found: &AgentPage) -> Ranked {
    let spent = |agent: &pay402::analytics::TopAgent| {
        let spent: BTreeMap<_, _> =
            agent.spent.iter().map(|spent| (spent.currency, plain(spent.tally))).collect();
        assert_eq!(spent.len(), agent.spent.len(), "{found:?}");
        spent
    };
    found.agents.iter().map(|agent| (agent.id.clone(), spent(agent))).collect()
}
