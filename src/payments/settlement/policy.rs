//! How long things take and how many there may be.

use std::time::Duration;

use super::WITHOUT_KEY;
use crate::{chain::settlement::Commitment, shutdown::DRAIN_TIMEOUT};

/// The most that transaction fees may cost on a UTC day, in lamports. `None`: no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub per_key_lamports: Option<u64>,
    pub total_lamports: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Policy {
    /// From where on a transaction has landed.
    pub bar: Commitment,
    /// For how long after its journal entry no settlement is given up, whatever heights the chain tells. By then a
    /// blockhash is dead as a rule, so that a node that lies about heights does no harm unless blocks are slow as well.
    pub least_life: Duration,
    /// For how long one that is that old by the wall's clock is sent and looked for here before it is given up: other
    /// instances' clocks may be wrong.
    pub least_watch: Duration,
    pub caps: Caps,
    /// As [`Caps::per_key_lamports`], for all callers without a key together: they are anybody, and must not use up what
    /// those with one need.
    pub without_key_lamports: Option<u64>,
    /// A request gets an answer within this: clients give up after 30 seconds.
    pub answer_within: Duration,
    /// How long a claim keeps its twins away while it is verified.
    pub claim_lease: Duration,
    /// How long a journalled settlement is left to an instance that does not renew its lease.
    pub lease: Duration,
    /// Between two looks at what is in flight.
    pub poll_every: Duration,
    /// Between two searches of all history, which cost endpoints the most.
    pub history_every: Duration,
    /// Between two sends of the same bytes.
    pub send_every: Duration,
    /// Between two questions for the last final block.
    pub finality_every: Duration,
    /// Between two looks for what others left behind.
    pub take_over_every: Duration,
    /// Between two looks at what somebody else is settling.
    pub wait_every: Duration,
    /// Before what failed is tried again.
    pub retry_after: Duration,
    /// When an effect whose outcome never came is given up.
    pub effect_patience: Duration,
    /// When what is still in flight at shutdown is left to others.
    pub hand_over_after: Duration,
    /// How many requests wait for an answer, at most. Further ones are told to come back.
    pub max_requests: usize,
    /// How many settlements this instance has in flight, at most.
    pub max_in_flight: usize,
    /// How many of them are being sent at the same moment, at most.
    pub max_sends: usize,
    /// How many of them are being ended in the database at the same moment, at most.
    pub max_finishes: usize,
    /// How many the chain is asked about at once, which is 256 at most.
    pub status_batch: usize,
    /// How many leases are renewed at once, which is 256 at most.
    pub renew_batch: usize,
    /// How many are taken over at once.
    pub take_over_batch: usize,
}

impl Policy {
    #[must_use]
    pub const fn new(caps: Caps) -> Self {
        Self {
            bar: Commitment::Confirmed,
            // 150 blocks until a blockhash is dead and 32 until that is final, of 400 ms each when all goes well: 73 s.
            least_life: Duration::from_mins(2),
            least_watch: Duration::from_secs(5),
            caps,
            without_key_lamports: None,
            answer_within: Duration::from_secs(25),
            claim_lease: Duration::from_secs(15),
            // With the look for what is left behind, half of what a client waits: who asks again after a crash hears the
            // outcome, and not that it is pending still.
            lease: Duration::from_secs(10),
            poll_every: Duration::from_millis(500),
            history_every: Duration::from_secs(5),
            send_every: Duration::from_secs(2),
            finality_every: Duration::from_secs(2),
            take_over_every: Duration::from_secs(2),
            wait_every: Duration::from_millis(500),
            retry_after: Duration::from_secs(1),
            effect_patience: Duration::from_secs(30),
            // Early enough to tell the database so.
            hand_over_after: DRAIN_TIMEOUT.saturating_sub(Duration::from_secs(3)),
            max_requests: 1024,
            max_in_flight: 4096,
            max_sends: 64,
            // Half of the connections to the database.
            max_finishes: 8,
            status_batch: 256,
            renew_batch: 256,
            take_over_batch: 64,
        }
    }

    /// What a payment asked for with this key is held against.
    pub(super) fn caps_of(&self, key_id: Option<&str>) -> Caps {
        match key_id {
            Some(WITHOUT_KEY) => Caps { per_key_lamports: self.without_key_lamports, ..self.caps },
            _ => self.caps,
        }
    }
}
