//! Rules 1 to 4, and the reasons' spelling.

use pay402::chain::solana::rules::{Kind, Reason, Terms, Version};
use solana_keypair::Keypair;
use solana_signer::Signer;

use super::kit::{Case, assert_reason, limit, price};

#[test]
fn a_stock_payment_passes_in_both_versions() {
    for case in Case::both() {
        let transaction = case.sign(case.message(&case.stock()));
        let payment = case.check_transaction(&transaction).unwrap();
        assert_eq!(payment.payer, case.payer.pubkey());
        assert_eq!((payment.source, payment.destination), (case.source(), case.destination()));
        assert_eq!((payment.mint, payment.token_program), (case.mint, case.program));
        assert_eq!((payment.amount, payment.decimals), (50_000, 6));
        assert_eq!((payment.compute_unit_limit, payment.compute_unit_price), (20_000, 1));
        assert_eq!(payment.priority_fee_lamports, 1);
        assert_eq!(payment.fee_payer, case.fee_payer.pubkey());
        assert_eq!(payment.signers, [case.fee_payer.pubkey(), case.payer.pubkey()]);
        assert_eq!(payment.blockhash, case.blockhash);
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(transaction.message.serialize()).into();
        assert_eq!(payment.message_sha256, digest);
        assert_eq!(payment.transaction, transaction);
        assert_eq!(payment.holdings(), [case.mint, case.source(), case.destination()]);
    }
}

#[test]
fn a_legacy_payment_without_a_memo_passes() {
    for case in Case::both() {
        let message = case.legacy(&[limit(20_000), price(1), case.transfer()]);
        assert_eq!(case.check_message(message).unwrap().amount, 50_000);
    }
}

