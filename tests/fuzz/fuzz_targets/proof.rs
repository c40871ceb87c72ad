//! A request body, whatever it is, is read as a payment proof or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pay402::{money::Amount, payments::proof::ProofRequest};

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = ProofRequest::parse(body) {
        let units = request.proof.amount.atomic();
        assert!((1..=Amount::MAX).contains(&units), "{units}");
    }
});
