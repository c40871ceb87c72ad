//! Making one finding of what all endpoints say became of some transactions.
//!
//! "Unknown" decides that a transaction never landed, so it is believed only when those who must know say so, and
//! never for want of an answer. A success has the merchant deliver, and a failure has the buyer pay again: so with either one
//! endpoint is not believed against another that would know.

use std::ops::RangeInclusive;

use super::endpoint::CallError;
use crate::{
    chain::{
        ChainError,
        settlement::{Commitment, Findings, SignatureStatus},
    },
    clock::UnixMs,
};

/// What one endpoint says.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
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

/// Why an outcome that somebody tells is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// One endpoint alone tells it, and another one would know.
    Alone,
    /// Endpoints tell different ones.
    Contradicted,
}

/// What all say together.
pub(super) struct Weighed {
    pub findings: Findings,
    /// The outcomes that are held back, by their signatures' places.
    pub doubts: Vec<(usize, Doubt)>,
}

/// One finding of each signature, none of which can have landed before the slot `earliest`. Without a single answer as of
/// `seen` or later, there is none.
///
/// # Errors
/// When no endpoint that has seen the slot answered.
pub(super) fn weigh(
    answers: Vec<Result<Evidence, CallError>>,
    seen: u64,
    earliest: u64,
) -> Result<Weighed, ChainError> {
    let mut failure = ChainError::BadResponse("no RPC endpoint has seen the slot that was asked for");
    let mut told = Vec::new();
    for answer in answers {
        match answer {
            Ok(evidence) => told.push(evidence),
            Err(error) => failure = error.into(),
        }
    }
    let has_seen = || told.iter().filter(|evidence| evidence.slot >= seen);
    if has_seen().next().is_none() {
        return Err(failure);
    }
    // Where one knows nothing, nobody does: so the one that looks back the furthest says it.
    let since = has_seen().filter_map(|evidence| evidence.since).min();
    let mut weighed = findings(&told, earliest);
    weighed.findings.since = since;
    Ok(weighed)
}

/// A status by anybody stands against those who know none, and the more certain one against the others. Where that would
/// end a settlement and is not beyond doubt, the transaction is in some block, and no more is known than that.
pub(super) fn findings(told: &[Evidence], earliest: u64) -> Weighed {
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
    let status = |evidence: &Evidence| evidence.statuses.get(index).cloned().flatten();
    let said = || told.iter().filter_map(status);
    // The first of the most certain ones.
    let surest = said().rev().max_by_key(|status| status.commitment)?;
    if surest.commitment == Commitment::Processed {
        return Some((surest, None));
    }
    let contradicted = said()
        .filter(|status| status.commitment > Commitment::Processed)
        .any(|status| status.failure.is_some() != surest.failure.is_some());
    let doubt = if contradicted {
        Some(Doubt::Contradicted)
    } else {
        is_alone(told, status, &surest, earliest).then_some(Doubt::Alone)
    };
    let commitment = if doubt.is_some() { Commitment::Processed } else { surest.commitment };
    Some((SignatureStatus { commitment, ..surest }, doubt))
}

