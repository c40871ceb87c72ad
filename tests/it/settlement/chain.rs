//! A chain in which a slot is a step: transactions arrive late, twice or never, blocks are dropped by forks until they
//! are confirmed, and whoever asks may get an old answer, none, or half of one.

use std::collections::{BTreeMap, BTreeSet};

use pay402::chain::settlement::{Commitment, Finality, SignatureStatus};
use solana_signature::Signature;

use super::random::Random;

/// How many blocks a blockhash is good for.
pub const BLOCKHASH_LIFE: u64 = 15;
/// The slot of block 0: others than its height, and late enough for histories to begin after it.
const FIRST_SLOT: u64 = 100_000;
/// The slot in which everything begins.
pub const START_SLOT: u64 = FIRST_SLOT + 19;
const CONFIRMED_DEPTH: u64 = 2;
const FINAL_DEPTH: u64 = 5;

/// A transaction as it is known to who made it.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub signature: Signature,
    /// The last block it can land in.
    pub last_height: u64,
    /// Whether the chain will refuse it where it lands.
    pub fails: bool,
}

#[derive(Debug)]
struct Block {
    slot: u64,
    landed: Vec<Transaction>,
}

#[derive(Debug)]
struct OnTheWay {
    transaction: Transaction,
    arrives_at: u64,
}

#[derive(Debug)]
pub struct SimChain {
    /// By their height.
    blocks: Vec<Block>,
    slot: u64,
    confirmed: u64,
    finalized: u64,
    /// Where what is in a block is.
    heights: BTreeMap<Signature, u64>,
    on_the_way: Vec<OnTheWay>,
    /// Everything that landed in its last valid block, for the record.
    pub landed_last: BTreeSet<Signature>,
    /// Whether the only endpoint there is makes up heights. Blocks come at a pace that can be counted on then, or there would
    /// be nothing to go by.
    pub lies: bool,
    /// How many slots may bring no block, or take one back, in fifths.
    slack: u64,
}

/// The most that [`SimChain::slack`] can be.
const MOST_SLACK: u64 = 20;
/// What there has to be for a fork, as deep as they come.
const FORK_SLACK: u64 = 15;

impl SimChain {
    pub fn new() -> Self {
        let blocks = (FIRST_SLOT..=START_SLOT).map(|slot| Block { slot, landed: Vec::new() }).collect();
        Self {
            blocks,
            slot: START_SLOT,
            confirmed: 17,
            finalized: 12,
            heights: BTreeMap::new(),
            on_the_way: Vec::new(),
            landed_last: BTreeSet::new(),
            lies: false,
            slack: MOST_SLACK,
        }
    }

