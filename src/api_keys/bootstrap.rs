//! The keys of `VALID_API_KEYS`, with which an operator begins.
//!
//! They are the operator's own words and carry no tag, so each is kept as a digest under a secret of this process, and
//! any text that is presented is looked up by its digest: microseconds for a good one, a wrong one and one of thousands.

use std::{collections::HashMap, fmt};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Caller, Environment, MAX_KEY_LENGTH, Scopes,
    digest::{Digest, Digester},
};

/// How much of a key is public: enough to tell keys apart, and to find one in the log.
const PREFIX_LENGTH: usize = 12;
/// The shortest key accepted, in bytes. What is not public of it must not be guessed: 20 hexadecimal digits are 80 bits.
const MIN_KEY_LENGTH: usize = 32;

/// A plain key of the configuration's. Never printed.
#[derive(Clone, Debug)]
pub struct BootstrapKey(SecretString);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBootstrapKey {
    #[error("must be keys of {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} visible characters, separated by commas")]
    Malformed,
    #[error("must not hold sk_live_ keys: the network is not mainnet-beta, where they belong")]
    LiveKey,
    #[error("must not hold sk_test_ keys: the network is mainnet-beta, where they do not belong")]
    TestKey,
}

/// Two keys that could not be told apart in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two keys of VALID_API_KEYS start with {0}: the first {PREFIX_LENGTH} characters must differ")]
pub struct SharedPrefix(String);

impl BootstrapKey {
    /// A key for use in `environment`. A text that names no environment belongs to whichever is configured.
    ///
    /// # Errors
    /// When the length or a character is out of range, or the key says that it is for the other environment.
    pub fn new(text: &str, environment: Environment) -> Result<Self, InvalidBootstrapKey> {
        let fits = (MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidBootstrapKey::Malformed);
        }
        let foreign = Environment::ALL.into_iter().find(|other| text.starts_with(other.key_start()));
        match foreign.filter(|other| *other != environment) {
            None => Ok(Self(text.into())),
            Some(Environment::Live) => Err(InvalidBootstrapKey::LiveKey),
            Some(Environment::Test) => Err(InvalidBootstrapKey::TestKey),
        }
    }

    fn prefix(&self) -> &str {
        &self.0.expose_secret()[..PREFIX_LENGTH]
    }

    /// Whoever holds it is the user named after it, and may do everything.
    fn caller(&self) -> Caller {
        Caller {
            key_id: self.prefix().to_owned(),
            key_prefix: self.prefix().to_owned(),
            is_configured: true,
            user: format!("key:{}", self.prefix()),
            scopes: Scopes::EVERYTHING,
            recipients: Vec::new(),
            expires_at: None,
        }
    }
}

/// Who calls, by the digest of the key.
#[derive(Default)]
pub struct BootstrapKeys(HashMap<[u8; 16], (Digest, Caller)>);

impl BootstrapKeys {
    /// # Errors
    /// When two keys share their public prefix.
    pub(super) fn new(keys: &[BootstrapKey], digester: &Digester) -> Result<Self, SharedPrefix> {
        let mut callers: HashMap<[u8; 16], (Digest, Caller)> = HashMap::new();
        for key in keys {
            if callers.values().any(|(_, other)| other.key_id == key.prefix()) {
                return Err(SharedPrefix(key.prefix().to_owned()));
            }
            let digest = digester.digest(key.0.expose_secret());
            callers.insert(digest.slot, (digest, key.caller()));
        }
        Ok(Self(callers))
    }

    pub(super) fn caller(&self, presented: &Digest) -> Option<&Caller> {
        let (digest, caller) = self.0.get(&presented.slot)?;
        digest.is(presented).then_some(caller)
    }
}

/// Silent about digests.
impl fmt::Debug for BootstrapKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootstrapKeys").field("keys", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{BootstrapKey, BootstrapKeys, Digester, Environment, InvalidBootstrapKey};
    use crate::ids::OsEntropy;

    fn key(text: &str) -> Result<BootstrapKey, InvalidBootstrapKey> {
        BootstrapKey::new(text, Environment::Test)
    }

    #[test]
    fn only_the_whole_key_opens() {
        let text = format!("sk_test_{}", "a".repeat(40));
        let digester = Digester::new(&OsEntropy);
        let keys = BootstrapKeys::new(&[key(&text).unwrap()], &digester).unwrap();
        let caller = |text: &str| keys.caller(&digester.digest(text)).map(|caller| caller.user.clone());
        assert_eq!(caller(&text), Some("key:sk_test_aaaa".to_owned()));
        for wrong in [&format!("{text}a"), &text[..text.len() - 1], "", &"x".repeat(5000)] {
            assert_eq!(caller(wrong), None);
        }
        let elsewhere = Digester::new(&OsEntropy);
        assert!(keys.caller(&elsewhere.digest(&text)).is_none(), "digests are another process's");
        assert!(!format!("{keys:?} {digester:?} {:?}", key(&text)).contains("aaaa"));
    }

    #[test]
    fn keys_that_cannot_be_told_apart_are_refused() {
        let keys = ["b", "c"].map(|end| key(&format!("sk_test_{}{end}", "a".repeat(40))).unwrap());
        let refused = BootstrapKeys::new(&keys, &Digester::new(&OsEntropy)).unwrap_err();
        assert!(refused.to_string().contains("start with sk_test_aaaa:"), "{refused}");
    }

    #[test]
    fn a_key_past_bcrypts_limit_is_refused() {
        assert!(key(&"k".repeat(72)).is_ok());
        assert!(key(&"k".repeat(32)).is_ok());
        let short = key(&"k".repeat(31)).unwrap_err().to_string();
        assert!(short.contains("32 to 72"), "{short}");
        assert!(key(&"k".repeat(73)).is_err());
        assert!(key("short").is_err());
        assert!(key(&format!("{}\n", "k".repeat(40))).is_err());
    }

    #[test]
    fn a_key_belongs_to_its_environment() {
        let (live, test) = (format!("sk_live_{}", "a".repeat(40)), format!("sk_test_{}", "a".repeat(40)));
        let new = BootstrapKey::new;
        assert_eq!(new(&live, Environment::Test).unwrap_err(), InvalidBootstrapKey::LiveKey);
        assert_eq!(new(&test, Environment::Live).unwrap_err(), InvalidBootstrapKey::TestKey);
        assert!(new(&live, Environment::Live).is_ok() && new(&test, Environment::Test).is_ok());
        assert!(new(&"k".repeat(40), Environment::Live).is_ok());
    }
}
