//! Several nodes of the simulated chain, of which one lies, and what is made of that by the code that judges real ones
//! (`chain::solana::evidence`).
//!
//! Whoever is asked, there is one honest node at least that is up to date and whose history is long enough. Now and then its
//! answer is yet to come; all others may give none, lag, say that they are catching up, have forgotten, or have a history that begins too late; and the liar
//! says what it likes of heights, slots, statuses and histories.
//!
//! What is not here is in `rpc`, over real JSON-RPC: who is asked and in which order (`failover`, `again`), answers that make
//! no sense, slots that no chain has reached, and nodes that hear of no new slot (`liars`, `histories`, `finality`).

use std::time::Duration;

use pay402::{
    chain::{
        ChainError,
        settlement::{Commitment, Finality, Findings, SignatureStatus},
        solana::evidence::{
            Evidence, are_agreed, earliest_slot, finality_of, findings, last_valid_of, needs_others, weigh,
        },
    },
    clock::UnixMs,
};
use solana_signature::Signature;

use super::{
    chain::{BLOCKHASH_LIFE, START_SLOT, SimChain},
    random::Random,
    world::{SLOT_MS, START_MS},
};

/// By how many blocks a node may lag.
const MAX_LAG: u64 = 8;
/// Slots that nobody has reached, and which the service takes for possible all the same.
const FAR: u64 = 1 << 39;
const COMMITMENTS: [Commitment; 3] = [Commitment::Processed, Commitment::Confirmed, Commitment::Finalized];
/// What is known of when a block was made is held to be wrong by up to this.
const CLOCKS_APART: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub struct Nodes {
    count: usize,
    liar: usize,
    /// How many endings the liar has made up.
    pub made_up: u64,
    /// How many endings were not believed at first.
    pub held_back: u64,
}

/// One look at the chain.
struct Look<'a> {
    chain: &'a SimChain,
    asked: &'a [Signature],
    calm: bool,
}

impl Nodes {
    /// Two to four of them.
    pub fn some(random: &mut Random) -> Self {
        let count = 2 + random.index(3);
        Self { count, liar: random.index(count), made_up: 0, held_back: 0 }
    }

    /// Who answers, in any order, and which of them is honest and has nothing wrong with it.
    fn heard(&self, random: &mut Random, calm: bool) -> (usize, Vec<usize>) {
        let honest: Vec<usize> = (0..self.count).filter(|node| *node != self.liar).collect();
        let rock = honest[random.index(honest.len())];
        let mut heard: Vec<usize> =
            (0..self.count).filter(|node| *node == rock || calm || random.percent(75)).collect();
        for index in (1..heard.len()).rev() {
            heard.swap(index, random.index(index + 1));
        }
        (rock, heard)
    }

    /// Whether an answer is yet to come.
    fn is_silent(random: &mut Random, calm: bool) -> bool {
        !calm && random.percent(10)
    }

    fn lies(&self, node: usize, calm: bool) -> bool {
        node == self.liar && !calm
    }

    /// At least `least`, as far as honest nodes say.
    pub fn last_valid_block_height(
        &self,
        chain: &SimChain,
        least: Option<u64>,
        random: &mut Random,
        calm: bool,
    ) -> u64 {
        let (_, heard) = self.heard(random, calm);
        let told = heard.into_iter().map(|node| {
            if self.lies(node, calm) {
                return random.below(chain.tip() + 3 * BLOCKHASH_LIFE);
            }
            least.unwrap_or_else(|| chain.last_valid_block_height(random, calm))
        });
        last_valid_of(told.collect())
    }

    pub fn finality(&self, chain: &SimChain, random: &mut Random, calm: bool) -> Finality {
        let (_, heard) = self.heard(random, calm);
        let told = heard.into_iter().map(|node| {
            if !self.lies(node, calm) {
                return chain.finality(random, calm);
            }
            let block_height =
                (chain.tip() + 2 * BLOCKHASH_LIFE).saturating_sub(random.below(4 * BLOCKHASH_LIFE));
            Finality { slot: made_up_slot(chain, random).max(block_height), block_height }
        });
        let found = finality_of(&told.collect::<Vec<_>>());
        let last = chain.final_block();
        assert!(found.slot <= last.slot && found.block_height <= last.block_height, "{found:?} is not final");
        found
    }

