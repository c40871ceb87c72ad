//! Where this service answers otherwise than the reference facilitator, and why.

use pay402::chain::solana::rules::Version;

use super::{kinds::Kind, reference::Verdict};

pub struct Choice {
    pub name: &'static str,
    pub kinds: &'static [&'static str],
    /// `None` for both.
    pub version: Option<Version>,
    /// A reason without its prefix, or `valid`, or `thrown`.
    pub ours: &'static str,
    pub theirs: &'static str,
}

/// The prefixes of reasons.
const PREFIXES: [&str; 2] = ["invalid_exact_svm_payload_", "invalid_exact_svm_"];

fn short(verdict: &Verdict) -> String {
    let text = verdict.to_string();
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text).to_owned()
}

impl Choice {
    pub fn explains(&self, kind: &Kind, version: Version, ours: &Verdict, theirs: &Verdict) -> bool {
        self.kinds.contains(&kind.name)
            && self.version.is_none_or(|only| only == version)
            && short(ours) == self.ours
            && short(theirs).split(':').next() == Some(self.theirs)
    }
}

pub const CHOICES: &[Choice] = &[];
