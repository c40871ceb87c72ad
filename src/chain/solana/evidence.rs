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

/// One finding. A status by anybody stands against those who know none, and the more certain one against the others;
/// without a single answer as of `seen` or later, there is no finding.
///
/// # Errors
/// When no endpoint that has seen the slot answered, or when endpoints contradict each other about a settled
/// transaction.
pub(super) fn weigh(
    answers: Vec<Result<Evidence, CallError>>,
    seen: u64,
) -> Result<Vec<Option<SignatureStatus>>, ChainError> {
    let mut counting = 0;
    let mut failure = ChainError::BadResponse("no RPC endpoint has seen the slot that was asked for");
    let mut found: Vec<Option<SignatureStatus>> = Vec::new();
    for answer in answers {
        match answer {
            Ok(evidence) => {
                counting += usize::from(evidence.slot >= seen);
                found.resize(evidence.statuses.len(), None);
                for (best, status) in found.iter_mut().zip(evidence.statuses) {
                    *best = stronger(best.take(), status)?;
                }
            }
            Err(error) => failure = error.into(),
        }
    }
    if counting == 0 { Err(failure) } else { Ok(found) }
}

fn stronger(
    known: Option<SignatureStatus>,
    told: Option<SignatureStatus>,
) -> Result<Option<SignatureStatus>, ChainError> {
    match (known, told) {
        (Some(known), Some(told)) if known.commitment == told.commitment => {
            let settled = known.commitment > Commitment::Processed;
            if settled && known.failure.is_some() != told.failure.is_some() {
                return Err(ChainError::BadResponse("endpoints contradict each other about a transaction"));
            }
            Ok(Some(known))
        }
        (Some(known), Some(told)) => Ok(Some(if told.commitment > known.commitment { told } else { known })),
        (known, told) => Ok(known.or(told)),
    }
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
                prop_assert!(said.iter().all(|it| it.commitment <= found.as_ref().unwrap().commitment));
                prop_assert!(found.iter().all(|found| said.contains(&found)));
            }
        }

        #[test]
        fn endpoints_that_have_not_seen_the_slot_are_not_enough(statuses in vec(option::of(status()), 2)) {
            let behind = Evidence { slot: SEEN - 1, statuses };
            prop_assert!(weigh(vec![Ok(behind), Err(CallError::TimedOut)], SEEN).is_err());
        }
    }

    #[test]
    fn a_contradiction_about_a_settled_transaction_is_no_finding() {
        let evidence = |failure: Option<&str>, commitment| {
            let status = SignatureStatus { slot: 1, commitment, failure: failure.map(str::to_owned) };
            Ok(Evidence { slot: SEEN, statuses: vec![Some(status)] })
        };
        let both = |commitment| vec![evidence(None, commitment), evidence(Some("no"), commitment)];
        assert!(weigh(both(Commitment::Finalized), SEEN).is_err());
        assert!(weigh(both(Commitment::Processed), SEEN).is_ok());
    }
}
