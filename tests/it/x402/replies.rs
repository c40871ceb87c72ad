//! Answers as they go out.

use pay402::{
    chain::{assets::Network, solana::rules::Refusal},
    payments::x402::{Reason, SettleReply, Supported, VerifyReply, Version, X402Request},
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

const PAYER: Pubkey = Pubkey::new_from_array([2; 32]);

fn json_of(reply: impl serde::Serialize) -> Value {
    serde_json::to_value(reply).unwrap()
}

fn refusal() -> Refusal {
    Refusal::new(Reason::SimulationFailed, "the payer holds 0.40 USDC, 1.00 needed")
}

#[test]
fn a_good_payment_names_its_payer() {
    assert_eq!(json_of(VerifyReply::valid(&PAYER)), json!({"isValid": true, "payer": PAYER.to_string()}));
}

#[test]
fn a_bad_payment_says_why_in_its_versions_words() {
    assert_eq!(
        json_of(VerifyReply::invalid(Version::V2, &refusal())),
        json!({
            "isValid": false,
            "invalidReason": "invalid_exact_svm_transaction_simulation_failed",
            "invalidMessage": "the payer holds 0.40 USDC, 1.00 needed",
        })
    );
    assert_eq!(
        json_of(VerifyReply::invalid(Version::V1, &refusal().by(PAYER))),
        json!({
            "isValid": false,
            "invalidReason": "transaction_simulation_failed",
            "invalidMessage": "the payer holds 0.40 USDC, 1.00 needed",
            "payer": PAYER.to_string(),
        })
    );
}

#[test]
fn a_settlement_always_has_transaction_and_network() {
    let signature = Signature::from([7; 64]);
    assert_eq!(
        json_of(SettleReply::settled("solana-devnet", &signature, &PAYER, 50_000)),
        json!({
            "success": true, "payer": PAYER.to_string(), "transaction": signature.to_string(),
            "network": "solana-devnet", "amount": "50000",
        })
    );
    assert_eq!(
        json_of(SettleReply::failed(Version::V1, "solana", &refusal(), None)),
        json!({
            "success": false, "errorReason": "transaction_simulation_failed",
            "errorMessage": "the payer holds 0.40 USDC, 1.00 needed", "transaction": "", "network": "solana",
        })
    );
    let pending = Refusal::new(Reason::SettlementPending, "not known yet").by(PAYER);
    assert_eq!(
        json_of(SettleReply::failed(Version::V2, "solana:x", &pending, Some(&signature))),
        json!({
            "success": false, "errorReason": "settlement_pending", "errorMessage": "not known yet",
            "payer": PAYER.to_string(), "transaction": signature.to_string(), "network": "solana:x",
        })
    );
}

#[test]
fn what_could_not_be_read_or_decided_has_the_same_shape() {
    let body = br#"{"paymentPayload":{"x402Version":1,"network":"solana-devnet"}}"#;
    let malformed = X402Request::parse(body).unwrap_err();
    let verify = json_of(VerifyReply::malformed(&malformed));
    assert_eq!((&verify["isValid"], &verify["invalidReason"]), (&json!(false), &json!("invalid_payload")));
    let message = verify["invalidMessage"].as_str().unwrap();
    for field in ["paymentPayload.scheme", "paymentPayload.payload", "paymentRequirements"] {
        assert!(message.contains(&format!("{field} is required")), "{message}");
    }
    let settle = json_of(SettleReply::malformed(&malformed));
    assert_eq!(settle["errorReason"], "invalid_payload");
    assert_eq!((&settle["network"], &settle["transaction"]), (&json!("solana-devnet"), &json!("")));
    let trouble = json_of(VerifyReply::undecided(Reason::UnexpectedVerifyError, "the chain cannot be read"));
    assert_eq!(trouble["invalidReason"], "unexpected_verify_error");
    let trouble = json_of(SettleReply::undecided("solana", Reason::UnexpectedSettleError, "later"));
    assert_eq!((&trouble["success"], &trouble["network"]), (&json!(false), &json!("solana")));
}

#[test]
fn supported_lists_both_versions_and_all_signers() {
    let (first, retired) = (Pubkey::new_from_array([5; 32]), Pubkey::new_from_array([6; 32]));
    let extra = json!({"feePayer": first.to_string(), "transactionVersions": ["legacy", 0]});
    let kind = |version, network| json!({"x402Version": version, "scheme": "exact", "network": network, "extra": extra});
    for (network, v1, v2) in [
        (Network::MainnetBeta, "solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
        (Network::Devnet, "solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
        (Network::Sandbox, "solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
        (Network::Testnet, "solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
    ] {
        assert_eq!(
            json_of(Supported::new(network, Some(&first), &[first, retired])),
            json!({
                "kinds": [kind(2, v2), kind(1, v1)],
                "extensions": [],
                "signers": {"solana:*": [first.to_string(), retired.to_string()]},
            })
        );
        let public = if network == Network::Sandbox { Network::Devnet } else { network };
        assert_eq!(Version::V1.network_named(v1), Some(public));
        assert_eq!(Version::V2.network_named(v2), Some(public));
        assert_eq!((Version::V1.network_named(v2), Version::V2.network_named(v1)), (None, None));
    }
    let none = json_of(Supported::new(Network::Devnet, None, &[]));
    assert_eq!(none, json!({"kinds": [], "extensions": [], "signers": {"solana:*": []}}));
}
