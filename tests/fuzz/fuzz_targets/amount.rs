//! A text that is an amount is exactly that amount: written out and read again, it is the same.
//!
//! The first byte of the input is the number of decimals (modulo 19), the rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pay402::money::{Amount, decimal_text};

fuzz_target!(|input: (u8, &str)| {
    let (first, text) = input;
    let decimals = first % 19;
    if let Ok(amount) = Amount::parse(text, decimals) {
        assert!((1..=Amount::MAX).contains(&amount.atomic()), "{}", amount.atomic());
        let written = decimal_text(amount.atomic(), decimals);
        assert_eq!(Amount::parse(&written, decimals), Ok(amount), "{text} is written {written}");
    }
});
