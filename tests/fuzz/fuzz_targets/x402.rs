//! A request body, whatever it is, is read as an x402 request or refused by field, and what is read is judged.
//!
//! Deep in the rules there is little to find from here, as nobody can sign a guessed transaction: see `x402_rules`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pay402::{
    chain::{
        assets::{Assets, Network},
        solana::rules::{RulePolicy, Rules},
    },
    payments::x402::{SettleReply, VerifyReply, X402Request, is_x402},
};

fuzz_target!(|body: &[u8]| {
    let _ = is_x402(body);
    match X402Request::parse(body) {
        Ok(request) => {
            let terms = request.terms();
            // Whoever is named as the fee payer is ours, so that the transaction is looked at.
            let ours = terms.fee_payer.and_then(|text| text.parse().ok()).into_iter().collect();
            let network = Network::Devnet;
            let rules = Rules::new(network, Assets::of(network), ours, RulePolicy::default());
            if let Err(refusal) = rules.check(&terms) {
                let reply = VerifyReply::invalid(request.version, &refusal);
                serde_json::to_string(&reply).expect("a reply is JSON");
            }
        }
        Err(malformed) => {
            assert!(!malformed.errors.is_empty() && !malformed.message().is_empty());
            serde_json::to_string(&SettleReply::malformed(&malformed)).expect("a reply is JSON");
        }
    }
});