    /// As `SolanaRpc` looks at the recent past.
    pub fn recent(
        &mut self,
        chain: &SimChain,
        asked: &[Signature],
        random: &mut Random,
        calm: bool,
    ) -> Findings {
        let look = Look { chain, asked, calm };
        let (rock, mut heard) = self.heard(random, calm);
        let is_silent = heard.len() > 1 && Self::is_silent(random, calm);
        heard.retain(|node| *node != rock || !is_silent);
        let said: Vec<Evidence> = heard
            .iter()
            .map(|node| {
                let lag = if calm { 0 } else { random.below(MAX_LAG) };
                self.says(&look, *node, lag, random)
            })
            .collect();
        let mut statuses = said[0].statuses.clone();
        let places = needs_others(&said[0], calm || random.percent(25));
        let mut told = Vec::new();
        for evidence in &said {
            let statuses = places.iter().map(|place| evidence.statuses[*place].clone()).collect();
            told.push(Evidence { statuses, ..evidence.clone() });
            if are_agreed(&told) {
                break;
            }
        }
        let judged = heard.iter().zip(&told).map(|(node, evidence)| {
            let is_behind = *node != rock && !calm && evidence.knows_less(&told) && random.percent(50);
            if is_behind { evidence.clone().of_one_behind() } else { evidence.clone() }
        });
        let yet_to_come = is_silent.then(Evidence::yet_to_be_told);
        let weighed = findings(&judged.chain(yet_to_come).collect::<Vec<_>>(), 0);
        self.held_back += weighed.doubts.len() as u64;
        for (place, status) in places.into_iter().zip(weighed.findings.statuses) {
            statuses[place] = status;
        }
        Findings { statuses, since: None }
    }

    /// As `SolanaRpc` searches all history.
    pub fn history(
        &mut self,
        chain: &SimChain,
        asked: &[Signature],
        (last, age): (Finality, Duration),
        random: &mut Random,
        calm: bool,
    ) -> Result<Findings, ChainError> {
        let look = Look { chain, asked, calm };
        let (rock, heard) = self.heard(random, calm);
        let (seen, earliest) = (last.slot, earliest_slot(last.slot, age));
        // Up to date is who has seen that block, by its slot and by its height.
        let most = chain.final_since(seen).min(chain.final_block().block_height - last.block_height);
        let mut told = Vec::new();
        for node in heard {
            if node == rock && Self::is_silent(random, calm) {
                told.push(Ok(None));
                continue;
            }
            let lag = random.below(if node == rock { most + 1 } else { MAX_LAG });
            let evidence = self.says(&look, node, if calm { 0 } else { lag }, random).as_of(seen);
            if evidence.statuses.iter().all(Option::is_some) {
                told.push(Ok(Some(evidence)));
                continue;
            }
            let beginning = if self.lies(node, calm) {
                let since = [None, Some(UnixMs(0)), Some(UnixMs(i64::MAX))][random.index(3)];
                Some((made_up_slot(chain, random), since))
            } else {
                let first = random.below(if node == rock { earliest + 1 } else { chain.slot_before(0) });
                Some((first, Some(when(first) + CLOCKS_APART)))
            };
            // Now and then it does not tell.
            let beginning = beginning.filter(|_| calm || random.percent(70));
            told.push(Ok(Some(evidence.with_history(beginning))));
        }
        told.extend((told.len()..self.count).map(|_| Err(ChainError::BadResponse("no answer"))));
        let weighed = weigh(told, seen, earliest)?;
        self.held_back += weighed.doubts.len() as u64;
        Ok(weighed.findings)
    }

    fn says(&mut self, look: &Look<'_>, node: usize, lag: u64, random: &mut Random) -> Evidence {
        let Look { chain, asked, calm } = *look;
        if self.lies(node, calm) {
            let statuses = asked.iter().map(|signature| self.makes_up(chain, signature, random)).collect();
            return Evidence::recent(made_up_slot(chain, random), statuses);
        }
        let forgets = !calm && random.percent(20);
        let statuses = asked.iter().map(|signature| {
            let status = chain.seen(signature, lag)?;
            // What is final is in everybody's history.
            (!forgets || status.commitment == Commitment::Finalized).then_some(status)
        });
        Evidence::recent(chain.slot_before(lag), statuses.collect())
    }

    fn makes_up(
        &mut self,
        chain: &SimChain,
        signature: &Signature,
        random: &mut Random,
    ) -> Option<SignatureStatus> {
        let truth = chain.seen(signature, 0);
        let failure = |fails: bool| fails.then(|| "made up".to_owned());
        let status = match (random.below(8), truth) {
            (0, truth) => return truth,
            (1, _) => return None,
            // It ended, but otherwise, or not yet.
            (2 | 3, Some(truth)) => SignatureStatus { failure: failure(truth.failure.is_none()), ..truth },
            (4, Some(truth)) => SignatureStatus { commitment: Commitment::Finalized, ..truth },
            (_, truth) => SignatureStatus {
                slot: truth
                    .filter(|_| random.percent(50))
                    .map_or_else(|| made_up_slot(chain, random), |truth| truth.slot),
                commitment: COMMITMENTS[random.index(3)],
                failure: failure(random.percent(50)),
            },
        };
        self.made_up += u64::from(status.commitment > Commitment::Processed);
        Some(status)
    }
}

/// Long ago, now, soon, or never.
fn made_up_slot(chain: &SimChain, random: &mut Random) -> u64 {
    let now = chain.slot_before(0);
    [0, random.below(now), now, now + random.below(100), FAR - random.below(3), FAR / 2][random.index(6)]
}

/// When a slot was.
fn when(slot: u64) -> UnixMs {
    let slots = i64::try_from(slot).unwrap() - i64::try_from(START_SLOT).unwrap();
    UnixMs(START_MS + slots * i64::try_from(SLOT_MS).unwrap())
}
