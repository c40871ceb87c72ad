//! Whose SOL pays the fees of settled payments.

use std::{fs, path::Path};

use secrecy::zeroize::Zeroizing;
use solana_keypair::Keypair;

use super::Environment;
use crate::chain::solana::signer::{FeePayers, InvalidFeePayers};

/// Two thousand transactions of one signature more than nothing.
const DEFAULT_MIN_LAMPORTS: u64 = 10_000_000;
/// Bytes of a key file, at most. One is some 230 bytes long.
const MAX_FILE: u64 = 4096;

const FORMS: &str =
    "must be paths to Solana key files, or keys of 64 bytes in base58 or as JSON arrays, separated by commas";

#[derive(Clone, Debug)]
pub struct FeePayerConfig {
    /// `None`: nothing is settled.
    pub keys: Option<FeePayers>,
    /// The balance below which nothing is settled, in lamports.
    pub min_lamports: u64,
}

impl FeePayerConfig {
    pub(super) fn read(env: &mut Environment) -> Self {
        let keys = env.parsed("FEE_PAYER_KEYPAIR", None, |text| keys(text).map(Some));
        let min_lamports = env.parsed("FEE_PAYER_MIN_LAMPORTS", DEFAULT_MIN_LAMPORTS, |text| {
            text.parse().map_err(|_| "must be a whole number of lamports")
        });
        Self { keys, min_lamports }
    }
}

/// Never says what it was given: it is secret.
fn keys(text: &str) -> Result<FeePayers, &'static str> {
    let keys = parts(text).into_iter().map(key).collect::<Result<_, _>>()?;
    FeePayers::new(keys).map_err(|error| match error {
        InvalidFeePayers::None => FORMS,
        InvalidFeePayers::TooMany => "must be 32 keys at most",
        InvalidFeePayers::Twice => "must name each key once",
    })
}

/// Between the commas that are not inside of a JSON array.
fn parts(text: &str) -> Vec<&str> {
    let mut in_array = false;
    let parts = text.split(|character| {
        in_array = match character {
            '[' => true,
            ']' => false,
            _ => in_array,
        };
        character == ',' && !in_array
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn key(text: &str) -> Result<Keypair, &'static str> {
    if text.starts_with('[') {
        return json_key(text);
    }
    let mut bytes = Zeroizing::new([0; 64]);
    if bs58::decode(text).onto(bytes.as_mut_slice()) == Ok(64) {
        return Keypair::try_from(bytes.as_slice())
            .map_err(|_| "must be key pairs: the public half of one is not its secret half's");
    }
    let path = Path::new(text);
    let size = fs::metadata(path).map_err(|_| "must be keys, or files that can be read")?.len();
    if size > MAX_FILE {
        return Err(FORMS);
    }
    json_key(
        Zeroizing::new(fs::read_to_string(path).map_err(|_| "must be keys, or files that can be read")?)
            .trim(),
    )
}

fn json_key(text: &str) -> Result<Keypair, &'static str> {
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(serde_json::from_str(text).map_err(|_| FORMS)?);
    if bytes.len() != 64 {
        return Err(FORMS);
    }
    Keypair::try_from(bytes.as_slice())
        .map_err(|_| "must be key pairs: the public half of one is not its secret half's")
}

#[cfg(test)]
mod tests {
    use solana_keypair::Keypair;
    use solana_signer::Signer;

    use super::{key, keys};

    fn json(key: &Keypair) -> String {
        serde_json::to_string(key.to_bytes().as_slice()).unwrap()
    }

    #[test]
    fn keys_come_in_three_forms_mixed_and_in_order() {
        let [first, second, third] = [Keypair::new(), Keypair::new(), Keypair::new()];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json(&second) + "\n").unwrap();
        let text = format!("{} , {}, {}", json(&first), file.path().display(), third.to_base58_string());
        let read = keys(&text).unwrap();
        assert_eq!(read.addresses().next().unwrap(), first.pubkey());
        assert_eq!(read.addresses().collect::<Vec<_>>(), [first.pubkey(), second.pubkey(), third.pubkey()]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let good = Keypair::new();
        let mut wrong = good.to_bytes();
        wrong[63] ^= 1;
        let texts = [
            "/no/such/file".to_owned(),
            "/".to_owned(),
            "[1,2,3]".to_owned(),
            "[1,2".to_owned(),
            "[256]".to_owned(),
            good.pubkey().to_string(),
            bs58::encode(wrong).into_string(),
            serde_json::to_string(wrong.as_slice()).unwrap(),
            format!("{},{}", json(&good), good.to_base58_string()),
            ",".to_owned(),
        ];
        for text in texts {
            let problem = keys(&text).unwrap_err();
            assert!(
                problem.starts_with("must ") && (text.len() < 2 || !problem.contains(&text)),
                "{text}: {problem}"
            );
        }
        key(&good.to_base58_string()).unwrap();
    }
}
