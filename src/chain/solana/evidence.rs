//! Making one finding of what all endpoints say became of some transactions.
//!
//! "Unknown" decides that a transaction never landed, so it is believed only when those who must know say so, and
//! never for want of an answer.

use super::endpoint::CallError;
use crate::chain::{
    ChainError,
    settlement::{Commitment, SignatureStatus},
};

/// What one endpoint says.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// The newest slot it knows.
    pub slot: u64,
    /// For each signature asked for, in their order.
    pub statuses: Vec<Option<SignatureStatus>>,
}

/// One finding of each signature. Without a single answer as of `seen` or later, there is none.
///
/// # Errors
/// When no endpoint that has seen the slot answered.
pub(super) fn weigh(
    answers: Vec<Result<Evidence, CallError>>,
    seen: u64,
) -> Result<Vec<Option<SignatureStatus>>, ChainError> {
    let mut failure = ChainError::BadResponse("no RPC endpoint has seen the slot that was asked for");
    let mut told = Vec::new();
    for answer in answers {
        match answer {
            Ok(evidence) => told.push(evidence),
            Err(error) => failure = error.into(),
        }
    }
    if told.iter().any(|evidence| evidence.slot >= seen) { Ok(findings(&told)) } else { Err(failure) }
}

/// A status by anybody stands against those who know none, and the more certain one against the others. Where those that
/// are equally certain contradict each other, it is in some block, and no more is known than that.
pub(super) fn findings(told: &[Evidence]) -> Vec<Option<SignatureStatus>> {
    let asked = told.iter().map(|evidence| evidence.statuses.len()).max().unwrap_or(0);
    (0..asked).map(|index| finding(told, index)).collect()
}

fn finding(told: &[Evidence], index: usize) -> Option<SignatureStatus> {
    let said = || told.iter().filter_map(|evidence| evidence.statuses.get(index)?.as_ref());
    // The first of the most certain ones.
    let surest = said().rev().max_by_key(|status| status.commitment)?;
    let contradicted = said().any(|status| {
        status.commitment == surest.commitment && status.failure.is_some() != surest.failure.is_some()
    });
    let commitment = if contradicted { Commitment::Processed } else { surest.commitment };
    Some(SignatureStatus { commitment, ..surest.clone() })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{Evidence, weigh};
    use crate::chain::{
        settlement::{Commitment, SignatureStatus},
        solana::endpoint::CallError,
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

    /// What an endpoint says of two signatures; `None` when it fails.
    fn answer() -> impl Strategy<Value = Option<Evidence>> {
        let evidence = (SEEN - 2..SEEN + 2, vec(option::of(status()), 2))
            .prop_map(|(slot, statuses)| Evidence { slot, statuses });
        option::weighted(0.7, evidence)
    }

    proptest! {
        #[test]
        fn unknown_is_never_said_for_want_of_an_answer(answers in vec(answer(), 0..5)) {
            let found = weigh(
                answers.iter().cloned().map(|answer| answer.ok_or(CallError::TimedOut)).collect(),
                SEEN,
            );
            let told: Vec<&Evidence> = answers.iter().flatten().collect();
            let Ok(found) = found else { return Ok(()) };
            prop_assert!(told.iter().any(|evidence| evidence.slot >= SEEN));
            for (index, found) in found.iter().enumerate() {
                let said: Vec<_> = told.iter().filter_map(|it| it.statuses[index].as_ref()).collect();
                prop_assert_eq!(found.is_none(), said.is_empty());
                let surest = said.iter().map(|it| it.commitment).max();
                let best: Vec<_> = said.iter().filter(|it| Some(it.commitment) == surest).collect();
                let agree = best.iter().all(|it| it.failure == best[0].failure);
                let expected = if agree { surest } else { Some(Commitment::Processed) };
                prop_assert_eq!(found.as_ref().map(|found| found.commitment), expected);
                prop_assert!(found.iter().all(|found| best.iter().any(|it| it.failure == found.failure)));
            }
        }

        #[test]
        fn endpoints_that_have_not_seen_the_slot_are_not_enough(statuses in vec(option::of(status()), 2)) {
            let behind = Evidence { slot: SEEN - 1, statuses };
            prop_assert!(weigh(vec![Ok(behind), Err(CallError::TimedOut)], SEEN).is_err());
        }
    }

    #[test]
    fn a_contradiction_is_nothing_to_go_by_and_about_that_transaction_alone() {
        let status = |failure: Option<&str>| {
            Some(SignatureStatus {
                slot: 1,
                commitment: Commitment::Finalized,
                failure: failure.map(str::to_owned),
            })
        };
        let evidence = |statuses| Ok(Evidence { slot: SEEN, statuses });
        let (landed, failed) = (status(None), status(Some("no")));
        let answers = vec![
            evidence(vec![landed.clone(), None, landed.clone()]),
            evidence(vec![failed, None, landed.clone()]),
            evidence(vec![landed.clone(), None, None]),
        ];
        let found = weigh(answers, SEEN).unwrap();
        assert_eq!(found[0].as_ref().unwrap().commitment, Commitment::Processed);
        assert_eq!(found[1..], [None, landed]);
    }
}
