//! What a WebSocket subscriber is waiting for, and when it is told.
//!
//! Subscriptions keep no queue: each looks at the ledger whenever it changed and says what is new to it, so that a
//! slow client costs nothing and misses nothing it could still ask for.

use jsonrpc_core::{Error, Params, Value};
use serde_json::{Map, json};
use solana_account::AccountSharedData;
use solana_account_decoder::UiAccountEncoding;
use solana_clock::Slot;
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::config::{RpcAccountInfoConfig, RpcSignatureSubscribeConfig};
use solana_signature::Signature;

use super::{accounts, params};
use crate::sandbox::{
    chain::Chain,
    ledger::{FINALITY_SLOTS, Ledger},
};

/// Slots told of at once, when many were opened together.
const MAX_SLOT_NOTIFICATIONS: u64 = 64;

/// Subscription methods and the methods that end them.
pub const METHODS: &[(&str, &str)] = &[
    ("accountSubscribe", "accountUnsubscribe"),
    ("signatureSubscribe", "signatureUnsubscribe"),
    ("slotSubscribe", "slotUnsubscribe"),
];

pub enum Subscription {
    Account {
        key: Pubkey,
        commitment: CommitmentLevel,
        config: RpcAccountInfoConfig,
        last: Option<AccountSharedData>,
    },
    Signature {
        signature: Signature,
        commitment: CommitmentLevel,
        received: bool,
    },
    Slot {
        last: Slot,
    },
}

/// What there is to tell a subscriber.
#[derive(Default)]
pub struct News {
    /// The `result` of each notification.
    pub results: Vec<Value>,
    /// The subscription is over.
    pub last: bool,
}

impl Subscription {
    pub fn open(chain: &Chain, method: &str, params: Params) -> Result<Self, Error> {
        let ledger = chain.ledger();
        match method {
            "accountSubscribe" => {
                let (key, config): (String, Option<RpcAccountInfoConfig>) = params::read::<_, 2>(params)?;
                let (key, config) = (params::pubkey(&key)?, config.unwrap_or_default());
                let commitment = config.commitment.unwrap_or_default().commitment;
                let last = ledger.account(&key, chain.slot_at(&ledger, commitment));
                Ok(Self::Account { key, commitment, config, last })
            }
            "signatureSubscribe" => {
                let (signature, config): (String, Option<RpcSignatureSubscribeConfig>) =
                    params::read::<_, 2>(params)?;
                let (signature, config) = (params::signature(&signature)?, config.unwrap_or_default());
                Ok(Self::Signature {
                    signature,
                    commitment: config.commitment.unwrap_or_default().commitment,
                    received: config.enable_received_notification.unwrap_or_default(),
                })
            }
            "slotSubscribe" => {
                params.expect_no_params()?;
                Ok(Self::Slot { last: chain.slot_at(&ledger, CommitmentLevel::Processed) })
            }
            _ => Err(Error::method_not_found()),
        }
    }

    pub const fn notification(&self) -> &'static str {
        match self {
            Self::Account { .. } => "accountNotification",
            Self::Signature { .. } => "signatureNotification",
            Self::Slot { .. } => "slotNotification",
        }
    }

    pub const fn unsubscribe_method(&self) -> &'static str {
        match self {
            Self::Account { .. } => "accountUnsubscribe",
            Self::Signature { .. } => "signatureUnsubscribe",
            Self::Slot { .. } => "slotUnsubscribe",
        }
    }

    pub fn news(&mut self, chain: &Chain, ledger: &Ledger) -> News {
        let processed = chain.slot_at(ledger, CommitmentLevel::Processed);
        match self {
            Self::Slot { last } => slot_news(last, processed),
            Self::Signature { signature, commitment, received } => {
                let Some(landed) = ledger.history().get(signature) else { return News::default() };
                let mut news = News::default();
                if *received && landed.slot <= processed {
                    *received = false;
                    news.results.push(in_context(landed.slot, &json!("receivedSignature")));
                }
                if landed.slot <= chain.slot_at(ledger, *commitment) {
                    let err = landed.meta.status.as_ref().err();
                    news.results.push(in_context(landed.slot, &json!({ "err": err })));
                    news.last = true;
                }
                news
            }
            Self::Account { key, commitment, config, last } => {
                let slot = chain.slot_at(ledger, *commitment);
                let account = ledger.account(key, slot);
                if account == *last {
                    return News::default();
                }
                last.clone_from(&account);
                let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
                let account = account.unwrap_or_default();
                let shown = accounts::encode(ledger, slot, key, &account, encoding, config.data_slice);
                News {
                    results: shown.iter().map(|shown| in_context(slot, &json!(shown))).collect(),
                    last: false,
                }
            }
        }
    }
}

fn slot_news(last: &mut Slot, processed: Slot) -> News {
    // A node that starts to lag goes back in time; its next slots are not news again.
    let first = (*last + 1).max((processed + 1).saturating_sub(MAX_SLOT_NOTIFICATIONS));
    let results = (first..=processed)
        .map(|slot| json!({ "slot": slot, "parent": slot - 1, "root": slot.saturating_sub(FINALITY_SLOTS) }))
        .collect();
    *last = processed.max(*last);
    News { results, last: false }
}

/// Notifications carry the slot only, answers the version too.
fn in_context(slot: Slot, value: &Value) -> Value {
    let mut result = Map::new();
    result.insert("context".to_owned(), json!({ "slot": slot }));
    result.insert("value".to_owned(), value.clone());
    Value::Object(result)
}
