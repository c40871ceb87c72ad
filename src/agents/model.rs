//! What an agent is.

use serde::Serialize;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::{AllowedServices, Limits};
use crate::{clock::UnixMs, ids::AgentId};

/// The best reputation there is; the worst is 0.
pub const MAX_REPUTATION: u16 = 1000;

/// A wallet that pays on somebody's behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    /// The user who registered it. Nobody else sees it.
    pub owner: String,
    pub name: String,
    /// The wallet it pays from. A user has it once.
    pub public_key: Pubkey,
    pub limits: Limits,
    /// `None`: it may pay for anything.
    pub allowed_services: Option<AllowedServices>,
    pub reputation: Reputation,
    /// The owner's own JSON object.
    pub metadata: Option<String>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

/// How an agent has behaved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reputation {
    /// 0 to [`MAX_REPUTATION`].
    pub score: u16,
    /// How many payments it has made.
    pub transaction_count: u64,
}

impl Reputation {
    #[must_use]
    pub const fn trust_level(self) -> TrustLevel {
        match self.score {
            800.. => TrustLevel::Premium,
            500.. => TrustLevel::Trusted,
            100.. => TrustLevel::Verified,
            _ => TrustLevel::New,
        }
    }
}

/// What a reputation comes to: `new` below 100, `verified` from 100, `trusted` from 500, `premium` from 800.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrustLevel {
    New,
    Verified,
    Trusted,
    Premium,
}

#[cfg(test)]
mod tests {
    use super::{Reputation, TrustLevel};

    #[test]
    fn trust_begins_at_its_thresholds() {
        let level = |score| Reputation { score, transaction_count: 0 }.trust_level();
        let edges = [
            (0, TrustLevel::New),
            (99, TrustLevel::New),
            (100, TrustLevel::Verified),
            (499, TrustLevel::Verified),
            (500, TrustLevel::Trusted),
            (799, TrustLevel::Trusted),
            (800, TrustLevel::Premium),
            (1000, TrustLevel::Premium),
        ];
        for (score, expected) in edges {
            assert_eq!(level(score), expected, "{score}");
        }
    }
}
