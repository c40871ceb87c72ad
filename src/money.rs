//! Amounts and currencies.
//!
//! An [`Amount`] is a whole number of atomic units. The decimal numbers of the wire are read from their digits and
//! written from them; no float is involved, and nothing is ever rounded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The longest decimal text read as an amount, in bytes.
pub const MAX_AMOUNT_TEXT: usize = 64;

/// What a payment can be made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    Usdc,
    Usdt,
    Sol,
    Pyusd,
}

impl Currency {
    pub const ALL: [Self; 4] = [Self::Usdc, Self::Usdt, Self::Sol, Self::Pyusd];

    /// The most digits after the decimal point that any currency has.
    pub const MAX_DECIMALS: u8 = 9;

    /// Digits after the decimal point of one whole token.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        match self {
            Self::Usdc | Self::Usdt | Self::Pyusd => 6,
            Self::Sol => 9,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usdc => "USDC",
            Self::Usdt => "USDT",
            Self::Sol => "SOL",
            Self::Pyusd => "PYUSD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A currency the service does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of USDC, USDT, SOL, PYUSD")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        Self::ALL.into_iter().find(|currency| currency.as_str() == text).ok_or(UnknownCurrency)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("must be a decimal number of whole tokens, such as 0.01")]
    NotANumber,
    #[error("must be greater than 0")]
    NotPositive,
    #[error("has more than {0} digits after the decimal point")]
    TooPrecise(u8),
    #[error("is larger than the largest amount, 2^63 - 1 atomic units")]
    TooLarge,
    #[error("is longer than {MAX_AMOUNT_TEXT} characters")]
    TooLong,
}

/// A sum of money in atomic units of its currency: 1 to 2^63 - 1, what a signed 64-bit database column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    pub const MAX: u64 = i64::MAX.unsigned_abs();

    /// # Errors
    /// [`AmountError::NotPositive`] for 0, [`AmountError::TooLarge`] past 2^63 - 1.
    pub const fn from_atomic(units: u64) -> Result<Self, AmountError> {
        match units {
            0 => Err(AmountError::NotPositive),
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(AmountError::TooLarge),
        }
    }

    /// Reads a decimal number of whole tokens, in JSON's number grammar (`12`, `0.5`, `1e-2`).
    ///
    /// # Errors
    /// When the text is not such a number, or its value is not exactly a positive whole number of atomic units.
    pub fn parse(text: &str, decimals: u8) -> Result<Self, AmountError> {
        if text.len() > MAX_AMOUNT_TEXT {
            return Err(AmountError::TooLong);
        }
        let number = DecimalText::split(text).ok_or(AmountError::NotANumber)?;
        let digits = number.integer.bytes().chain(number.fraction.bytes());
        let mut units: u128 = 0;
        for digit in digits {
            // At most MAX_AMOUNT_TEXT digits; saturation keeps the value past every bound, where it is refused.
            units = units.saturating_mul(10).saturating_add(u128::from(digit - b'0'));
        }
        if number.negative || units == 0 {
            return Err(AmountError::NotPositive);
        }
        let fraction_digits = i64::try_from(number.fraction.len()).map_err(|_| AmountError::TooLong)?;
        let mut shift = number.exponent.saturating_sub(fraction_digits).saturating_add(i64::from(decimals));
        while shift < 0 && units.is_multiple_of(10) && units != u128::MAX {
            units /= 10;
            shift += 1;
        }
        if shift < 0 {
            return Err(AmountError::TooPrecise(decimals));
        }
        // A non-zero value shifted by 20 digits is past the largest amount already.
        for _ in 0..shift.min(20) {
            units = units.saturating_mul(10);
        }
        Self::from_atomic(u64::try_from(units).map_err(|_| AmountError::TooLarge)?)
    }

    #[must_use]
    pub const fn atomic(self) -> u64 {
        self.0
    }

    /// The amount in whole tokens as a JSON number, digit for digit.
    ///
    /// # Panics
    /// Never: digits around a point are JSON.
    #[must_use]
    pub fn to_json(self, decimals: u8) -> Box<RawValue> {
        decimal_json(self.0, decimals)
    }
}

/// Atomic units in whole tokens as a JSON number, digit for digit.
///
/// # Panics
/// Never: digits around a point are JSON.
#[must_use]
pub fn decimal_json(units: u64, decimals: u8) -> Box<RawValue> {
    RawValue::from_string(decimal_text(units, decimals)).expect("a decimal number is JSON")
}

