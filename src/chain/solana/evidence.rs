//! Making one finding of what all endpoints say became of some transactions.
//!
//! "Unknown" decides that a transaction never landed, so it is believed only when those who must know say so, and
//! never for want of an answer. A success has the merchant deliver, and a failure has the buyer pay again: so with either one
//! endpoint is not believed against another that would know. Pure: who is asked, and how, is for `statuses` and `settlement`.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    chain::{
        ChainError,
        settlement::{Commitment, Finality, Findings, SignatureStatus},
    },
    clock::UnixMs,
};

/// How far the chain's clock and this machine's may be apart.
pub(super) const CLOCKS_APART: Duration = Duration::from_mins(10);
/// A slot takes no less: half of what it takes today.
const MIN_SLOT_MS: u128 = 200;
/// How many slots an endpoint is held to know of that does not tell where its history begins: a day's.
const KNOWN_SLOTS: u64 = 216_000;

/// What one endpoint says.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The newest slot it knows.
    pub slot: u64,
    /// For each signature asked for, in their order.
    pub statuses: Vec<Option<SignatureStatus>>,
    /// It would know a transaction that landed in one of these slots. That it does not know one that is said to be there
    /// speaks against that.
    pub would_know: RangeInclusive<u64>,
    /// It would know one that landed at this time or later, where it can tell.
    pub since: Option<UnixMs>,
}

impl Evidence {
    /// Of the recent past, of which everybody would know everything.
    #[must_use]
    pub const fn recent(slot: u64, statuses: Vec<Option<SignatureStatus>>) -> Self {
        Self { slot, statuses, would_know: 0..=u64::MAX, since: None }
    }

    /// Of one that has given no answer, and may give one soon: for all that is known, it would know everything.
    #[must_use]
    pub const fn yet_to_be_told() -> Self {
        Self::recent(0, Vec::new())
    }

    /// Of one that hears of no new slot, or says that it is catching up: it knows of no new transaction either.
    #[must_use]
    pub fn of_one_behind(self) -> Self {
        Self { would_know: 0..=self.slot, ..self }
    }

    /// Of all history up to `seen`: what is sought has landed by then, or never.
    #[must_use]
    pub fn as_of(self, seen: u64) -> Self {
        if self.slot >= seen { self } else { self.of_one_behind() }
    }

    /// The first slot that is in its history, and from when on what landed is, where it can tell.
    #[must_use]
    pub fn with_history(self, beginning: Option<(u64, Option<UnixMs>)>) -> Self {
        let (first, since) = beginning.unwrap_or((self.slot.saturating_sub(KNOWN_SLOTS), None));
        Self { would_know: first..=*self.would_know.end(), since, ..self }
    }

    /// Whether another one knows more of a transaction.
    #[must_use]
    pub fn knows_less(&self, told: &[Self]) -> bool {
        let how_sure = |it: &Self, index: usize| it.status(index).map(|status| status.commitment);
        let knows_less = |index| told.iter().any(|other| how_sure(other, index) > how_sure(self, index));
        (0..self.statuses.len()).any(knows_less)
    }
}

/// Of what one endpoint says of the recent past, the places in which others are to be heard: where it would end a
/// settlement, and in a `thorough` look everywhere.
#[must_use]
pub fn needs_others(first: &Evidence, thorough: bool) -> Vec<usize> {
    let ends = |status: &SignatureStatus| status.commitment > Commitment::Processed;
    let statuses = first.statuses.iter().enumerate();
    let needing = statuses.filter(|(_, status)| thorough || status.as_ref().is_some_and(ends));
    needing.map(|(index, _)| index).collect()
}

/// Whether two say the same of every transaction, so that a third need not be waited for.
#[must_use]
pub fn are_agreed(told: &[Evidence]) -> bool {
    let [first, others @ ..] = told else { return false };
    let agree = |index: usize, said: &SignatureStatus| {
        let mut others = others.iter().filter_map(|other| other.status(index));
        // Where the first one is not sure, two of the others may be.
        said.commitment > Commitment::Processed && others.any(|other| vouches(other, said))
    };
    let mut statuses = first.statuses.iter().enumerate();
    statuses.all(|(index, status)| status.as_ref().is_some_and(|said| agree(index, said)))
}

/// What is that old when `seen` has been seen has not landed before this slot.
#[must_use]
pub fn earliest_slot(seen: u64, age: Duration) -> u64 {
    let slots = age.saturating_add(CLOCKS_APART).as_millis() / MIN_SLOT_MS;
    seen.saturating_sub(u64::try_from(slots).unwrap_or(u64::MAX))
}

