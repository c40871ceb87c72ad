//! Several engines over one store and one chain, and clients that ask them. One seed decides who comes next, what is lost,
//! late or untrue, and who dies. Every answer is held against the chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pay402::{
    chain::assets::Network,
    clock::UnixMs,
    ids::PaymentId,
    money::{Amount, Currency},
    payments::settlement::{
        Answer, Caps, Effect, Ending, Engine, Event, InFlight, MessageHash, NewSettlement, Now, Policy,
        RequestNumber, SettlementState, StatusRound, TermsHash, Trouble,
    },
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{
    chain::{SimChain, Transaction},
    model::Model,
    random::Random,
};

pub const SLOT_MS: u64 = 400;
/// Within this any blockhash of this chain is dead, and what it brought is final.
const LONGEST_LIFE: Duration = Duration::from_secs(40);
/// Some midnight, less a minute: days change under way.
const START_MS: i64 = 1_790_035_200_000 - 60_000;

#[derive(Debug)]
pub struct Instance {
    number: u64,
    pub engine: Engine,
    outstanding: Vec<Effect>,
    results: Vec<Event>,
    born_ms: u64,
    /// What its wall clock is wrong by.
    skew_ms: i64,
    /// Until then nothing happens in it.
    stalled_until_ms: u64,
    next_request: u64,
}

#[derive(Debug)]
pub struct Payment {
    pub message: MessageHash,
    pub transaction: Transaction,
    pub settlement: NewSettlement,
}

#[derive(Debug)]
struct Request {
    payment: usize,
    terms: TermsHash,
    due_ms: u64,
    attempts: BTreeSet<String>,
    refused: bool,
}

/// What has been seen to happen, so that a test can tell that it looked where it matters.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub settled: u64,
    pub failed: u64,
    pub expired: u64,
    pub settled_in_last_block: u64,
    pub taken_over: u64,
    pub lost_commits: u64,
    pub duplicates: u64,
    pub pending: u64,
    pub caps: u64,
    pub crashes: u64,
    pub lost_leases: u64,
    pub repeated: u64,
}

pub struct World {
    pub random: Random,
    pub seen: Seen,
    pub chain: SimChain,
    pub model: Model,
    pub policy: Policy,
    pub payments: Vec<Payment>,
    calm: bool,
    trace: bool,
    now_ms: u64,
    instances: Vec<Instance>,
    born: u64,
    /// Effects whose process is dead or has given up on them, and which take place all the same, later.
    ghosts: Vec<Effect>,
    requests: BTreeMap<(u64, RequestNumber), Request>,
    /// What clients were told in the end.
    told: BTreeMap<MessageHash, (TermsHash, Ending)>,
    /// Attempts of requests that were told that nothing was sent.
    disowned: BTreeSet<String>,
}