    pub fn tip(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    fn block(&self, height: u64) -> &Block {
        &self.blocks[usize::try_from(height).unwrap()]
    }

    /// The slot of the newest block but so many.
    pub fn slot_before(&self, lag: u64) -> u64 {
        self.block(self.tip().saturating_sub(lag)).slot
    }

    /// The last final block: no node knows a later one.
    pub fn final_block(&self) -> Finality {
        Finality { slot: self.block(self.finalized).slot, block_height: self.finalized }
    }

    /// How many final blocks there are after a slot, by which a node may lag that has seen it.
    pub fn final_since(&self, slot: u64) -> u64 {
        (0..=self.finalized).rev().take_while(|height| self.block(*height).slot > slot).count() as u64
    }

    /// A confirmed blockhash, by the last height it is good for.
    pub fn blockhash(&self, random: &mut Random) -> u64 {
        self.confirmed - random.below(5) + BLOCKHASH_LIFE
    }

    /// Whether a transaction with this last height could land in the next block.
    pub fn is_alive(&self, transaction: &Transaction) -> bool {
        self.tip() < transaction.last_height
    }

    /// No further block can have it.
    pub fn is_dead(&self, transaction: &Transaction) -> bool {
        self.confirmed >= transaction.last_height
    }

    /// What the chain will say for ever, where it is confirmed.
    pub fn truth(&self, signature: &Signature) -> Option<(u64, bool)> {
        let height = *self.heights.get(signature).filter(|height| **height <= self.confirmed)?;
        let block = self.block(height);
        let landed = block.landed.iter().find(|landed| landed.signature == *signature).unwrap();
        Some((block.slot, landed.fails))
    }

    /// One slot passes.
    pub fn advance(&mut self, random: &mut Random, calm: bool) {
        self.slot += 1;
        self.slack = (self.slack + 1).min(MOST_SLACK);
        if !calm && random.percent(4) && self.may_lose(FORK_SLACK) {
            let before = self.tip();
            self.fork(random);
            self.lose(before - self.tip());
        }
        if !calm && random.percent(10) && self.may_lose(5) {
            self.lose(1);
            return;
        }
        self.extend(random, calm);
        self.confirmed = self.confirmed.max(self.tip().saturating_sub(CONFIRMED_DEPTH));
        self.finalized = self.finalized.max(self.confirmed.saturating_sub(FINAL_DEPTH));
    }

    fn may_lose(&self, slack: u64) -> bool {
        !self.lies || self.slack >= slack
    }

    fn lose(&mut self, slots: u64) {
        self.slack = self.slack.saturating_sub(5 * slots);
    }

    /// Blocks that are not confirmed go; what was in them may come again.
    fn fork(&mut self, random: &mut Random) {
        while self.tip() > self.confirmed && random.percent(70) {
            for transaction in self.blocks.pop().unwrap().landed {
                self.heights.remove(&transaction.signature);
                self.landed_last.remove(&transaction.signature);
                if random.percent(50) {
                    self.on_the_way.push(OnTheWay { transaction, arrives_at: self.slot });
                }
            }
        }
    }

    fn extend(&mut self, random: &mut Random, calm: bool) {
        let height = self.tip() + 1;
        let mut landed: Vec<Transaction> = Vec::new();
        for OnTheWay { transaction, arrives_at } in std::mem::take(&mut self.on_the_way) {
            let is_there = self.heights.contains_key(&transaction.signature);
            if height > transaction.last_height || is_there {
                continue;
            }
            // The last moment is the interesting one.
            let is_last = height == transaction.last_height;
            let chance = if calm {
                60
            } else if is_last {
                80
            } else {
                25
            };
            if arrives_at > self.slot || !random.percent(chance) {
                self.on_the_way.push(OnTheWay { transaction, arrives_at });
                continue;
            }
            if is_last {
                self.landed_last.insert(transaction.signature);
            }
            self.heights.insert(transaction.signature, height);
            landed.push(transaction);
        }
        self.blocks.push(Block { slot: self.slot, landed });
    }

    /// Takes a transaction, or does not; that it says so and that it does have nothing to do with each other.
    pub fn send(&mut self, transaction: &Transaction, random: &mut Random, calm: bool) {
        if !calm && random.percent(35) {
            return;
        }
        let copies = if !calm && random.percent(20) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if calm { 0 } else { random.below(BLOCKHASH_LIFE) };
            self.on_the_way
                .push(OnTheWay { transaction: transaction.clone(), arrives_at: self.slot + delay });
        }
    }

    /// The upper bound that the role promises.
    pub fn last_valid_block_height(&self, random: &mut Random, calm: bool) -> u64 {
        self.tip() + BLOCKHASH_LIFE + if calm { 0 } else { random.below(3) }
    }

    /// Of an endpoint that lags, or lies.
    pub fn finality(&self, random: &mut Random, calm: bool) -> Finality {
        if self.lies && !calm && random.percent(30) {
            let ahead = random.below(2 * BLOCKHASH_LIFE);
            return Finality { slot: self.slot + ahead, block_height: self.finalized + ahead };
        }
        let lag = if calm { 0 } else { random.below(if self.lies { 4 } else { 8 }) };
        let height = self.finalized.saturating_sub(lag);
        Finality { slot: self.block(height).slot, block_height: height }
    }

    /// Of an endpoint that lags and knows only half.
    pub fn recent(&self, asked: &Signature, random: &mut Random, calm: bool) -> Option<SignatureStatus> {
        if !calm && random.percent(30) {
            return None;
        }
        let lag = if calm { 0 } else { random.below(8) };
        self.seen(asked, lag)
    }

    /// Of an endpoint that has final blocks up to a slot, and all their history. It need not know of later ones.
    pub fn history(
        &self,
        asked: &Signature,
        seen: u64,
        random: &mut Random,
        calm: bool,
    ) -> Option<SignatureStatus> {
        let lag = if calm { 0 } else { random.below(self.final_since(seen) + 1) };
        let ignorant = !calm && random.percent(50);
        self.seen(asked, lag).filter(|status| !ignorant || status.commitment == Commitment::Finalized)
    }

    /// Of an honest node that lags by so many blocks.
    pub fn seen(&self, asked: &Signature, lag: u64) -> Option<SignatureStatus> {
        let height = *self.heights.get(asked)?;
        let at = |end: u64| end.saturating_sub(lag) >= height;
        if !at(self.tip()) {
            return None;
        }
        let commitment = match (at(self.finalized), at(self.confirmed)) {
            (true, _) => Commitment::Finalized,
            (_, true) => Commitment::Confirmed,
            _ => Commitment::Processed,
        };
        let block = self.block(height);
        let landed = block.landed.iter().find(|landed| landed.signature == *asked).unwrap();
        let failure = landed.fails.then(|| "custom program error".to_owned());
        Some(SignatureStatus { slot: block.slot, commitment, failure })
    }
}