/// Of the last valid heights that endpoints tell, at least one: too low a one would have a payment given up that can still
/// land. So it is the middle one, the higher one of two.
#[must_use]
pub fn last_valid_of(mut heights: Vec<u64>) -> u64 {
    heights.sort_unstable();
    heights[heights.len() / 2]
}

/// Of the final blocks that endpoints tell, at least one: too high a one would do the same harm, so here it is the lower one
/// of two. Their slots are held against each other apart from that: who names a height that is likely, and a slot that
/// nobody else has seen, would be the only one to know what landed by then.
#[must_use]
pub fn finality_of(told: &[Finality]) -> Finality {
    let middle = |of: fn(&Finality) -> u64| {
        let mut told: Vec<u64> = told.iter().map(of).collect();
        told.sort_unstable();
        told[(told.len() - 1) / 2]
    };
    Finality { slot: middle(|told| told.slot), block_height: middle(|told| told.block_height) }
}

/// Why an outcome that somebody tells is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// One endpoint alone tells it, and another one would know.
    Alone,
    /// Endpoints tell different ones.
    Contradicted,
}

/// What all say together.
#[derive(Debug)]
pub struct Weighed {
    pub findings: Findings,
    /// The outcomes that are held back, by their signatures' places.
    pub doubts: Vec<(usize, Doubt)>,
}

/// One finding of each signature, none of which can have landed before the slot `earliest`. Without a single
/// answer as of `seen` or later, there is none. Of whom there is `None` an answer may come soon: until then nobody is
/// believed alone, and what nobody knows may be known all the same.
///
/// # Errors
/// When no endpoint that has seen the slot answered.
pub fn weigh(
    answers: Vec<Result<Option<Evidence>, ChainError>>,
    seen: u64,
    earliest: u64,
) -> Result<Weighed, ChainError> {
    let mut failure = ChainError::BadResponse("no RPC endpoint has seen the slot that was asked for");
    let (mut told, mut silent) = (Vec::new(), 0);
    for answer in answers {
        match answer {
            Ok(Some(evidence)) => told.push(evidence),
            Ok(None) => silent += 1,
            Err(error) => failure = error,
        }
    }
    let has_seen = || told.iter().filter(|evidence| evidence.slot >= seen);
    if has_seen().next().is_none() {
        return Err(failure);
    }
    // Where one knows nothing, nobody does: so the one that looks back the furthest says it.
    let since = has_seen().filter_map(|evidence| evidence.since).min().filter(|_| silent == 0);
    told.extend((0..silent).map(|_| Evidence::yet_to_be_told()));
    let mut weighed = findings(&told, earliest);
    weighed.findings.since = since;
    Ok(weighed)
}

/// A status by anybody stands against those who know none. But what would end a settlement counts as far as two are as sure of
/// it, or nobody else would know: beyond that the transaction is in some block, and no more is known.
#[must_use]
pub fn findings(told: &[Evidence], earliest: u64) -> Weighed {
    let asked = told.iter().map(|evidence| evidence.statuses.len()).max().unwrap_or(0);
    let (mut statuses, mut doubts) = (Vec::with_capacity(asked), Vec::new());
    for index in 0..asked {
        let found = finding(told, index, earliest);
        doubts.extend(found.as_ref().and_then(|(_, doubt)| doubt.map(|doubt| (index, doubt))));
        statuses.push(found.map(|(status, _)| status));
    }
    Weighed { findings: Findings { statuses, since: None }, doubts }
}

fn finding(told: &[Evidence], index: usize, earliest: u64) -> Option<(SignatureStatus, Option<Doubt>)> {
    let said = || told.iter().filter_map(|evidence| evidence.status(index));
    // The first of the most certain ones.
    let surest = said().rev().max_by_key(|status| status.commitment)?;
    if surest.commitment == Commitment::Processed {
        return Some((surest.clone(), None));
    }
    let held_back = SignatureStatus { commitment: Commitment::Processed, ..surest.clone() };
    let contradicts = |status: &SignatureStatus| {
        status.commitment > Commitment::Processed && status.failure.is_some() != surest.failure.is_some()
    };
    if said().any(contradicts) {
        return Some((held_back, Some(Doubt::Contradicted)));
    }
    for commitment in [Commitment::Finalized, Commitment::Confirmed] {
        let mut as_sure = said().filter(|status| status.commitment >= commitment);
        let believed = as_sure.find(|status| {
            let ending = SignatureStatus { commitment, ..(*status).clone() };
            let agree = said().filter(|other| vouches(other, &ending)).count();
            agree > 1 || !told.iter().any(|evidence| evidence.speaks_against(index, &ending, earliest))
        });
        if let Some(status) = believed {
            return Some((SignatureStatus { commitment, ..status.clone() }, None));
        }
    }
    Some((held_back, Some(Doubt::Alone)))
}

