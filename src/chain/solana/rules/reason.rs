//! Why a payment is not good: the published reason for programs, and a sentence for people.

use std::borrow::Cow;

use solana_pubkey::Pubkey;

use super::Version;

/// The published reasons. The two versions of x402 mostly share their spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not a rule: the request itself cannot be read.
    InvalidPayload,
    /// Before all rules.
    UnsupportedTransactionVersion,
    /// Rule 1.
    UnsupportedScheme,
    /// Rule 2.
    NetworkMismatch,
    /// Rule 3.
    MissingFeePayer,
    /// Rule 4.
    FeePayerNotManaged,
    /// Rules 5 and 9.
    TransactionCouldNotBeDecoded,
    /// Rule 6.
    ExcessiveSigners,
    /// Rule 7.
    FeePayerMismatch,
    /// Rule 8.
    SignatureInvalid,
    /// Rule 10.
    InstructionsLength,
    /// Rule 11.
    ComputeLimitInstruction,
    /// Rule 11.
    ComputeLimitTooHigh,
    /// Rule 12.
    ComputePriceInstruction,
    /// Rule 12.
    ComputePriceTooHigh,
    /// Rule 13.
    NoTransferInstruction,
    /// Rule 14.
    FeePayerTransferringFunds,
    /// Rules 14 and 18.
    FeePayerInInstructionAccounts,
    /// Rule 15.
    MintMismatch,
    /// Rule 16.
    RecipientMismatch,
    /// Rule 17.
    AmountMismatch,
    /// Rule 18, with the instruction's place, counted from 1.
    UnknownInstruction(usize),
    /// Rule 19.
    MemoCount,
    /// Rule 19.
    MemoMismatch,
    /// Rule 20, and what is known of the mint and the token accounts.
    SimulationFailed,
    /// The transaction landed, and failed.
    TransactionFailed,
    /// The same message was settled for other requirements.
    DuplicateSettlement,
    /// The blockhash is dead, and the transaction never landed.
    BlockHeightExceeded,
    /// The outcome is not known yet.
    SettlementPending,
    /// Not a rule: the paying agent's limits.
    SpendingLimitExceeded,
    /// Not a rule: what the paying agent may pay for.
    ServiceNotAllowed,
    /// The caller's key has used up the fees that are sponsored for it today.
    KeySponsorshipUsedUp,
    /// The fees that are sponsored today for those without a key are used up.
    AnonymousSponsorshipUsedUp,
    /// The fees that are sponsored today are used up.
    SponsorshipUsedUp,
    /// The service's own trouble.
    UnexpectedVerifyError,
    /// The service's own trouble.
    UnexpectedSettleError,
}

impl Reason {
    /// The reason on the wire.
    #[must_use]
    pub const fn text(self, version: Version) -> &'static str {
        match version {
            Version::V1 => self.v1(),
            Version::V2 => self.v2(),
        }
    }

    #[must_use]
    pub const fn v1(self) -> &'static str {
        match self {
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::NetworkMismatch => "network_mismatch",
            Self::FeePayerNotManaged => "fee_payer_not_managed_by_facilitator",
            Self::ExcessiveSigners => Self::TransactionCouldNotBeDecoded.v2(),
            Self::UnknownInstruction(7) => "invalid_exact_svm_payload_unknown_optional_instruction",
            Self::SimulationFailed => "transaction_simulation_failed",
            Self::TransactionFailed => "transaction_failed",
            same => same.v2(),
        }
    }

    #[must_use]
    pub const fn v2(self) -> &'static str {
        match self {
            Self::InvalidPayload => "invalid_payload",
            Self::UnsupportedTransactionVersion => "unsupported_transaction_version",
            Self::UnsupportedScheme => "invalid_exact_svm_unsupported_scheme",
            Self::NetworkMismatch => "invalid_exact_svm_network_mismatch",
            Self::MissingFeePayer => "invalid_exact_svm_payload_missing_fee_payer",
            Self::FeePayerNotManaged => "invalid_exact_svm_fee_payer_not_managed_by_facilitator",
            Self::TransactionCouldNotBeDecoded => {
                "invalid_exact_svm_payload_transaction_could_not_be_decoded"
            }
            Self::ExcessiveSigners => "invalid_exact_svm_payload_excessive_signers",
            Self::FeePayerMismatch => "invalid_exact_svm_fee_payer_mismatch",
            Self::SignatureInvalid => "invalid_exact_svm_payload_signature_invalid",
            Self::InstructionsLength => "invalid_exact_svm_payload_transaction_instructions_length",
            Self::ComputeLimitInstruction => {
                "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction"
            }
            Self::ComputeLimitTooHigh => {
                "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high"
            }
            Self::ComputePriceInstruction => {
                "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction"
            }
            Self::ComputePriceTooHigh => {
                "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high"
            }
            Self::NoTransferInstruction => "invalid_exact_svm_payload_no_transfer_instruction",
            Self::FeePayerTransferringFunds => {
                "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds"
            }
            Self::FeePayerInInstructionAccounts => {
                "invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts"
            }
            Self::MintMismatch => "invalid_exact_svm_payload_mint_mismatch",
            Self::RecipientMismatch => "invalid_exact_svm_payload_recipient_mismatch",
            Self::AmountMismatch => "invalid_exact_svm_payload_amount_mismatch",
            Self::UnknownInstruction(4) => "invalid_exact_svm_payload_unknown_fourth_instruction",
            Self::UnknownInstruction(5) => "invalid_exact_svm_payload_unknown_fifth_instruction",
            Self::UnknownInstruction(6) => "invalid_exact_svm_payload_unknown_sixth_instruction",
            Self::UnknownInstruction(7) => "invalid_exact_svm_payload_unknown_seventh_instruction",
            Self::UnknownInstruction(_) => "invalid_exact_svm_payload_unknown_optional_instruction",
            Self::MemoCount => "invalid_exact_svm_payload_memo_count",
            Self::MemoMismatch => "invalid_exact_svm_payload_memo_mismatch",
            Self::SimulationFailed => "invalid_exact_svm_transaction_simulation_failed",
            Self::TransactionFailed => "invalid_exact_svm_transaction_failed",
            Self::DuplicateSettlement => "duplicate_settlement",
            Self::BlockHeightExceeded => "settle_exact_svm_block_height_exceeded",
            Self::SettlementPending => "settlement_pending",
            Self::SpendingLimitExceeded => "spending_limit_exceeded",
            Self::ServiceNotAllowed => "service_not_allowed",
            Self::KeySponsorshipUsedUp => "key_sponsorship_used_up",
            Self::AnonymousSponsorshipUsedUp => "anonymous_sponsorship_used_up",
            Self::SponsorshipUsedUp => "sponsorship_used_up",
            Self::UnexpectedVerifyError => "unexpected_verify_error",
            Self::UnexpectedSettleError => "unexpected_settle_error",
        }
    }
}

/// A payment that is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// What was found, and what is needed.
    pub message: Cow<'static, str>,
    /// The transfer's authority, once a transfer has been found.
    pub payer: Option<Pubkey>,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into(), payer: None }
    }

    #[must_use]
    pub fn by(self, payer: Pubkey) -> Self {
        Self { payer: Some(payer), ..self }
    }
}
