//! Several engines over one store and one chain, and clients that ask them. One seed decides who comes next, what is lost,
//! late or untrue, and who dies. Every answer is held against the chain.

mod clients;
mod effects;
mod mishaps;
mod truth;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pay402::{
    clock::UnixMs,
    payments::settlement::{
        Caps, Effect, Ending, Engine, Event, MessageHash, Now, Policy, RequestNumber, TermsHash,
    },
};

use super::{chain::SimChain, model::Model, nodes::Nodes, random::Random};
use clients::{Payment, Request};

pub const SLOT_MS: u64 = 400;
/// For how long nothing is given up where nodes lie: as a rule a blockhash of this chain is dead after 15 blocks and that is
/// final after 5 more, which is half of it, as on the real chain.
const LEAST_LIFE: Duration = Duration::from_secs(15);
/// Some midnight, less a minute: days change under way.
pub const START_MS: i64 = 1_790_035_200_000 - 60_000;

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
    /// Where it was told to end: when it does, ready or not.
    leaves_at_ms: Option<u64>,
    next_request: u64,
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
    pub busy: u64,
    pub left: u64,
    pub made_up: u64,
    pub held_back: u64,
}

pub struct World {
    pub random: Random,
    pub seen: Seen,
    pub chain: SimChain,
    /// `None`: there is one, which tells no lies but of heights.
    pub nodes: Option<Nodes>,
    pub model: Model,
    pub policy: Policy,
    pub payments: Vec<Payment>,
    calm: bool,
    trace: bool,
    now_ms: u64,
    instances: Vec<Instance>,
    born: u64,
    /// Until then no call gets to the store.
    store_away_until_ms: u64,
    /// What was sent at least once.
    sent: BTreeSet<MessageHash>,
    /// Effects whose process is dead or has given up on them, and which take place all the same, later.
    ghosts: Vec<Effect>,
    requests: BTreeMap<(u64, RequestNumber), Request>,
    /// What clients were told in the end.
    told: BTreeMap<MessageHash, (TermsHash, Ending)>,
    /// Attempts of requests that were told that nothing was sent.
    disowned: BTreeSet<String>,
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
        let nodes = (!lies && random.percent(50)).then(|| Nodes::some(&mut random));
        let policy = Policy::new(caps);
        let policy = Policy {
            // Honest heights need no patience.
            least_life: if lies { LEAST_LIFE } else { secs(&mut random, 0, 3) },
            least_watch: secs(&mut random, 0, 2),
            answer_within: secs(&mut random, 2, 25),
            claim_lease: secs(&mut random, 1, 6),
            lease: secs(&mut random, 2, 12),
            effect_patience: secs(&mut random, 2, 10),
            max_requests: if random.percent(20) { random.index(4) + 1 } else { policy.max_requests },
            max_sends: random.index(3) + 1,
            max_finishes: random.index(3) + 1,
            max_in_flight: random.index(12) + 4,
            status_batch: random.index(8) + 1,
            renew_batch: random.index(8) + 1,
            take_over_batch: random.index(8) + 1,
            bar: if random.percent(20) {
                pay402::chain::settlement::Commitment::Finalized
            } else {
                pay402::chain::settlement::Commitment::Confirmed
            },
            ..policy
        };
        let mut world = Self {
            random,
            seen: Seen::default(),
            chain: SimChain::new(),
            nodes,
            model: Model::default(),
            policy,
            payments: Vec::new(),
            calm: false,
            trace,
            now_ms: 0,
            instances: Vec::new(),
            born: 0,
            store_away_until_ms: 0,
            sent: BTreeSet::new(),
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
        let most_ms = if self.chain.lies { 500 } else { 2000 };
        let skew_ms =
            i64::try_from(self.random.below(2 * most_ms)).unwrap() - i64::try_from(most_ms).unwrap();
        Instance {
            number: self.born,
            engine: Engine::new(self.policy.clone(), format!("instance {}", self.born)),
            outstanding: Vec::new(),
            results: Vec::new(),
            born_ms: self.now_ms,
            skew_ms,
            stalled_until_ms: 0,
            leaves_at_ms: None,
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
            980..989 => self.haunt(),
            989 => self.lose_store(),
            990 => self.set_clock(index),
            991..993 => self.leave(index),
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
            if self.is_awake(index) {
                self.leave_in_time(index);
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
            self.take_note(index, effect);
        }
    }

    fn take_note(&mut self, index: usize, effect: Effect) {
        if let Effect::Answer(number, answer) = effect {
            self.answered(index, number, answer);
            return;
        }
        let instance = &mut self.instances[index];
        if matches!(effect, Effect::Finality) {
            // Who asks again has given up on the answer to the last question, and sees to it that it does not come.
            instance.outstanding.retain(|effect| !matches!(effect, Effect::Finality));
            instance.results.retain(|event| !matches!(event, Event::Finality(_)));
        }
        instance.outstanding.push(effect);
    }

    fn run_one(&mut self, index: usize) {
        let count = self.instances[index].outstanding.len();
        if count == 0 {
            return;
        }
        let mut chosen = self.random.index(count);
        if self.nodes.is_some() && self.random.percent(50) {
            // The sooner it is asked after a landing, the more there is to be wrong about.
            let is_look = |effect: &Effect| matches!(effect, Effect::Statuses(..));
            chosen = self.instances[index].outstanding.iter().position(is_look).unwrap_or(chosen);
        }
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
}
