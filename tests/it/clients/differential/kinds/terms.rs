//! What payload and requirements say: rules 1 to 4, 15 to 17 and 19 from the merchant's side, and the JSON's form.

use pay402::{
    chain::{assets::Network, solana::rules::Version},
    sandbox::{USDC, USDT},
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{Kind, Stage::Json, kind};
use crate::settlement::random::Random;

fn one_of<'a>(texts: &[&'a str], random: &mut Random) -> &'a str {
    texts[random.index(texts.len())]
}

fn mainnet(version: Version) -> Value {
    version.network_name(Network::MainnetBeta).into()
}

pub const KINDS: &[Kind] = &[
    kind("a good payment", &[]),
    kind(
        "nulls and unknown members",
        &[(Json, |draft, _| {
            draft.payload["extensions"] = Value::Null;
            draft.payload["later"] = json!({"a": [1]});
            draft.requirements["outputSchema"] = Value::Null;
            draft.requirements["mimeType"] = Value::Null;
            draft.extra()["later"] = json!([1]);
        })],
    ),
    kind("an empty expected memo", &[(Json, |draft, _| draft.extra()["memo"] = "".into())]),
    kind("a null expected memo", &[(Json, |draft, _| draft.extra()["memo"] = Value::Null)]),
    kind(
        "terms accepted that differ in amount and recipient",
        &[(Json, |draft, _| {
            if draft.case.version == Version::V2 {
                draft.payload["accepted"]["amount"] = "1".into();
                draft.payload["accepted"]["payTo"] = USDC.to_string().into();
            }
        })],
    ),
    kind(
        "another scheme in the payload",
        &[(Json, |draft, random| {
            draft.paid()["scheme"] = one_of(&["upto", "EXACT", "exact ", "deferred"], random).into();
        })],
    ),
    kind(
        "another scheme in the requirements",
        &[(Json, |draft, _| draft.requirements["scheme"] = "upto".into())],
    ),
    kind(
        "another network in the payload",
        &[(Json, |draft, _| {
            let network = mainnet(draft.case.version);
            draft.paid()["network"] = network;
        })],
    ),
    kind(
        "an invented network in the payload",
        &[(Json, |draft, random| {
            draft.paid()["network"] = one_of(&["solana:devnet", "solana:x", "solanadevnet"], random).into();
        })],
    ),
    kind(
        "another chain in the payload",
        &[(Json, |draft, random| {
            draft.paid()["network"] = one_of(&["base", "eip155:8453"], random).into();
        })],
    ),
    kind(
        "another network in the requirements",
        &[(Json, |draft, _| {
            draft.requirements["network"] = mainnet(draft.case.version);
        })],
    ),
    kind(
        "another network in both",
        &[(Json, |draft, _| {
            draft.requirements["network"] = mainnet(draft.case.version);
            let network = mainnet(draft.case.version);
            draft.paid()["network"] = network;
        })],
    ),
    kind("no extra", &[(Json, |draft, _| drop(draft.requirements.as_object_mut().unwrap().remove("extra")))]),
    kind("a null extra", &[(Json, |draft, _| draft.requirements["extra"] = Value::Null)]),
    kind("no fee payer", &[(Json, |draft, _| draft.requirements["extra"] = json!({}))]),
    kind(
        "a fee payer that is no string",
        &[(Json, |draft, random| {
            let others = [Value::Null, json!(7), json!(true), json!({"a": 1}), json!(["x"])];
            draft.extra()["feePayer"] = others[random.index(others.len())].clone();
        })],
    ),
    kind("an empty fee payer", &[(Json, |draft, _| draft.extra()["feePayer"] = "".into())]),
    kind(
        "another facilitator's fee payer",
        &[(Json, |draft, random| {
            let other = Pubkey::new_from_array([u8::try_from(random.between(1, 250)).unwrap(); 32]);
            draft.extra()["feePayer"] = other.to_string().into();
        })],
    ),
    kind(
        "a fee payer that is no key",
        &[(Json, |draft, random| {
            draft.extra()["feePayer"] =
                one_of(&["me", "0x00", " ", "11111111111111111111111111111111111111111111"], random).into();
        })],
    ),
    kind(
        "another asset asked",
        &[(Json, |draft, _| {
            let other = if draft.case.mint == USDT { USDC } else { USDT };
            draft.requirements["asset"] = other.to_string().into();
        })],
    ),
    kind("an asset that is no key", &[(Json, |draft, _| draft.requirements["asset"] = "USDC".into())]),
    kind(
        "another recipient asked",
        &[(Json, |draft, _| {
            draft.requirements["payTo"] = draft.scene.nobody.pubkey().to_string().into();
        })],
    ),
    kind("a recipient that is no key", &[(Json, |draft, _| draft.requirements["payTo"] = "shop".into())]),
    kind("one more asked", &[(Json, |draft, _| draft.set_amount(&(draft.case.amount + 1).to_string()))]),
    kind("one less asked", &[(Json, |draft, _| draft.set_amount(&(draft.case.amount - 1).to_string()))]),
    kind("nothing asked", &[(Json, |draft, _| draft.set_amount("0"))]),
    kind("the most that can be asked", &[(Json, |draft, _| draft.set_amount(&u64::MAX.to_string()))]),
    kind("more than can be asked", &[(Json, |draft, _| draft.set_amount("18446744073709551616"))]),
    kind(
        "the right amount in hexadecimal",
        &[(Json, |draft, _| {
            draft.set_amount(&format!("{:#x}", draft.case.amount));
        })],
    ),
    kind(
        "the right amount with zeros in front",
        &[(Json, |draft, random| {
            draft.set_amount(&format!("{}{}", "0".repeat(1 + random.index(3)), draft.case.amount));
        })],
    ),
    kind(
        "the right amount with spaces",
        &[(Json, |draft, _| draft.set_amount(&format!(" {} ", draft.case.amount)))],
    ),
    kind(
        "an amount that is no number",
        &[(Json, |draft, random| {
            draft.set_amount(one_of(&["1e3", "1.0", "1_000", "ten", "+", "NaN", "0x"], random));
        })],
    ),
    kind("an empty amount", &[(Json, |draft, _| draft.set_amount(""))]),
    kind("a negative amount", &[(Json, |draft, _| draft.set_amount("-1"))]),
    kind("another memo expected", &[(Json, |draft, _| draft.extra()["memo"] = "another order".into())]),
    kind("no transaction", &[(Json, |draft, _| draft.payload["payload"] = json!({}))]),
    kind("no payload", &[(Json, |draft, _| drop(draft.payload.as_object_mut().unwrap().remove("payload")))]),
    kind(
        "a transaction that is no string",
        &[(Json, |draft, _| draft.payload["payload"] = json!({"transaction": 7}))],
    ),
    kind(
        "no scheme and no network in the payload",
        &[(Json, |draft, _| {
            for member in ["scheme", "network", "accepted"] {
                draft.payload.as_object_mut().unwrap().remove(member);
            }
        })],
    ),
    kind(
        "no time limit",
        &[(Json, |draft, _| {
            draft.requirements.as_object_mut().unwrap().remove("maxTimeoutSeconds");
        })],
    ),
];
