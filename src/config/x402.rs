//! What x402 payments may look like, and what settling them may cost.

use solana_pubkey::Pubkey;

use super::Environment;
use crate::{
    chain::{settlement::Commitment, solana::rules::RulePolicy},
    payments::settlement::Caps,
};

/// A payment has its fee payer's signature and its payer's.
const LEAST_SIGNERS: u8 = 2;
/// More do not fit a transaction that also pays.
const MOST_SIGNERS: u8 = 10;
/// What Solana allows one transaction.
const MOST_COMPUTE_UNITS: u32 = 1_400_000;
/// Lamports of fees a day unless the operator says otherwise: a bound on what can be lost, enough for 90,000 stock payments.
const DEFAULT_LAMPORTS: u64 = 1_000_000_000;
/// Of these for callers without a key: anybody can have worthless payments settled, so some are left for those with one.
const DEFAULT_LAMPORTS_WITHOUT_KEY: u64 = DEFAULT_LAMPORTS / 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X402Config {
    pub rules: RulePolicy,
    /// What the fee payers pay a day.
    pub caps: Caps,
    /// What they pay a day for callers without an API key, all together, in lamports.
    pub without_key_lamports: Option<u64>,
    /// From where on a payment counts as settled.
    pub commitment: Commitment,
}

impl X402Config {
    pub(super) fn read(env: &mut Environment) -> Self {
        let commitment = env.parsed("SETTLE_COMMITMENT", Commitment::Confirmed, |text| match text {
            "confirmed" => Ok(Commitment::Confirmed),
            "finalized" => Ok(Commitment::Finalized),
            _ => Err("must be confirmed or finalized"),
        });
        let caps = Caps {
            per_key_lamports: env.parsed("SPONSORED_LAMPORTS_PER_KEY", None, cap),
            total_lamports: env.parsed("SPONSORED_LAMPORTS", Some(DEFAULT_LAMPORTS), cap),
        };
        let default = Some(DEFAULT_LAMPORTS_WITHOUT_KEY);
        let without_key_lamports = env.parsed("SPONSORED_LAMPORTS_WITHOUT_KEY", default, cap);
        Self { rules: read_rules(env), caps, without_key_lamports, commitment }
    }
}

fn read_rules(env: &mut Environment) -> RulePolicy {
    let defaults = RulePolicy::default();
    RulePolicy {
        max_signers: env.parsed("X402_MAX_SIGNERS", defaults.max_signers, |text| {
            let signers = text.parse().ok();
            signers
                .filter(|signers| (LEAST_SIGNERS..=MOST_SIGNERS).contains(signers))
                .ok_or("must be a whole number from 2 to 10")
        }),
        max_compute_units: env.parsed("X402_MAX_COMPUTE_UNITS", defaults.max_compute_units, |text| {
            let units = text.parse().ok();
            units
                .filter(|units| (1..=MOST_COMPUTE_UNITS).contains(units))
                .ok_or("must be a whole number from 1 to 1400000")
        }),
        max_compute_unit_price: env.parsed(
            "X402_MAX_COMPUTE_UNIT_PRICE",
            defaults.max_compute_unit_price,
            |text| text.parse().map_err(|_| "must be a whole number of micro-lamports"),
        ),
        max_priority_fee_lamports: env.parsed(
            "X402_MAX_PRIORITY_FEE_LAMPORTS",
            defaults.max_priority_fee_lamports,
            |text| text.parse().map_err(|_| "must be a whole number of lamports"),
        ),
        trusted_mints: env.list("X402_TRUSTED_MINTS", |text| {
            text.parse::<Pubkey>().map_err(|_| "must be addresses of mints, separated by commas")
        }),
    }
}

fn cap(text: &str) -> Result<Option<u64>, &'static str> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "must be a whole number of lamports a day, or none")
}

#[cfg(test)]
mod tests {
    use super::{Caps, Commitment, RulePolicy, X402Config};
    use crate::config::{Config, Environment};

    fn read(variables: &[(&str, &str)]) -> Result<X402Config, Vec<String>> {
        let set = |environment: Environment, (name, value): &(&str, &str)| environment.with(name, *value);
        let config = Config::read(variables.iter().fold(Environment::default(), set));
        config.map(|config| config.x402).map_err(|error| error.problems)
    }

    #[test]
    fn everything_has_a_default_and_can_be_set() {
        let defaults = X402Config {
            rules: RulePolicy::default(),
            caps: Caps { per_key_lamports: None, total_lamports: Some(1_000_000_000) },
            without_key_lamports: Some(500_000_000),
            commitment: Commitment::Confirmed,
        };
        assert_eq!(read(&[]).unwrap(), defaults);
        let mint = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
        let set = read(&[
            ("X402_MAX_SIGNERS", "3"),
            ("X402_MAX_COMPUTE_UNITS", "1400000"),
            ("X402_MAX_COMPUTE_UNIT_PRICE", "7"),
            ("X402_MAX_PRIORITY_FEE_LAMPORTS", "0"),
            ("X402_TRUSTED_MINTS", mint),
            ("SPONSORED_LAMPORTS_PER_KEY", "10000"),
            ("SPONSORED_LAMPORTS", "0"),
            ("SPONSORED_LAMPORTS_WITHOUT_KEY", "none"),
            ("SETTLE_COMMITMENT", "finalized"),
        ]);
        let rules = RulePolicy {
            max_signers: 3,
            max_compute_units: 1_400_000,
            max_compute_unit_price: 7,
            max_priority_fee_lamports: 0,
            trusted_mints: vec![mint.parse().unwrap()],
        };
        let caps = Caps { per_key_lamports: Some(10_000), total_lamports: Some(0) };
        let commitment = Commitment::Finalized;
        let expected = X402Config { rules, caps, without_key_lamports: None, commitment };
        assert_eq!(set.unwrap(), expected);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (name, wrong) in [
            ("X402_MAX_SIGNERS", "1"),
            ("X402_MAX_SIGNERS", "11"),
            ("X402_MAX_COMPUTE_UNITS", "0"),
            ("X402_MAX_COMPUTE_UNITS", "1400001"),
            ("X402_MAX_COMPUTE_UNIT_PRICE", "-1"),
            ("X402_MAX_PRIORITY_FEE_LAMPORTS", "1.5"),
            ("X402_TRUSTED_MINTS", "USDC"),
            ("SPONSORED_LAMPORTS_PER_KEY", "None"),
            ("SPONSORED_LAMPORTS_WITHOUT_KEY", "-1"),
            ("SPONSORED_LAMPORTS", "1 SOL"),
            ("SETTLE_COMMITMENT", "processed"),
            ("REQUIRE_API_KEY", "yes"),
        ] {
            let problems = read(&[(name, wrong)]).unwrap_err();
            assert!(
                problems.len() == 1 && problems[0].starts_with(&format!("{name} must be ")),
                "{problems:?}"
            );
        }
    }
}
