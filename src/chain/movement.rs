//! Who got what in a transaction, by balances before and after it.
//!
//! Instructions are not read: a transfer made by an inner call counts, one that is undone later in the same
//! transaction does not, and a Token-2022 transfer fee, which the recipient cannot spend, is not received.

use solana_pubkey::Pubkey;

use super::{ConfirmedTransaction, TokenBalance, assets::Asset};

/// What a transaction moved of one asset, seen from one payer and one recipient. Atomic units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Movement {
    /// What the recipient has more than before (negative: less).
    pub received: i128,
    /// What the payer has less than before, the transaction fee apart (negative: more).
    pub paid: i128,
    /// What everyone else who has less than before has less, taken together: never negative.
    pub paid_by_others: i128,
}

impl Movement {
    #[must_use]
    pub fn between(
        transaction: &ConfirmedTransaction,
        asset: Asset,
        payer: &Pubkey,
        recipient: &Pubkey,
    ) -> Self {
        match asset {
            Asset::Sol => Self::of_lamports(transaction, payer, recipient),
            Asset::Token(mint) => Self::of_tokens(transaction, &mint, payer, recipient),
        }
    }

    /// What provably went from the payer to the recipient: all that was received, less what others can have sent.
    #[must_use]
    pub fn attributable(self) -> i128 {
        self.received.min(self.paid).min(self.received - self.paid_by_others)
    }

    fn of_tokens(
        transaction: &ConfirmedTransaction,
        mint: &Pubkey,
        payer: &Pubkey,
        recipient: &Pubkey,
    ) -> Self {
        let change = |owner: &Pubkey| {
            held(&transaction.tokens_after, mint, owner) - held(&transaction.tokens_before, mint, owner)
        };
        let mut others: Vec<Pubkey> = transaction
            .tokens_before
            .iter()
            .filter(|balance| balance.mint == *mint && balance.owner != *payer && balance.owner != *recipient)
            .map(|balance| balance.owner)
            .collect();
        others.sort_unstable();
        others.dedup();
        Self {
            received: change(recipient),
            paid: -change(payer),
            paid_by_others: others.iter().map(|owner| (-change(owner)).max(0)).sum(),
        }
    }

    /// A payer's own token accounts are the payer's lamports too: rent they give back, and SOL unwrapped on the way,
    /// is the payer's money.
    fn of_lamports(transaction: &ConfirmedTransaction, payer: &Pubkey, recipient: &Pubkey) -> Self {
        let fee_payer = transaction.signers.first();
        let mut movement = Self::default();
        for balance in &transaction.lamports {
            let mut change = i128::from(balance.after) - i128::from(balance.before);
            if fee_payer == Some(&balance.account) {
                change += i128::from(transaction.fee);
            }
            if balance.account == *recipient {
                movement.received += change;
            }
            if balance.account == *payer || owner_of(transaction, &balance.account) == Some(*payer) {
                movement.paid -= change;
            } else if balance.account != *recipient {
                movement.paid_by_others += (-change).max(0);
            }
        }
        movement
    }
}

fn held(balances: &[TokenBalance], mint: &Pubkey, owner: &Pubkey) -> i128 {
    balances
        .iter()
        .filter(|balance| balance.mint == *mint && balance.owner == *owner)
        .map(|balance| i128::from(balance.amount))
        .sum()
}

/// Who owned a token account before the transaction, or, where it made the account, after.
fn owner_of(transaction: &ConfirmedTransaction, account: &Pubkey) -> Option<Pubkey> {
    transaction
        .tokens_before
        .iter()
        .chain(&transaction.tokens_after)
        .find(|balance| balance.account == *account)
        .map(|balance| balance.owner)
}