fn refused(change: impl Fn(Terms<'_>) -> Terms<'_>, reason: Reason) {
    for case in Case::both() {
        assert_reason(case.check_with(&case.stock_text(), &change), reason);
    }
}

#[test]
fn rule_1_another_scheme_on_either_side_is_refused() {
    fn upto(kind: Kind<'_>) -> Kind<'_> {
        Kind { scheme: "upto", ..kind }
    }
    refused(|terms| Terms { paid: upto(terms.paid), ..terms }, Reason::UnsupportedScheme);
    refused(|terms| Terms { asked: upto(terms.asked), ..terms }, Reason::UnsupportedScheme);
}

#[test]
fn rule_2_another_network_on_either_or_both_sides_is_refused() {
    for network in ["solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "eip155:8453", "sandbox", ""] {
        let other = Kind { scheme: "exact", network };
        refused(|terms| Terms { paid: other, ..terms }, Reason::NetworkMismatch);
        refused(|terms| Terms { asked: other, ..terms }, Reason::NetworkMismatch);
        refused(|terms| Terms { paid: other, asked: other, ..terms }, Reason::NetworkMismatch);
    }
}

#[test]
fn rule_2_a_version_does_not_take_the_other_ones_names() {
    for case in Case::both() {
        let other = match case.version {
            Version::V1 => "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
            Version::V2 => "solana-devnet",
        };
        let kind = Kind { scheme: "exact", network: other };
        let checked = case.check_with(&case.stock_text(), |terms| Terms { paid: kind, asked: kind, ..terms });
        assert_reason(checked, Reason::NetworkMismatch);
    }
}

#[test]
fn rule_3_without_a_fee_payer_it_is_refused() {
    refused(|terms| Terms { fee_payer: None, ..terms }, Reason::MissingFeePayer);
}

#[test]
fn rule_4_a_fee_payer_of_somebody_else_is_refused() {
    for text in ["4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T", "no key at all", ""] {
        for case in Case::both() {
            let checked =
                case.check_with(&case.stock_text(), |terms| Terms { fee_payer: Some(text), ..terms });
            assert_reason(checked, Reason::FeePayerNotManaged);
        }
    }
}

#[test]
fn rule_4_a_retired_fee_payer_is_still_ours() {
    let mut case = Case::new();
    let text = case.stock_text();
    let advertised = Keypair::new_from_array([78; 32]).pubkey();
    case.retired = vec![advertised];
    assert!(case.check_text(&text).is_ok());
}

#[test]
fn earlier_rules_speak_first() {
    for case in Case::both() {
        let bad = Kind { scheme: "upto", network: "nowhere" };
        let checked = case.check_with("!", |terms| Terms { paid: bad, fee_payer: None, ..terms });
        assert_reason(checked, Reason::UnsupportedScheme);
        let far = Kind { scheme: "exact", network: "nowhere" };
        let checked = case.check_with("!", |terms| Terms { asked: far, fee_payer: None, ..terms });
        assert_reason(checked, Reason::NetworkMismatch);
        assert_reason(
            case.check_with("!", |terms| Terms { fee_payer: None, ..terms }),
            Reason::MissingFeePayer,
        );
        assert_reason(case.check_text("!"), Reason::TransactionCouldNotBeDecoded);
    }
}

const API_PAGE: &str = include_str!("../../../docs/api.md");

/// Every reason on the wire, as the specification spells it. `v1` is given where it differs.
#[test]
fn reasons_are_spelled_as_published() {
    let p = "invalid_exact_svm_";
    let pp = "invalid_exact_svm_payload_";
    let table = [
        (Reason::UnsupportedScheme, format!("{p}unsupported_scheme"), Some("unsupported_scheme".to_owned())),
        (Reason::NetworkMismatch, format!("{p}network_mismatch"), Some("network_mismatch".to_owned())),
        (Reason::MissingFeePayer, format!("{pp}missing_fee_payer"), None),
        (
            Reason::FeePayerNotManaged,
            format!("{p}fee_payer_not_managed_by_facilitator"),
            Some("fee_payer_not_managed_by_facilitator".to_owned()),
        ),
        (Reason::TransactionCouldNotBeDecoded, format!("{pp}transaction_could_not_be_decoded"), None),
        (
            Reason::ExcessiveSigners,
            format!("{pp}excessive_signers"),
            Some(format!("{pp}transaction_could_not_be_decoded")),
        ),
        (Reason::FeePayerMismatch, format!("{p}fee_payer_mismatch"), None),
        (Reason::SignatureInvalid, format!("{pp}signature_invalid"), None),
        (Reason::InstructionsLength, format!("{pp}transaction_instructions_length"), None),
        (
            Reason::ComputeLimitInstruction,
            format!("{pp}transaction_instructions_compute_limit_instruction"),
            None,
        ),
        (
            Reason::ComputeLimitTooHigh,
            format!("{pp}transaction_instructions_compute_limit_instruction_too_high"),
            None,
        ),
        (
            Reason::ComputePriceInstruction,
            format!("{pp}transaction_instructions_compute_price_instruction"),
            None,
        ),
        (
            Reason::ComputePriceTooHigh,
            format!("{pp}transaction_instructions_compute_price_instruction_too_high"),
            None,
        ),
        (Reason::NoTransferInstruction, format!("{pp}no_transfer_instruction"), None),
        (Reason::FeePayerTransferringFunds, format!("{pp}transaction_fee_payer_transferring_funds"), None),
        (
            Reason::FeePayerInInstructionAccounts,
            format!("{pp}transaction_fee_payer_included_in_instruction_accounts"),
            None,
        ),
        (Reason::MintMismatch, format!("{pp}mint_mismatch"), None),
        (Reason::RecipientMismatch, format!("{pp}recipient_mismatch"), None),
        (Reason::AmountMismatch, format!("{pp}amount_mismatch"), None),
        (Reason::UnknownInstruction(3), format!("{pp}unknown_optional_instruction"), None),
        (Reason::UnknownInstruction(4), format!("{pp}unknown_fourth_instruction"), None),
        (Reason::UnknownInstruction(5), format!("{pp}unknown_fifth_instruction"), None),
        (Reason::UnknownInstruction(6), format!("{pp}unknown_sixth_instruction"), None),
        (
            Reason::UnknownInstruction(7),
            format!("{pp}unknown_seventh_instruction"),
            Some(format!("{pp}unknown_optional_instruction")),
        ),
        (Reason::UnknownInstruction(8), format!("{pp}unknown_optional_instruction"), None),
        (Reason::MemoCount, format!("{pp}memo_count"), None),
        (Reason::MemoMismatch, format!("{pp}memo_mismatch"), None),
        (
            Reason::SimulationFailed,
            format!("{p}transaction_simulation_failed"),
            Some("transaction_simulation_failed".to_owned()),
        ),
        (Reason::TransactionFailed, format!("{p}transaction_failed"), Some("transaction_failed".to_owned())),
        (Reason::InvalidPayload, "invalid_payload".to_owned(), None),
        (Reason::UnsupportedTransactionVersion, "unsupported_transaction_version".to_owned(), None),
        (Reason::DuplicateSettlement, "duplicate_settlement".to_owned(), None),
        (Reason::BlockHeightExceeded, "settle_exact_svm_block_height_exceeded".to_owned(), None),
        (Reason::KeySponsorshipUsedUp, "key_sponsorship_used_up".to_owned(), None),
        (Reason::AnonymousSponsorshipUsedUp, "anonymous_sponsorship_used_up".to_owned(), None),
        (Reason::SponsorshipUsedUp, "sponsorship_used_up".to_owned(), None),
        (Reason::SettlementPending, "settlement_pending".to_owned(), None),
        (Reason::UnexpectedVerifyError, "unexpected_verify_error".to_owned(), None),
        (Reason::UnexpectedSettleError, "unexpected_settle_error".to_owned(), None),
    ];
    for (reason, v2, v1) in table {
        assert_eq!(reason.text(Version::V2), v2);
        let documented = v2.strip_suffix("_too_high").unwrap_or(&v2);
        assert!(API_PAGE.contains(&format!("`{documented}`")), "docs/api.md does not know {v2}");
        let v1_documented = v1.iter().all(|v1| API_PAGE.contains(&format!("`{v1}`")));
        assert!(v1_documented, "docs/api.md does not know {v2} of version 1");
        assert_eq!(reason.text(Version::V1), v1.unwrap_or(v2));
    }
}
