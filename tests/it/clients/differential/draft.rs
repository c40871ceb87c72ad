//! A payment in the making: a good one, bent at one stage or another.

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::{
    chain::{assets::Network, solana::rules::Version},
    sandbox::{PYUSD, USDC, USDT},
};
use serde_json::{Value, json};
use solana_instruction::Instruction;
use solana_message::{VersionedMessage, v0};
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

use super::{kinds::Kind, scene::Scene};
use crate::{
    settlement::random::Random,
    x402::kit::{Case, guard, limit, memo, price, wire},
};

/// When a payment is bent: before what is made next is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Who pays whom what.
    Case,
    Instructions,
    /// Not signed yet.
    Message,
    Transaction,
    Bytes,
    /// In base64.
    Text,
    Json,
}

pub type Bend = fn(&mut Draft<'_>, &mut Random);

pub struct Draft<'a> {
    pub scene: &'a Scene,
    pub case: Case,
    pub instructions: Vec<Instruction>,
    pub legacy: bool,
    pub message: VersionedMessage,
    pub transaction: VersionedTransaction,
    pub bytes: Vec<u8>,
    pub text: String,
    pub payload: Value,
    pub requirements: Value,
}

/// One of the sandbox's stablecoins, up to ten of it.
fn good_case(scene: &Scene, version: Version, random: &mut Random) -> Case {
    let token = spl_token_interface::ID;
    let coins = [(USDC, token), (USDT, token), (PYUSD, spl_token_2022_interface::ID)];
    let (mint, program) = coins[random.index(coins.len())];
    Case {
        version,
        fee_payer: scene.fee_payer().insecure_clone(),
        payer: scene.app.agent().insecure_clone(),
        pay_to: scene.app.merchant(),
        mint,
        program,
        amount: random.between(2, 10_000_000),
        blockhash: scene.blockhash,
        ..Case::new()
    }
}

/// What clients build, and wallets make of it.
fn good_instructions(case: &Case, random: &mut Random) -> Vec<Instruction> {
    let limit = limit(u32::try_from(random.between(20_000, 60_000)).unwrap());
    let mut instructions = vec![limit, price(random.between(0, 1_000)), case.transfer()];
    match &case.memo {
        Some(text) => instructions.push(memo(text.as_bytes())),
        None if random.percent(80) => instructions.push(memo(format!("{:016x}", random.next()).as_bytes())),
        None => {}
    }
    if random.percent(20) {
        instructions.push(guard());
    }
    instructions
}

impl<'a> Draft<'a> {
    pub fn of(scene: &'a Scene, version: Version, kinds: &[&Kind], random: &mut Random) -> Self {
        let case = good_case(scene, version, random);
        let message = VersionedMessage::V0(v0::Message::default());
        let mut draft = Self {
            scene,
            case,
            instructions: Vec::new(),
            legacy: random.percent(20),
            transaction: VersionedTransaction { signatures: Vec::new(), message: message.clone() },
            message,
            bytes: Vec::new(),
            text: String::new(),
            payload: Value::Null,
            requirements: Value::Null,
        };
        draft.bend(Stage::Case, kinds, random);
        draft.instructions = good_instructions(&draft.case, random);
        draft.bend(Stage::Instructions, kinds, random);
        draft.message = if draft.legacy {
            draft.case.legacy(&draft.instructions)
        } else {
            draft.case.message(&draft.instructions)
        };
        draft.bend(Stage::Message, kinds, random);
        draft.transaction = draft.case.sign(draft.message.clone());
        draft.bend(Stage::Transaction, kinds, random);
        draft.bytes = wire(&draft.transaction);
        draft.bend(Stage::Bytes, kinds, random);
        draft.text = BASE64_STANDARD.encode(&draft.bytes);
        draft.bend(Stage::Text, kinds, random);
        (draft.payload, draft.requirements) = draft.request();
        draft.bend(Stage::Json, kinds, random);
        draft
    }

    /// The same request with another transaction.
    pub fn carrying(mut self, bytes: Vec<u8>) -> Self {
        self.text = BASE64_STANDARD.encode(&bytes);
        self.bytes = bytes;
        (self.payload, self.requirements) = self.request();
        self
    }

    fn bend(&mut self, stage: Stage, kinds: &[&Kind], random: &mut Random) {
        for kind in kinds {
            for (_, bend) in kind.bends.iter().filter(|(when, _)| *when == stage) {
                bend(self, random);
            }
        }
    }

    /// The message as one of version 0, to be changed.
    pub fn v0(&mut self) -> &mut v0::Message {
        if let VersionedMessage::Legacy(_) = self.message {
            self.message = self.case.message(&self.instructions);
        }
        let VersionedMessage::V0(message) = &mut self.message else { unreachable!("made above") };
        message
    }

    /// The requirements' `extra`.
    pub fn extra(&mut self) -> &mut Value {
        &mut self.requirements["extra"]
    }

    /// Where the payload says its scheme and network.
    pub fn paid(&mut self) -> &mut Value {
        match self.case.version {
            Version::V1 => &mut self.payload,
            Version::V2 => &mut self.payload["accepted"],
        }
    }

    pub fn set_amount(&mut self, text: &str) {
        let name = if self.case.version == Version::V1 { "maxAmountRequired" } else { "amount" };
        self.requirements[name] = text.into();
    }

    fn request(&self) -> (Value, Value) {
        let case = &self.case;
        let network = case.version.network_name(Network::Sandbox);
        let mut extra = json!({"feePayer": case.fee_payer.pubkey().to_string()});
        if let Some(memo) = &case.memo {
            extra["memo"] = memo.as_str().into();
        }
        let mut requirements = json!({
            "scheme": "exact", "network": network, "asset": case.mint.to_string(), "payTo": case.pay_to.to_string(),
            "maxTimeoutSeconds": 60, "extra": extra,
        });
        let mut payload =
            json!({"x402Version": case.version.number(), "payload": {"transaction": self.text}});
        match case.version {
            Version::V1 => {
                requirements["maxAmountRequired"] = case.amount.to_string().into();
                requirements["resource"] = "https://shop.example/paid".into();
                requirements["description"] = "".into();
                payload["scheme"] = "exact".into();
                payload["network"] = network.into();
            }
            Version::V2 => {
                requirements["amount"] = case.amount.to_string().into();
                payload["accepted"] = requirements.clone();
                payload["resource"] = json!({"url": "https://shop.example/paid"});
            }
        }
        (payload, requirements)
    }
}
