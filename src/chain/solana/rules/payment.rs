//! A payment that passed the rules.

use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_transaction::versioned::VersionedTransaction;

use super::{
    decode::{self, Decoded},
    layout::Budget,
    transfer::Transfer,
};

/// What a transaction that passed rules 1 to 19 will do, and what it takes to settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPayment {
    /// The transfer's authority.
    pub payer: Pubkey,
    /// The account the tokens come from; mostly, but not necessarily, the payer's associated token account.
    pub source: Pubkey,
    pub mint: Pubkey,
    /// The wallet that is paid.
    pub pay_to: Pubkey,
    /// Its associated token account.
    pub destination: Pubkey,
    pub token_program: Pubkey,
    /// Atomic units.
    pub amount: u64,
    /// As the transfer states them; the token program refuses others than the mint's.
    pub decimals: u8,
    pub compute_unit_limit: u32,
    /// Micro-lamports per compute unit.
    pub compute_unit_price: u64,
    /// The two together, rounded up.
    pub priority_fee_lamports: u64,
    /// Account 0: who signs at settlement and pays the fee.
    pub fee_payer: Pubkey,
    /// All who sign, the fee payer first. The others have.
    pub signers: Vec<Pubkey>,
    pub blockhash: Hash,
    /// SHA-256 of the message bytes: what a payment is known by. The envelope would not do, as anybody may change the
    /// signature that the fee payer will replace.
    pub message_sha256: [u8; 32],
    /// With whatever stood in the fee payer's signature.
    pub transaction: VersionedTransaction,
}

impl CheckedPayment {
    pub(super) fn new(
        decoded: Decoded,
        fee_payer: Pubkey,
        budget: Budget,
        transfer: Transfer,
        pay_to: Pubkey,
    ) -> Self {
        let Decoded { transaction, message } = decoded;
        let keys = transaction.message.static_account_keys();
        Self {
            payer: transfer.authority,
            source: transfer.source,
            mint: transfer.mint,
            pay_to,
            destination: transfer.destination,
            token_program: transfer.program,
            amount: transfer.amount,
            decimals: transfer.decimals,
            compute_unit_limit: budget.compute_unit_limit,
            compute_unit_price: budget.compute_unit_price,
            priority_fee_lamports: budget.priority_fee_lamports,
            fee_payer,
            signers: keys[..transaction.signatures.len()].to_vec(),
            blockhash: *transaction.message.recent_blockhash(),
            message_sha256: decode::sha256(&message),
            transaction,
        }
    }

    /// The accounts that [`Holdings`](super::Holdings) wants, in its order: mint, source, destination.
    #[must_use]
    pub const fn holdings(&self) -> [Pubkey; 3] {
        [self.mint, self.source, self.destination]
    }
}
