//! Where this service answers otherwise than the reference facilitator, one by one, and why.

use pay402::chain::solana::rules::Version;

use super::{kinds::Kind, reference::Verdict};

/// Reasons are without their prefixes.
pub struct Choice {
    pub kinds: &'static [&'static str],
    pub versions: &'static [Version],
    pub ours: &'static str,
    pub theirs: &'static str,
    pub why: &'static str,
}

const PREFIXES: [&str; 2] = ["invalid_exact_svm_payload_", "invalid_exact_svm_"];

/// The reason without its prefix, and without the details that some of the reference's carry.
fn short(verdict: &Verdict) -> String {
    let text = verdict.to_string();
    let reason = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text);
    reason.split(':').next().unwrap_or_default().to_owned()
}

impl Choice {
    pub fn explains(&self, kind: &Kind, version: Version, ours: &Verdict, theirs: &Verdict) -> bool {
        self.kinds.contains(&kind.name)
            && self.versions.contains(&version)
            && (short(ours).as_str(), short(theirs).as_str()) == (self.ours, self.theirs)
    }

    /// Whether this service refuses what the reference takes, for this reason.
    pub fn is_stricter(&self, ours: &Verdict) -> bool {
        let (listed, ours) = (self.ours, short(ours));
        // The place differs from case to case.
        let unknown = |reason: &str| reason.starts_with("unknown_");
        self.theirs == "valid" && (listed == ours || unknown(listed) && unknown(&ours))
    }
}

const BOTH: &[Version] = &Version::ALL;
const V1: &[Version] = &[Version::V1];
const V2: &[Version] = &[Version::V2];

const UNDECODABLE: &str = "transaction_could_not_be_decoded";
const FAILS: &str = "transaction_simulation_failed";
const LENT: &str = "transaction_fee_payer_included_in_instruction_accounts";

macro_rules! choice {
    ($kinds:expr, $versions:expr, $ours:expr, $theirs:expr, $why:expr) => {
        Choice { kinds: &$kinds, versions: $versions, ours: $ours, theirs: $theirs, why: $why }
    };
}

const WHAT_IS_SERVED: &str = "what is not served is told by a reason: the reference leaves it to its host";
const MALFORMED: &str =
    "a field that is missing, or is not what its name says, makes the request malformed: 400";
const STRICT_AMOUNTS: &str =
    "an amount has one spelling, which is digits; and a request whose amount has none is malformed";
const SANE: &str =
    "a transaction that contradicts itself is no transaction, whatever the chain would say of it";
const NO_LOOKUPS: &str = "lookup tables are refused: what they hold is known to the chain alone";
const GUARDS: &str =
    "wallet guards are known by what they are, before and after the transfer, and are counted apart";
const ONE_BUDGET: &str = "one limit and one price, wherever a second one stands";
const NOT_LENT: &str = "a fee payer of this service is in no instruction's accounts, guards excepted";
const BYTE_FOR_BYTE: &str = "the memo is compared byte for byte, not as the text that a decoder makes of it";