/// Atomic units in whole tokens, with no more digits than needed; also for the zero that an [`Amount`] cannot be.
#[must_use]
pub fn decimal_text(units: u64, decimals: u8) -> String {
    let digits = format!("{units:0>width$}", width = usize::from(decimals) + 1);
    let (integer, fraction) = digits.split_at(digits.len() - usize::from(decimals));
    match fraction.trim_end_matches('0') {
        "" => integer.to_owned(),
        fraction => format!("{integer}.{fraction}"),
    }
}

/// The parts of a number in JSON's grammar.
struct DecimalText<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> DecimalText<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) if all_digits(fraction) => (integer, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let leading_zero = integer.len() > 1 && integer.starts_with('0');
        (all_digits(integer) && !leading_zero).then_some(Self { negative, integer, fraction, exponent })
    }
}

/// An exponent too long for its type is as good as the type's bound: either way the value is refused.
fn parse_exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    all_digits(digits).then(|| sign * digits.parse::<i64>().unwrap_or(i64::MAX / 2).min(i64::MAX / 2))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Amount, AmountError, decimal_text};

    fn units(text: &str) -> Result<u64, AmountError> {
        Amount::parse(text, 6).map(Amount::atomic)
    }

    #[test]
    fn reads_what_is_exact() {
        assert_eq!(units("0.01"), Ok(10_000));
        assert_eq!(units("1"), Ok(1_000_000));
        assert_eq!(units("0.000001"), Ok(1));
        assert_eq!(units("1e-2"), Ok(10_000));
        assert_eq!(units("1.5E+3"), Ok(1_500_000_000));
        assert_eq!(units("0.010000000000000000"), Ok(10_000), "trailing zeros change nothing");
        assert_eq!(units("10000000e-13"), Ok(1));
        assert_eq!(units("9223372036854.775807"), Ok(Amount::MAX));
        assert_eq!(units("0.3000000e0"), Ok(300_000));
    }

    #[test]
    fn refuses_what_would_have_to_be_rounded() {
        // What 0.1 + 0.2 is in most languages.
        assert_eq!(units("0.30000000000000004"), Err(AmountError::TooPrecise(6)));
        assert_eq!(units("0.0000001"), Err(AmountError::TooPrecise(6)));
        assert_eq!(units("1e-7"), Err(AmountError::TooPrecise(6)));
        assert_eq!(units("1e-999999999999999999999"), Err(AmountError::TooPrecise(6)));
        assert_eq!(units("0.123456789012345678"), Err(AmountError::TooPrecise(6)));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(units("18446744073709551616"), Err(AmountError::TooLarge));
        assert_eq!(units("9223372036854.775808"), Err(AmountError::TooLarge));
        assert_eq!(units("1e999999999999999999999"), Err(AmountError::TooLarge));
        assert_eq!(units(&"9".repeat(64)), Err(AmountError::TooLarge));
        assert_eq!(units(&"9".repeat(65)), Err(AmountError::TooLong));
    }

    #[test]
    fn refuses_what_is_no_positive_number() {
        for text in ["0", "0.0", "-1", "-0.01", "0e5", "-0"] {
            assert_eq!(units(text), Err(AmountError::NotPositive), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "NaN",
            "Infinity",
            "-Infinity",
            "0x10",
            "1_000",
            "1,5",
            ".5",
            "5.",
            "+1",
            "01",
            "1e",
            "1e+",
            "e5",
            "1.2.3",
            "١",
            "--1",
            "1e1.5",
            "null",
        ] {
            assert_eq!(units(text), Err(AmountError::NotANumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in 1..=Amount::MAX, decimals in 0_u8..=18) {
            let text = decimal_text(value, decimals);
            prop_assert_eq!(Amount::parse(&text, decimals).map(Amount::atomic), Ok(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", decimals in 0_u8..=18) {
            let _ = Amount::parse(&text, decimals);
        }

        /// The same value, spelled with an exponent and with padding, is the same amount.
        #[test]
        fn spelling_does_not_matter(value in 1..=Amount::MAX, exponent in -15_i32..=0, zeros in 0_usize..8) {
            let plain = Amount::parse(&format!("{value}e{exponent}"), 15);
            let padded = Amount::parse(&format!("{value}.{}e{exponent}", "0".repeat(zeros + 1)), 15);
            prop_assert_eq!(plain, padded);
        }

        #[test]
        fn number_shaped_texts_never_panic(text in "-?[0-9]{0,30}\\.?[0-9]{0,30}([eE][+-]?[0-9]{0,25})?") {
            let _ = Amount::parse(&text, 9);
        }
    }
}
