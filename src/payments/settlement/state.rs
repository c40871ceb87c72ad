//! A journalled settlement until it ends. Pure: what the chain said goes in, what is known then comes out.

use std::sync::Arc;

use solana_signature::Signature;

use super::{Ending, MessageHash, TermsHash};
use crate::{
    chain::settlement::{Commitment, Finality, SignatureStatus},
    clock::UnixMs,
};

/// How much of the chain's words for a failure is kept, in characters.
const MAX_REASON: usize = 200;

/// Journalled, perhaps sent, and not ended as far as anybody here knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub message: MessageHash,
    /// What it is settled for.
    pub terms: TermsHash,
    pub signature: Signature,
    /// As it is sent, each time.
    pub transaction: Arc<[u8]>,
    pub last_valid_block_height: u64,
    pub journalled_at: UnixMs,
}

/// What a settlement is after the chain has said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    InFlight(InFlight),
    Ended(Ending),
}

impl InFlight {
    /// Whether the last block it could land in is final.
    #[must_use]
    pub const fn is_dead(&self, finality: Finality) -> bool {
        finality.block_height > self.last_valid_block_height
    }

    /// The chain has it. An error is as final as a success, and neither counts below the bar.
    #[must_use]
    pub fn found(self, status: &SignatureStatus, bar: Commitment) -> Step {
        if status.commitment < bar {
            return Step::InFlight(self);
        }
        let slot = status.slot;
        Step::Ended(match &status.failure {
            None => Ending::Settled { slot },
            Some(words) => Ending::Failed { slot, reason: reason(words) },
        })
    }

    /// The chain, asked with all its history up to `finality`, does not know it.
    #[must_use]
    pub fn not_found(self, finality: Finality) -> Step {
        if self.is_dead(finality) { Step::Ended(Ending::Expired) } else { Step::InFlight(self) }
    }
}

/// Bounded, and without what a database may not hold.
fn reason(words: &str) -> String {
    words.chars().filter(|character| !character.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        Commitment, Ending, Finality, InFlight, MessageHash, Signature, SignatureStatus, Step, TermsHash,
        UnixMs,
    };

    fn in_flight() -> InFlight {
        InFlight {
            message: MessageHash([1; 32]),
            terms: TermsHash([0; 32]),
            signature: Signature::from([2; 64]),
            transaction: [3; 8].as_slice().into(),
            last_valid_block_height: 150,
            journalled_at: UnixMs(0),
        }
    }

    fn status(commitment: Commitment, failure: Option<&str>) -> SignatureStatus {
        SignatureStatus { slot: 7, commitment, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn a_confirmed_status_that_carries_an_error_is_a_failure() {
        let step =
            in_flight().found(&status(Commitment::Confirmed, Some("no\0funds")), Commitment::Confirmed);
        assert_eq!(step, Step::Ended(Ending::Failed { slot: 7, reason: "nofunds".to_owned() }));
    }

    #[test]
    fn nothing_below_the_bar_ends_it() {
        use Commitment::{Confirmed, Finalized, Processed};
        for (commitment, bar, ends) in [
            (Processed, Confirmed, false),
            (Confirmed, Confirmed, true),
            (Finalized, Confirmed, true),
            (Confirmed, Finalized, false),
            (Finalized, Finalized, true),
        ] {
            for failure in [None, Some("no funds")] {
                let step = in_flight().found(&status(commitment, failure), bar);
                assert_eq!(step != Step::InFlight(in_flight()), ends, "{commitment:?} {bar:?} {failure:?}");
            }
        }
    }

    #[test]
    fn it_may_land_in_its_last_valid_block_and_is_expired_after_it() {
        let at = |block_height| in_flight().not_found(Finality { slot: 1000, block_height });
        assert_eq!(at(149), Step::InFlight(in_flight()));
        assert_eq!(at(150), Step::InFlight(in_flight()));
        assert_eq!(at(151), Step::Ended(Ending::Expired));
    }
}