pub const CHOICES: &[Choice] = &[
    choice!(["another scheme in the requirements"], BOTH, "unsupported_scheme", "thrown", WHAT_IS_SERVED),
    choice!(
        ["another network in the requirements", "another network in both"],
        BOTH,
        "network_mismatch",
        "thrown",
        WHAT_IS_SERVED
    ),
    choice!(["an asset that is no key"], BOTH, "invalid_payload", "mint_mismatch", MALFORMED),
    choice!(["a recipient that is no key"], BOTH, "invalid_payload", "recipient_mismatch", MALFORMED),
    choice!(
        ["no transaction", "no payload", "a transaction that is no string", "an empty text"],
        BOTH,
        "invalid_payload",
        UNDECODABLE,
        MALFORMED
    ),
    choice!(
        ["no scheme and no network in the payload"],
        V1,
        "invalid_payload",
        "unsupported_scheme",
        MALFORMED
    ),
    choice!(["no scheme and no network in the payload"], V2, "invalid_payload", "thrown", MALFORMED),
    choice!(
        [
            "the right amount in hexadecimal",
            "the right amount with zeros in front",
            "the right amount with spaces",
        ],
        BOTH,
        "invalid_payload",
        "valid",
        STRICT_AMOUNTS
    ),
    choice!(["an amount that is no number"], BOTH, "invalid_payload", "thrown", STRICT_AMOUNTS),
    choice!(
        ["more than can be asked", "an empty amount", "a negative amount"],
        BOTH,
        "invalid_payload",
        "amount_mismatch",
        STRICT_AMOUNTS
    ),
    choice!(
        ["nothing for nothing"],
        BOTH,
        "invalid_payload",
        "valid",
        "the books hold payments, and nothing is none: it would cost the fee payer its fee all the same"
    ),
    choice!(
        ["more than the books can hold"],
        BOTH,
        "invalid_payload",
        FAILS,
        "the books hold up to 2^63 - 1 atomic units, as their databases count"
    ),
    choice!(
        ["base64 without padding"],
        BOTH,
        UNDECODABLE,
        FAILS,
        "the same bytes are one text: standard base64 with its padding, as clients write it"
    ),
    choice!(
        ["trailing bytes"],
        BOTH,
        UNDECODABLE,
        "signature_invalid",
        "what follows a transaction's last byte is part of none: the bytes are wrong, not the signature"
    ),
    choice!(
        ["more bytes than a packet holds"],
        BOTH,
        UNDECODABLE,
        FAILS,
        "what no packet holds is refused before it is sent anywhere"
    ),
    choice!(
        ["transaction version 1"],
        BOTH,
        "unsupported_transaction_version",
        UNDECODABLE,
        "its budget is where rules 11 and 12 do not look: it is refused first, by a reason of its own"
    ),
    choice!(
        [
            "an account index out of range",
            "an account key twice",
            "no required signatures",
            "a fee payer that is read-only",
            "more read-only accounts than there are",
        ],
        BOTH,
        UNDECODABLE,
        FAILS,
        SANE
    ),
    choice!(["the fee payer as a program"], BOTH, UNDECODABLE, "unknown_fourth_instruction", SANE),
    choice!(
        ["three signers"],
        V1,
        UNDECODABLE,
        "valid",
        "each signature costs the fee payer; the reference bounds them in version 2 alone, and version 1 has no reason"
    ),
    choice!(["an unknown lookup table"], V2, UNDECODABLE, "smart_wallet_alt_resolution_failed", NO_LOOKUPS),
    choice!(["the destination from a lookup table"], V2, UNDECODABLE, "valid", NO_LOOKUPS),
    choice!(
        ["guards around, as Phantom adds them", "more guards than there may be instructions"],
        BOTH,
        "valid",
        "transaction_instructions_length",
        GUARDS
    ),
    choice!(
        ["the limit twice"],
        BOTH,
        "transaction_instructions_compute_limit_instruction",
        "unknown_fourth_instruction",
        ONE_BUDGET
    ),
    choice!(
        ["the price twice"],
        BOTH,
        "transaction_instructions_compute_price_instruction",
        "unknown_fourth_instruction",
        ONE_BUDGET
    ),
    choice!(
        ["more than the highest limit"],
        V1,
        "transaction_instructions_compute_limit_instruction_too_high",
        "valid",
        "compute units are capped in both versions, the reference caps them in version 2 alone"
    ),
    choice!(
        ["a priority fee that is too high"],
        BOTH,
        "transaction_instructions_compute_price_instruction_too_high",
        "valid",
        "limit and price are capped together too: the product is what the fee payer pays"
    ),
    choice!(
        [
            "the fee payer lent to the compute budget",
            "the fee payer behind the transfer's accounts",
            "the fee payer signs a memo",
        ],
        BOTH,
        LENT,
        "valid",
        NOT_LENT
    ),
    choice!(["the fee payer as the source"], BOTH, LENT, FAILS, NOT_LENT),
    choice!(
        ["Lighthouse writes memory"],
        BOTH,
        "unknown_fourth_instruction",
        "valid",
        "MemoryWrite and MemoryClose move rent: of Lighthouse only assertions are accepted"
    ),
    choice!(
        ["to oneself"],
        BOTH,
        "recipient_mismatch",
        "valid",
        "a transfer from an account to itself moves nothing"
    ),
    choice!(
        ["the recipient's own money"],
        BOTH,
        "recipient_mismatch",
        "valid",
        "a transfer between two accounts of the recipient's leaves it with what it had"
    ),
    choice!(
        ["a memo that is too long"],
        BOTH,
        "memo_mismatch",
        "valid",
        "extra.memo has 256 bytes at most, which clients keep to"
    ),
    choice!(["a byte order mark before the expected memo"], BOTH, "memo_mismatch", "valid", BYTE_FOR_BYTE),
    choice!(["a memo that is no text"], BOTH, "memo_mismatch", FAILS, BYTE_FOR_BYTE),
    choice!(
        ["a mint with a transfer fee"],
        BOTH,
        "mint_mismatch",
        "valid",
        "less would arrive than is asked: such mints are taken where the operator allows them"
    ),
];
