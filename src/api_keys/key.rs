//! A key in plain text: how it is made, and how one that was made here is told from one that was not.
//!
//! `sk_test_` or `sk_live_`, then base58 of 38 bytes: 32 random ones, and the first 6 of HMAC-SHA256 over the start and the
//! random bytes, under a secret of the server's.

use std::{fmt, sync::Arc};

use hmac::Mac;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::{Environment, digest::keyed};
use crate::{ids::Entropy, server_secrets::ServerSecret};

/// The longest key there is, in bytes: bcrypt reads no more than 72.
pub const MAX_KEY_LENGTH: usize = 72;
/// Characters of a key after its start that are public.
const PUBLIC: usize = 8;
const RANDOM: usize = 32;
const TAG: usize = 6;
const BODY: usize = RANDOM + TAG;
/// Characters that 38 bytes may take in base58.
const MAX_BODY_TEXT: usize = 52;

/// A key of the shape the service gives. Never printed.
#[derive(Clone)]
pub struct PlainKey {
    text: SecretString,
    environment: Environment,
    body: Arc<SecretBox<[u8; BODY]>>,
}

impl PlainKey {
    pub(super) fn generate(environment: Environment, secret: &TagSecret, entropy: &dyn Entropy) -> Self {
        let mut body = [0; BODY];
        entropy.fill(&mut body[..RANDOM]);
        let tag = secret.mac(environment, &body).finalize().into_bytes();
        body[RANDOM..].copy_from_slice(&tag[..TAG]);
        let text = format!("{}{}", environment.key_start(), bs58::encode(body).into_string());
        Self { text: text.into(), environment, body: sealed(body) }
    }

    /// `None` for a text that no key has. Base58 has one text for every sequence of bytes, leading zeros included, so two
    /// texts are never one key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let environment = Environment::ALL.into_iter().find(|kind| text.starts_with(kind.key_start()))?;
        let encoded = text.strip_prefix(environment.key_start())?;
        if encoded.len() > MAX_BODY_TEXT {
            return None;
        }
        let body = bs58::decode(encoded).into_vec().ok()?.try_into().ok()?;
        Some(Self { text: text.into(), environment, body: sealed(body) })
    }

    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// The part by which a key is known: in lists, in the log, in the database.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.text.expose_secret()[..self.environment.key_start().len() + PUBLIC]
    }

    /// To be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

fn sealed(body: [u8; BODY]) -> Arc<SecretBox<[u8; BODY]>> {
    Arc::new(SecretBox::new(Box::new(body)))
}

/// The public part only.
impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlainKey").field(&self.prefix()).finish()
    }
}

/// What tags are made with.
#[derive(Debug)]
pub(super) struct TagSecret(ServerSecret);

impl TagSecret {
    pub const fn new(secret: ServerSecret) -> Self {
        Self(secret)
    }

    /// Whether the key was made with this secret, in constant time.
    pub fn made(&self, key: &PlainKey) -> bool {
        let body = key.body.expose_secret();
        self.mac(key.environment, body).verify_truncated_left(&body[RANDOM..]).is_ok()
    }

    fn mac(
        &self,
        environment: Environment,
        body: &[u8; BODY],
    ) -> impl Mac<OutputSize = hmac::digest::consts::U32> {
        keyed(self.0.expose()).chain_update(environment.key_start()).chain_update(&body[..RANDOM])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use secrecy::ExposeSecret;

    use super::{BODY, Environment, MAX_KEY_LENGTH, PlainKey, TagSecret};
    use crate::{
        ids::{Entropy, OsEntropy},
        server_secrets::ServerSecret,
    };

    fn tags(byte: u8) -> TagSecret {
        TagSecret::new(ServerSecret::new([byte; 32]))
    }

    #[derive(Debug)]
    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let secret = tags(7);
        for environment in Environment::ALL {
            for byte in [0, 1, 127, 255] {
                let key = PlainKey::generate(environment, &secret, &Constant(byte));
                let read = PlainKey::parse(key.expose()).unwrap();
                assert!(secret.made(&read) && !tags(8).made(&read));
                assert_eq!((read.environment(), read.prefix()), (environment, key.prefix()));
                assert!(key.prefix().starts_with(environment.key_start()) && key.prefix().len() == 16);
                assert!(key.expose().len() <= MAX_KEY_LENGTH, "{}", key.expose().len());
                assert!(!format!("{key:?}").contains(key.expose()));
                assert_eq!(format!("{secret:?}").matches('7').count(), 0, "{secret:?}");
            }
        }
    }

    #[test]
    fn the_tag_covers_the_environment() {
        let secret = tags(7);
        let test = PlainKey::generate(Environment::Test, &secret, &OsEntropy);
        let live = test.expose().replacen("sk_test_", "sk_live_", 1);
        assert!(!secret.made(&PlainKey::parse(&live).unwrap()));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = PlainKey::generate(Environment::Test, &tags(7), &OsEntropy);
        let text = key.expose();
        let body = &text["sk_test_".len()..];
        for wrong in [
            body.to_owned(),
            format!("sk_test_1{body}"),
            format!("sk_test_{body} "),
            format!("SK_TEST_{body}"),
            format!("sk_test_{}", &body[3..]),
            format!("sk_test_{}0", &body[3..]),
            "sk_test_".to_owned(),
            "sk_test_é".to_owned(),
            String::new(),
            format!("sk_test_{}", "z".repeat(10_000)),
            format!("sk_test_{}", bs58::encode([9; BODY + 1]).into_string()),
        ] {
            assert!(PlainKey::parse(&wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_character_makes_another_key(at in 0_usize..51, to in "[1-9A-HJ-NP-Za-km-z]") {
            let secret = tags(7);
            let key = PlainKey::generate(Environment::Test, &secret, &Constant(99));
            let mut changed = key.expose().to_owned();
            let at = "sk_test_".len() + at;
            changed.replace_range(at..=at, &to);
            let good = PlainKey::parse(&changed).is_some_and(|read| secret.made(&read));
            prop_assert_eq!(good, changed == key.expose());
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "sk_(test|live)_[1-9A-HJ-NP-Za-km-z]{38,53}") {
            if let Some(key) = PlainKey::parse(&text) {
                let written = format!("{}{}", key.environment().key_start(), bs58::encode(key.body.expose_secret()).into_string());
                prop_assert_eq!(written, text);
            }
        }
    }
}