/// Whether one endpoint alone says how a transaction ended, and another one would know. A slot in which it cannot have
/// landed does not get around those whose history does not reach back to there.
fn is_alone(
    told: &[Evidence],
    status: impl Fn(&Evidence) -> Option<SignatureStatus>,
    ending: &SignatureStatus,
    earliest: u64,
) -> bool {
    let slot = ending.slot.max(earliest);
    let (mut agree, mut doubt) = (0, false);
    for evidence in told {
        match status(evidence) {
            Some(status) if status.failure.is_some() == ending.failure.is_some() => agree += 1,
            Some(_) => doubt = true,
            None => {
                doubt |= evidence.would_know.contains(&ending.slot) || evidence.would_know.contains(&slot);
            }
        }
    }
    agree < 2 && doubt
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{Doubt, Evidence, Weighed, findings, weigh};
    use crate::{
        chain::{
            settlement::{Commitment, SignatureStatus},
            solana::endpoint::CallError,
        },
        clock::UnixMs,
    };

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
        Evidence { slot, statuses, would_know: 0..=u64::MAX, since: None }
    }

    /// What an endpoint says of two signatures; `None` when it fails.
    fn answer() -> impl Strategy<Value = Option<Evidence>> {
        let evidence = (SEEN - 2..SEEN + 2, vec(option::of(status()), 2), 0..200_u64).prop_map(
            |(slot, statuses, from)| Evidence { would_know: from..=u64::MAX, ..evidence(slot, statuses) },
        );
        option::weighted(0.7, evidence)
    }

    proptest! {
        #[test]
        fn unknown_is_never_said_for_want_of_an_answer(answers in vec(answer(), 0..5), earliest in 0..200_u64) {
            let found = weigh(
                answers.iter().cloned().map(|answer| answer.ok_or(CallError::TimedOut)).collect(),
                SEEN,
                earliest,
            );
            let told: Vec<&Evidence> = answers.iter().flatten().collect();
            let Ok(Weighed { findings: found, doubts }) = found else { return Ok(()) };
            prop_assert!(told.iter().any(|evidence| evidence.slot >= SEEN));
            for (index, found) in found.statuses.iter().enumerate() {
                let said: Vec<_> = told.iter().filter_map(|it| it.statuses[index].as_ref()).collect();
                prop_assert_eq!(found.is_none(), said.is_empty());
                let is_doubted = doubts.iter().any(|(doubted, _)| *doubted == index);
                let Some(found) = found else { continue };
                let surest = said.iter().map(|it| it.commitment).max();
                let best = said.iter().filter(|it| Some(it.commitment) == surest);
                prop_assert!(best.clone().any(|it| (&it.failure, it.slot) == (&found.failure, found.slot)));
                let is_sure = found.commitment > Commitment::Processed;
                prop_assert_eq!(is_doubted, Some(found.commitment) != surest);
                prop_assert!(!is_sure || Some(found.commitment) == surest);
                let differs = |it: &&&SignatureStatus| {
                    it.commitment > Commitment::Processed && it.failure.is_some() != found.failure.is_some()
                };
                prop_assert!(!is_sure || !said.iter().any(|it| differs(&it)), "contradicted");
                let agree = said.iter().filter(|it| it.failure.is_some() == found.failure.is_some()).count();
                let doubt = told.iter().any(|it| {
                    let slots = [found.slot, found.slot.max(earliest)];
                    it.statuses[index].is_none() && slots.iter().any(|slot| it.would_know.contains(slot))
                });
                prop_assert!(!is_sure || agree > 1 || !doubt, "alone");
            }
        }

        #[test]
        fn endpoints_that_have_not_seen_the_slot_are_not_enough(statuses in vec(option::of(status()), 2)) {
            let behind = evidence(SEEN - 1, statuses);
            prop_assert!(weigh(vec![Ok(behind), Err(CallError::TimedOut)], SEEN, 0).is_err());
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
        let answers = answers.map(|statuses| Ok(evidence(SEEN, statuses)));
        let Weighed { findings: found, doubts } = weigh(answers.into(), SEEN, 0).unwrap();
        assert_eq!(found.statuses[0].as_ref().unwrap().commitment, Commitment::Processed);
        assert_eq!(found.statuses[1..], [None, landed]);
        assert_eq!(doubts, [(0, Doubt::Contradicted)]);
    }

    #[test]
    fn who_is_surer_is_not_believed_against_who_is_sure_enough() {
        use Commitment::{Confirmed, Finalized, Processed};
        for (one, other, expected) in [
            (said(Finalized, Some("no")), said(Confirmed, None), Processed),
            (said(Finalized, None), said(Confirmed, Some("no")), Processed),
            (said(Finalized, Some("no")), said(Processed, None), Processed),
            (said(Finalized, Some("no")), said(Processed, Some("no")), Finalized),
            (said(Finalized, None), said(Processed, None), Finalized),
        ] {
            let told = [&one, &other].map(|said| evidence(SEEN, vec![Some(said.clone())]));
            assert_eq!(commitment(&told, 0), expected, "{one:?} {other:?}");
        }
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
        let reaching = |slot, since| Ok(Evidence { since, ..evidence(slot, vec![None]) });
        let answers = vec![
            reaching(SEEN, None),
            reaching(SEEN, Some(UnixMs(7))),
            reaching(SEEN, Some(UnixMs(5))),
            // It has not seen the slot.
            reaching(SEEN - 1, Some(UnixMs(3))),
        ];
        assert_eq!(weigh(answers, SEEN, 0).unwrap().findings.since, Some(UnixMs(5)));
    }
}