/// Whether who says the one thing says the other, and is as sure of it. In different slots they are different things.
fn vouches(status: &SignatureStatus, ending: &SignatureStatus) -> bool {
    let tells = |it: &SignatureStatus| (it.failure.is_some(), it.slot);
    tells(status) == tells(ending) && status.commitment >= ending.commitment
}

impl Evidence {
    fn status(&self, index: usize) -> Option<&SignatureStatus> {
        self.statuses.get(index)?.as_ref()
    }

    /// Whether who says this would know of such an ending, and does not say the same. A slot in which it cannot have landed does
    /// not get around those whose history does not reach back to there.
    fn speaks_against(&self, index: usize, ending: &SignatureStatus, earliest: u64) -> bool {
        match self.status(index) {
            Some(status) if vouches(status, ending) => false,
            Some(status) => {
                let is_up_to_date = *self.would_know.end() == u64::MAX;
                is_up_to_date || status.failure.is_some() != ending.failure.is_some()
            }
            None => {
                self.would_know.contains(&ending.slot) || self.would_know.contains(&ending.slot.max(earliest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{Doubt, Evidence, Weighed, are_agreed, findings, weigh};
    use crate::{
        chain::{
            ChainError,
            settlement::{Commitment, SignatureStatus},
        },
        clock::UnixMs,
    };

    const NO_ANSWER: ChainError = ChainError::BadResponse("none");

    const SEEN: u64 = 100;
    const COMMITMENTS: [Commitment; 3] =
        [Commitment::Processed, Commitment::Confirmed, Commitment::Finalized];

    fn status() -> impl Strategy<Value = SignatureStatus> {
        (0..200_u64, 0..3_usize, any::<bool>()).prop_map(|(slot, commitment, failed)| SignatureStatus {
            slot,
            commitment: COMMITMENTS[commitment],
            failure: failed.then(|| "failed".to_owned()),
        })
    }

    fn evidence(slot: u64, statuses: Vec<Option<SignatureStatus>>) -> Evidence {
        Evidence::recent(slot, statuses)
    }

    /// What an endpoint says of two signatures; `None` when it fails, and in that when it may say something soon.
    fn answer() -> impl Strategy<Value = Option<Option<Evidence>>> {
        let evidence = (SEEN - 2..SEEN + 2, vec(option::of(status()), 2), 0..200_u64).prop_map(
            |(slot, statuses, from)| Evidence { would_know: from..=u64::MAX, ..evidence(slot, statuses) },
        );
        option::weighted(0.8, option::weighted(0.9, evidence))
    }

    proptest! {
        #[test]
        fn unknown_is_never_said_for_want_of_an_answer(answers in vec(answer(), 0..5), earliest in 0..200_u64) {
            let found = weigh(
                answers.iter().cloned().map(|answer| answer.ok_or(NO_ANSWER)).collect(),
                SEEN,
                earliest,
            );
            let told: Vec<&Evidence> = answers.iter().flatten().flatten().collect();
            let Ok(Weighed { findings: found, doubts }) = found else { return Ok(()) };
            let is_silent = answers.iter().any(|answer| matches!(answer, Some(None)));
            prop_assert!(found.since.is_none() || !is_silent);
            prop_assert!(told.iter().any(|evidence| evidence.slot >= SEEN));
            for (index, found) in found.statuses.iter().enumerate() {
                let said: Vec<_> = told.iter().filter_map(|it| it.statuses[index].as_ref()).collect();
                prop_assert_eq!(found.is_none(), said.is_empty());
                let is_doubted = doubts.iter().any(|(doubted, _)| *doubted == index);
                let Some(found) = found else { continue };
                let surest = said.iter().map(|it| it.commitment).max().unwrap();
                let says_so = |it: &&&SignatureStatus| {
                    (&it.failure, it.slot) == (&found.failure, found.slot) && it.commitment >= found.commitment
                };
                let agree = said.iter().filter(says_so).count();
                prop_assert!(agree > 0);
                let is_sure = found.commitment > Commitment::Processed;
                prop_assert_eq!(is_doubted, !is_sure && surest > Commitment::Processed);
                let differs = |it: &&&SignatureStatus| {
                    it.commitment > Commitment::Processed && it.failure.is_some() != found.failure.is_some()
                };
                prop_assert!(!is_sure || !said.iter().any(|it| differs(&it)), "contradicted");
                let doubt = told.iter().any(|it| {
                    let slots = [found.slot, found.slot.max(earliest)];
                    match &it.statuses[index] {
                        None => slots.iter().any(|slot| it.would_know.contains(slot)),
                        // Everybody is up to date here.
                        Some(status) => !says_so(&&status),
                    }
                });
                prop_assert!(!is_sure || agree > 1 || !doubt && !is_silent, "alone");
            }
        }

        #[test]
        fn endpoints_that_have_not_seen_the_slot_are_not_enough(statuses in vec(option::of(status()), 2)) {
            let behind = evidence(SEEN - 1, statuses);
            for other in [Err(NO_ANSWER), Ok(None)] {
                prop_assert!(weigh(vec![Ok(Some(behind.clone())), other], SEEN, 0).is_err());
            }
        }
    }

    /// Of the first signature.
    fn commitment(told: &[Evidence], earliest: u64) -> Commitment {
        findings(told, earliest).findings.statuses[0].as_ref().unwrap().commitment
    }

    fn said(commitment: Commitment, failure: Option<&str>) -> SignatureStatus {
        SignatureStatus { slot: 1, commitment, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn a_contradiction_is_nothing_to_go_by_and_about_that_transaction_alone() {
        let landed = Some(said(Commitment::Finalized, None));
        let failed = Some(said(Commitment::Finalized, Some("no")));
        let answers = [
            vec![landed.clone(), None, landed.clone()],
            vec![failed, None, landed.clone()],
            vec![landed.clone(), None, None],
        ];
        let answers = answers.map(|statuses| Ok(Some(evidence(SEEN, statuses))));
        let Weighed { findings: found, doubts } = weigh(answers.into(), SEEN, 0).unwrap();
        assert_eq!(found.statuses[0].as_ref().unwrap().commitment, Commitment::Processed);
        assert_eq!(found.statuses[1..], [None, landed]);
        assert_eq!(doubts, [(0, Doubt::Contradicted)]);
    }

    /// In a block that is only processed it may yet be lost.
    #[test]
    fn who_is_surer_is_believed_as_far_as_another_one_is() {
        use Commitment::{Confirmed, Finalized, Processed};
        for (one, other, expected) in [
            (said(Finalized, Some("no")), said(Confirmed, None), Processed),
            (said(Finalized, None), said(Confirmed, Some("no")), Processed),
            (said(Finalized, Some("no")), said(Processed, None), Processed),
            (said(Finalized, Some("no")), said(Processed, Some("no")), Processed),
            (said(Finalized, None), said(Processed, None), Processed),
            (said(Confirmed, None), said(Processed, None), Processed),
            (said(Finalized, None), said(Confirmed, None), Confirmed),
            (said(Confirmed, None), said(Finalized, None), Confirmed),
            (said(Finalized, None), said(Finalized, None), Finalized),
        ] {
            let told = [&one, &other].map(|said| evidence(SEEN, vec![Some(said.clone())]));
            assert_eq!(commitment(&told, 0), expected, "{one:?} {other:?}");
            assert_eq!(findings(&told, 0).doubts.is_empty(), expected > Processed);
            // Unless that one is behind, and would not know.
            let [surer, behind] = told;
            let is_same = one.failure == other.failure;
            let expected = if is_same { one.commitment.max(expected) } else { Processed };
            assert_eq!(commitment(&[surer, behind.of_one_behind()], 0), expected, "{one:?} {other:?}");
        }
    }

    /// Whoever makes a slot up does not bring it into the books.
    #[test]
    fn one_alone_does_not_say_in_which_slot_it_landed() {
        let landed = said(Commitment::Confirmed, None);
        let elsewhere = SignatureStatus { slot: 9, ..said(Commitment::Finalized, None) };
        let told = |statuses: &[&SignatureStatus]| {
            let told = statuses.iter().map(|status| evidence(SEEN, vec![Some((*status).clone())]));
            let Weighed { findings: found, doubts } = findings(&told.collect::<Vec<_>>(), 0);
            (found.statuses[0].clone().unwrap(), doubts.is_empty())
        };
        assert_eq!(told(&[&elsewhere, &landed, &landed]), (landed.clone(), true));
        let (held_back, believed) = told(&[&elsewhere, &landed]);
        assert_eq!((held_back.commitment, believed), (Commitment::Processed, false));
    }

    #[test]
    fn one_alone_is_believed_only_where_nobody_else_would_know() {
        let success = evidence(SEEN, vec![Some(said(Commitment::Finalized, None))]);
        let failure = evidence(SEEN, vec![Some(said(Commitment::Finalized, Some("no")))]);
        let ignorant = |would_know| Evidence { would_know, ..evidence(SEEN, vec![None]) };
        for (told, expected) in [
            (vec![success.clone()], Commitment::Finalized),
            (vec![success.clone(), ignorant(0..=9)], Commitment::Processed),
            (vec![success.clone(), ignorant(2..=9)], Commitment::Finalized),
            (vec![success.clone(), ignorant(0..=0)], Commitment::Finalized),
            (vec![success.clone(), ignorant(0..=9), success], Commitment::Finalized),
            (vec![failure.clone(), ignorant(0..=9)], Commitment::Processed),
            (vec![failure, ignorant(2..=9)], Commitment::Finalized),
        ] {
            assert_eq!(commitment(&told, 0), expected, "{told:?}");
            let is_doubted = findings(&told, 0).doubts == [(0, Doubt::Alone)];
            assert_eq!(is_doubted, expected == Commitment::Processed);
        }
    }

    /// Whoever makes a success up may name a slot of which nobody else knows anything any more.
    #[test]
    fn a_slot_before_it_can_have_landed_is_not_what_others_are_asked_about() {
        let success = evidence(SEEN, vec![Some(said(Commitment::Finalized, None))]);
        let pruned = Evidence { would_know: 50..=u64::MAX, ..evidence(SEEN, vec![None]) };
        for (earliest, expected) in
            [(0, Commitment::Finalized), (49, Commitment::Finalized), (50, Commitment::Processed)]
        {
            let told = [success.clone(), pruned.clone()];
            assert_eq!(commitment(&told, earliest), expected, "{earliest}");
        }
        // Nor does it spare those who know of the slot that is named.
        let behind = Evidence { would_know: 0..=49, ..evidence(SEEN, vec![None]) };
        assert_eq!(commitment(&[success, behind], 50), Commitment::Processed);
    }

    #[test]
    fn the_history_that_reaches_back_the_furthest_counts() {
        let reaching = |slot, since| Ok(Some(Evidence { since, ..evidence(slot, vec![None]) }));
        let told = || {
            vec![
                reaching(SEEN, None),
                reaching(SEEN, Some(UnixMs(7))),
                reaching(SEEN, Some(UnixMs(5))),
                // It has not seen the slot.
                reaching(SEEN - 1, Some(UnixMs(3))),
            ]
        };
        let since = |answers| weigh(answers, SEEN, 0).unwrap().findings.since;
        assert_eq!(since(told()), Some(UnixMs(5)));
        // Nor does it, while another one may yet say that it knows more.
        let silent = told().into_iter().chain([Ok(None)]).collect();
        assert_eq!(since(silent), None);
    }

    #[test]
    fn nobody_is_believed_alone_while_another_one_may_answer_soon() {
        let told = |ends: usize, silent: usize| {
            let ending = || evidence(SEEN, vec![Some(said(Commitment::Finalized, None))]);
            let answers = (0..ends).map(|_| Ok(Some(ending()))).chain((0..silent).map(|_| Ok(None)));
            weigh(answers.collect(), SEEN, 0).unwrap()
        };
        assert_eq!(told(1, 1).doubts, [(0, Doubt::Alone)]);
        assert_eq!(told(1, 0).doubts, []);
        assert_eq!(told(2, 1).doubts, []);
    }

    /// While the first one does not say that it is sure, two others may.
    #[test]
    fn two_agree_only_on_what_ends_it() {
        use Commitment::{Confirmed, Processed};
        let agreed = |commitments: &[Commitment]| {
            let told = commitments.iter().map(|it| evidence(SEEN, vec![Some(said(*it, None))]));
            are_agreed(&told.collect::<Vec<_>>())
        };
        assert!(!agreed(&[Processed, Confirmed]) && !agreed(&[Processed, Processed]));
        assert!(!agreed(&[Confirmed]) && !agreed(&[Confirmed, Processed]));
        assert!(agreed(&[Confirmed, Confirmed]) && agreed(&[Confirmed, Processed, Confirmed]));
    }
}