/// What becomes of a call to the store.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    Unavailable,
    DoneButUnknown,
    NotDoneUnknown,
    DoneLaterUnknown,
    NeverAnswered,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let caps = Caps {
            per_key_lamports: random.percent(30).then_some(20_000),
            total_lamports: random.percent(30).then_some(40_000),
        };
        let secs = |random: &mut Random, low, high| Duration::from_secs(random.between(low, high));
        let lies = random.percent(25);
        let policy = Policy {
            // Honest heights need no patience; made-up ones, as much as a blockhash can live, and a fork's length.
            least_life: if lies { LONGEST_LIFE } else { secs(&mut random, 0, 3) },
            answer_within: secs(&mut random, 2, 25),
            claim_lease: secs(&mut random, 1, 6),
            lease: secs(&mut random, 2, 12),
            effect_patience: secs(&mut random, 2, 10),
            max_sends: random.index(3) + 1,
            max_in_flight: random.index(12) + 4,
            bar: if random.percent(20) {
                pay402::chain::settlement::Commitment::Finalized
            } else {
                pay402::chain::settlement::Commitment::Confirmed
            },
            ..Policy::new(caps)
        };
        let mut world = Self {
            random,
            seen: Seen::default(),
            chain: SimChain::new(),
            model: Model::default(),
            policy,
            payments: Vec::new(),
            calm: false,
            trace,
            now_ms: 0,
            instances: Vec::new(),
            born: 0,
            ghosts: Vec::new(),
            requests: BTreeMap::new(),
            told: BTreeMap::new(),
            disowned: BTreeSet::new(),
        };
        world.chain.lies = lies;
        for _ in 0..world.random.between(1, 3) {
            let instance = world.instance();
            world.instances.push(instance);
        }
        world
    }

    fn instance(&mut self) -> Instance {
        self.born += 1;
        let skew_ms = i64::try_from(self.random.below(4000)).unwrap() - 2000;
        Instance {
            number: self.born,
            engine: Engine::new(self.policy.clone(), format!("instance {}", self.born)),
            outstanding: Vec::new(),
            results: Vec::new(),
            born_ms: self.now_ms,
            skew_ms,
            stalled_until_ms: 0,
            next_request: 0,
        }
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>7} {}", self.now_ms, text());
        }
    }

    fn wall(&self, index: usize) -> UnixMs {
        UnixMs(START_MS + i64::try_from(self.now_ms).unwrap() + self.instances[index].skew_ms)
    }

    fn now(&self, index: usize) -> Now {
        let steady = Duration::from_millis(self.now_ms - self.instances[index].born_ms);
        Now { steady, wall: self.wall(index) }
    }

    /// One thing happens.
    pub fn stir(&mut self) {
        let index = self.random.index(self.instances.len());
        match self.random.below(1000) {
            0..480 => self.run_one(index),
            480..700 => self.deliver_one(index),
            700..900 => {
                let millis = self.random.between(10, SLOT_MS);
                self.pass(millis);
            }
            900..930 => self.new_payment(index),
            930..965 => self.ask_again(index),
            965..980 => self.hint(index),
            980..993 => self.haunt(),
            993..997 => self.stall(index),
            _ => self.crash(index),
        }
        self.check_totals();
    }

    pub fn pass(&mut self, millis: u64) {
        let slots = (self.now_ms + millis) / SLOT_MS - self.now_ms / SLOT_MS;
        self.now_ms += millis;
        for _ in 0..slots {
            self.chain.advance(&mut self.random, self.calm);
        }
        for index in 0..self.instances.len() {
            if self.is_awake(index) && self.instances[index].engine.wake_at() <= self.now(index).steady {
                self.step(index, Event::Tick);
            }
        }
    }

    fn is_awake(&self, index: usize) -> bool {
        self.instances[index].stalled_until_ms <= self.now_ms
    }

    fn step(&mut self, index: usize, event: Event) {
        let now = self.now(index);
        let effects = self.instances[index].engine.step(event, now);
        for effect in effects {
            if let Effect::Answer(number, answer) = effect {
                self.answered(index, number, answer);
            } else {
                self.instances[index].outstanding.push(effect);
            }
        }
    }

    fn run_one(&mut self, index: usize) {
        let count = self.instances[index].outstanding.len();
        if count == 0 {
            return;
        }
        let chosen = self.random.index(count);
        let effect = self.instances[index].outstanding.swap_remove(chosen);
        self.log(|| format!("instance {} does {effect:?}", self.instances[index].number));
        if let Some(event) = self.execute(index, effect) {
            self.log(|| format!("    {event:?}"));
            self.instances[index].results.push(event);
        }
    }

    fn deliver_one(&mut self, index: usize) {
        let count = self.instances[index].results.len();
        if count > 0 && self.is_awake(index) {
            let chosen = self.random.index(count);
            let event = self.instances[index].results.swap_remove(chosen);
            if let Event::Renewed(asked, Ok(held)) = &event {
                self.seen.lost_leases += (asked.len() - held.len()) as u64;
            }
            self.step(index, event);
        }
    }

    fn new_payment(&mut self, index: usize) {
        let number = self.payments.len() as u64;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.random.next().to_be_bytes());
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        let mut signature = [1; 64];
        signature[..32].copy_from_slice(&bytes);
        let signature = Signature::from(signature);
        let last_height = self.chain.blockhash(&mut self.random);
        let transaction = Transaction { signature, last_height, fails: self.random.percent(15) };
        let key_id = [None, Some("key a"), Some("key b")][self.random.index(3)];
        let settlement = NewSettlement {
            transaction: bytes.to_vec(),
            signature,
            fee_payer: Pubkey::new_from_array([9; 32]),
            payer: Pubkey::new_from_array(bytes),
            pay_to: Pubkey::new_from_array([8; 32]),
            asset: Pubkey::new_from_array([7; 32]),
            currency: Some(Currency::Usdc),
            amount: Amount::from_atomic(number + 1).unwrap(),
            network: Network::Sandbox,
            resource: None,
            owner: None,
            agent: None,
            key_id: key_id.map(str::to_owned),
            max_fee_lamports: self.random.between(5_000, 10_000),
            x402_version: 2,
        };
        self.payments.push(Payment { message: MessageHash(bytes), transaction, settlement });
        self.ask(index, self.payments.len() - 1, TermsHash([0; 32]));
        if self.random.percent(30) {
            let other = self.random.index(self.instances.len());
            self.ask(other, self.payments.len() - 1, TermsHash([0; 32]));
        }
    }

    fn ask_again(&mut self, index: usize) {
        if !self.payments.is_empty() {
            let payment = self.random.index(self.payments.len());
            let terms = TermsHash([u8::from(self.random.percent(25)); 32]);
            self.ask(index, payment, terms);
        }
    }

    pub fn ask(&mut self, index: usize, payment: usize, terms: TermsHash) {
        if !self.is_awake(index) {
            return;
        }
        let instance = &mut self.instances[index];
        let number = RequestNumber(instance.next_request);
        instance.next_request += 1;
        let patience = u64::try_from(self.policy.answer_within.as_millis()).unwrap();
        let due_ms = self.now_ms + patience;
        let request = Request { payment, terms, due_ms, attempts: BTreeSet::new(), refused: false };
        self.requests.insert((instance.number, number), request);
        let event = Event::Settle(number, self.payments[payment].message, terms);
        self.step(index, event);
    }

    fn hint(&mut self, index: usize) {
        if !self.payments.is_empty() && self.is_awake(index) {
            let payment = self.random.index(self.payments.len());
            let signature = self.payments[payment].transaction.signature;
            self.step(index, Event::Hint(signature));
        }
    }

    /// What somebody has given up on takes place.
    fn haunt(&mut self) {
        if !self.ghosts.is_empty() {
            let chosen = self.random.index(self.ghosts.len());
            let ghost = self.ghosts.swap_remove(chosen);
            self.log(|| format!("nobody does {ghost:?}"));
            self.apply(0, &ghost);
        }
    }

    /// As a process that is not scheduled, or collects its garbage: the leases run on.
    fn stall(&mut self, index: usize) {
        let millis = self.random.between(500, 20_000);
        let number = self.instances[index].number;
        self.instances[index].stalled_until_ms = self.now_ms + millis;
        for ((of, _), request) in &mut self.requests {
            if *of == number {
                request.due_ms += millis;
            }
        }
    }

    fn crash(&mut self, index: usize) {
        self.seen.crashes += 1;
        let reborn = self.instance();
        let dead = std::mem::replace(&mut self.instances[index], reborn);
        self.log(|| format!("instance {} dies", dead.number));
        for effect in dead.outstanding {
            // On the wire already, or not.
            if self.random.percent(50) {
                self.ghosts.push(effect);
            }
        }
        self.requests.retain(|(instance, _), _| *instance != dead.number);
    }

    fn fate(&mut self) -> Fate {
        if self.calm {
            return Fate::Fine;
        }
        match self.random.below(100) {
            0..80 => Fate::Fine,
            80..86 => Fate::Unavailable,
            86..91 => Fate::DoneButUnknown,
            91..94 => Fate::NotDoneUnknown,
            94..97 => Fate::DoneLaterUnknown,
            _ => Fate::NeverAnswered,
        }
    }

    /// What comes of an effect, if anything.
    fn execute(&mut self, index: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Prepare(number) => self.prepare(index, number),
            Effect::LastValid(number) => {
                let mut height = self.chain.last_valid_block_height(&mut self.random, self.calm);
                let key = (self.instances[index].number, number);
                if let (Some(request), true) = (self.requests.get(&key), self.random.percent(50)) {
                    // The role promises a bound, however tight.
                    height = self.payments[request.payment].transaction.last_height;
                }
                self.chain_answers(Event::LastValid(number, Ok(height)), Event::LastValid(number, UNREACHED))
            }
            Effect::Finality => {
                let finality = self.chain.finality(&mut self.random, self.calm);
                self.chain_answers(Event::Finality(Ok(finality)), Event::Finality(Err(Trouble::Unavailable)))
            }
            Effect::Statuses(round, asked) => {
                let statuses = asked.iter().map(|(_, signature)| match round {
                    StatusRound::History(finality) => {
                        self.chain.history(signature, finality.slot, &mut self.random, self.calm)
                    }
                    _ => self.chain.recent(signature, &mut self.random, self.calm),
                });
                let statuses = statuses.collect();
                let fine = Event::Statuses(round, asked.clone(), Ok(statuses));
                self.chain_answers(fine, Event::Statuses(round, asked, Err(Trouble::Unavailable)))
            }
            Effect::Send(message, _) => {
                self.apply(index, &effect);
                let sent = Event::Sent(message);
                self.chain_answers(sent.clone(), sent)
            }
            Effect::Answer(..) => unreachable!("answers are not executed"),
            _ => self.store(index, effect),
        }
    }

    fn chain_answers(&mut self, fine: Event, failed: Event) -> Option<Event> {
        match self.random.below(100) {
            _ if self.calm => Some(fine),
            0..85 => Some(fine),
            85..97 => Some(failed),
            _ => None,
        }
    }

    fn store(&mut self, index: usize, effect: Effect) -> Option<Event> {
        if let Effect::Claim(number, claim) = &effect {
            let key = (self.instances[index].number, *number);
            if let Some(request) = self.requests.get_mut(&key) {
                request.attempts.insert(claim.attempt.clone());
            }
        }
        let fate = self.fate();
        let trouble = if fate == Fate::Unavailable { Trouble::Unavailable } else { Trouble::Unknown };
        let is_journal = matches!(effect, Effect::Journal(..));
        self.seen.lost_commits += u64::from(is_journal && fate == Fate::DoneButUnknown);
        match fate {
            Fate::Fine => self.apply(index, &effect),
            Fate::DoneButUnknown => {
                self.apply(index, &effect);
                Some(failed(effect, trouble))
            }
            Fate::DoneLaterUnknown => {
                self.ghosts.push(effect.clone());
                Some(failed(effect, trouble))
            }
            Fate::Unavailable | Fate::NotDoneUnknown => Some(failed(effect, trouble)),
            Fate::NeverAnswered => {
                self.apply(index, &effect);
                None
            }
        }
    }

    /// Does to store and chain what an effect does.
    fn apply(&mut self, index: usize, effect: &Effect) -> Option<Event> {
        let wall = self.wall(index);
        Some(match effect.clone() {
            Effect::Claim(number, claim) => {
                let claimed = self.model.claim(&claim);
                Event::Claimed(number, claim, Ok(claimed))
            }
            Effect::Abandon(number, claim) => {
                self.model.abandon(&claim);
                Event::Abandoned(number)
            }
            Effect::Journal(number, journal) => {
                let outcome = self.model.journal(&journal);
                Event::Journalled(number, journal, Ok(outcome))
            }
            Effect::Finish(message, ending) => {
                let finished = self.model.finish(&message, &ending);
                Event::Finished(message, Ok(finished))
            }
            Effect::Renew(messages) => {
                let holder = self.instances[index].engine.holder().to_owned();
                let held = self.model.renew(&holder, &messages, wall + self.policy.lease);
                Event::Renewed(messages, Ok(held))
            }
            Effect::TakeOver { limit } => {
                let holder = self.instances[index].engine.holder().to_owned();
                let taken = self.model.take_over(&holder, wall, wall + self.policy.lease, limit);
                self.seen.taken_over += taken.len() as u64;
                Event::TakenOver(Ok(taken))
            }
            Effect::ForgetClaims => {
                self.model.forget_claims(wall);
                Event::Forgot
            }
            Effect::Send(message, bytes) => {
                let journal =
                    self.model.rows[&message].journal.as_ref().expect("journalled before it is sent");
                assert_eq!(*journal.settlement.transaction, *bytes, "the same bytes each time");
                let payment = self.payments.iter().find(|payment| payment.message == message).unwrap();
                self.chain.send(&payment.transaction.clone(), &mut self.random, self.calm);
                Event::Sent(message)
            }
            _ => return None,
        })
    }

    /// Verifies against the chain, and signs.
    fn prepare(&mut self, index: usize, number: RequestNumber) -> Option<Event> {
        let key = (self.instances[index].number, number);
        if !self.calm && self.random.percent(3) {
            return None;
        }
        let is_refused = self.random.percent(8);
        let request = self.requests.get_mut(&key)?;
        let payment = &self.payments[request.payment];
        if is_refused || !self.chain.is_alive(&payment.transaction) {
            request.refused = true;
            return Some(Event::Prepared(number, None));
        }
        let id = PaymentId::from_stored(format!("pay_{}_{}", key.0, number.0));
        Some(Event::Prepared(number, Some(Box::new((id, payment.settlement.clone())))))
    }

    fn answered(&mut self, index: usize, number: RequestNumber, answer: Answer) {
        let key = (self.instances[index].number, number);
        let request = self.requests.remove(&key).expect("each request is answered once");
        self.log(|| format!("{key:?} is told {answer:?}"));
        assert!(self.now_ms <= request.due_ms + SLOT_MS, "{request:?} is answered in time");
        let payment = &self.payments[request.payment];
        let row = self.model.rows.get(&payment.message);
        match answer {
            Answer::Ended(record) => {
                let row = row.expect("what is told is in the books");
                let SettlementState::Ended(ending) = &record.state else { panic!("{record:?}") };
                assert_eq!((row.ending.as_ref(), row.terms), (Some(ending), request.terms));
                assert_eq!(record.signature, payment.transaction.signature);
                let before = self.told.insert(payment.message, (request.terms, ending.clone()));
                if let Some(before) = before {
                    self.seen.repeated += 1;
                    assert_eq!(before, (request.terms, ending.clone()), "the same to everyone");
                }
                self.check_truth(request.payment, &ending.clone());
            }
            Answer::Pending { signature } => {
                self.seen.pending += 1;
                assert!(signature.is_none_or(|signature| signature == payment.transaction.signature));
            }
            Answer::Duplicate => {
                self.seen.duplicates += 1;
                let row = row.expect("there is what it would be a duplicate of");
                assert!(row.journal.is_some() && row.terms != request.terms);
            }
            Answer::Refused => {
                assert!(request.refused);
                self.disowned.extend(request.attempts);
            }
            Answer::CapReached(_) => {
                self.seen.caps += 1;
                self.disowned.extend(request.attempts);
            }
            Answer::NotAdmitted(_) => unreachable!("nobody here is an agent"),
            Answer::Busy | Answer::Unavailable => self.disowned.extend(request.attempts),
        }
    }

    /// Success exactly when the chain says so, and so for the others.
    fn check_truth(&mut self, payment: usize, ending: &Ending) {
        let transaction = &self.payments[payment].transaction;
        let truth = self.chain.truth(&transaction.signature);
        match ending {
            Ending::Settled { slot } => {
                assert_eq!(truth, Some((*slot, false)));
                self.seen.settled += 1;
                let in_last = self.chain.landed_last.contains(&transaction.signature);
                self.seen.settled_in_last_block += u64::from(in_last);
            }
            Ending::Failed { slot, .. } => {
                assert_eq!(truth, Some((*slot, true)));
                self.seen.failed += 1;
            }
            Ending::Expired => {
                assert!(truth.is_none() && self.chain.is_dead(transaction), "{truth:?}");
                self.seen.expired += 1;
            }
        }
    }

    /// Reserved and spent, by day and key and in all, are what the books add up to.
    fn check_totals(&self) {
        let mut sums = BTreeMap::<_, (u64, u64)>::new();
        for row in self.model.rows.values() {
            let Some(journal) = &row.journal else { continue };
            let fee = journal.settlement.max_fee_lamports;
            let subjects = journal.settlement.key_id.clone().map(Some).into_iter().chain([None]);
            for subject in subjects {
                let sum = sums.entry((super::model::day(journal.at), subject)).or_default();
                match &row.ending {
                    None => sum.0 += fee,
                    Some(ending) if ending.landed() => sum.1 += fee,
                    Some(_) => {}
                }
            }
        }
        for (subject, sponsored) in &self.model.sponsored {
            let sum = sums.get(subject).copied().unwrap_or_default();
            assert_eq!((sponsored.reserved, sponsored.spent), sum);
            let caps = self.policy.caps;
            let cap = if subject.1.is_some() { caps.per_key_lamports } else { caps.total_lamports };
            assert!(cap.is_none_or(|cap| sum.0 + sum.1 <= cap), "{subject:?} is over its cap");
        }
        assert!(sums.keys().all(|subject| self.model.sponsored.contains_key(subject)));
    }

    /// The faults stop, and time passes until everything has ended.
    pub fn settle_down(&mut self) {
        self.calm = true;
        while !self.ghosts.is_empty() {
            self.haunt();
        }
        for round in 0.. {
            assert!(round < 400, "still not ended: {:#?}", self.open());
            self.calm_round();
            if self.open().is_empty() && self.requests.is_empty() {
                break;
            }
        }
        // Long enough for whatever could still come.
        for _ in 0..40 {
            self.calm_round();
        }
    }

    fn calm_round(&mut self) {
        self.pass(SLOT_MS);
        for index in 0..self.instances.len() {
            self.instances[index].stalled_until_ms = 0;
            for _ in 0..1000 {
                self.run_one(index);
                self.deliver_one(index);
            }
        }
    }

    fn open(&self) -> Vec<MessageHash> {
        let open = |row: &super::model::Row| row.journal.is_some() && row.ending.is_none();
        self.model.rows.iter().filter(|(_, row)| open(row)).map(|(message, _)| *message).collect()
    }

    /// Everything that was journalled has ended as the chain says, nobody works on anything, and who asks again hears the
    /// same.
    pub fn check_end(&mut self) {
        for payment in 0..self.payments.len() {
            let message = self.payments[payment].message;
            let row = self.model.rows.get(&message).cloned();
            let Some(row) = row.filter(|row| row.journal.is_some()) else {
                assert_eq!(self.chain.truth(&self.payments[payment].transaction.signature), None);
                assert!(!self.told.contains_key(&message));
                continue;
            };
            assert!(!self.disowned.contains(&row.attempt), "{} was told that nothing was sent", row.attempt);
            self.check_truth(payment, &row.ending.clone().unwrap());
            let index = self.random.index(self.instances.len());
            self.ask(index, payment, row.terms);
            while !self.requests.is_empty() {
                self.calm_round();
            }
            assert_eq!(self.told.get(&message), Some(&(row.terms, row.ending.unwrap())));
        }
        self.check_totals();
        let idle = self.instances.iter().all(|instance| instance.engine.is_idle());
        assert!(idle && self.model.rows.values().all(|row| row.journal.is_some()));
    }
}

const UNREACHED: Result<u64, Trouble> = Err(Trouble::Unavailable);

fn failed(effect: Effect, trouble: Trouble) -> Event {
    match effect {
        Effect::Claim(number, claim) => Event::Claimed(number, claim, Err(trouble)),
        Effect::Abandon(number, _) => Event::Abandoned(number),
        Effect::Journal(number, journal) => Event::Journalled(number, journal, Err(trouble)),
        Effect::Finish(message, _) => Event::Finished(message, Err(trouble)),
        Effect::Renew(messages) => Event::Renewed(messages, Err(trouble)),
        Effect::TakeOver { .. } => Event::TakenOver(Err::<Vec<InFlight>, _>(trouble)),
        _ => Event::Forgot,
    }
}
