//! Why a transfer cannot be made, from the accounts it touches: what a failed simulation does not say in words.

use spl_token_2022_interface::{
    extension::{StateWithExtensions, memo_transfer::memo_required},
    state::Account as TokenAccount,
};

use super::{CheckedPayment, Reason, Refusal, Rules, number};
use crate::chain::accounts::Account;

/// The accounts of [`CheckedPayment::holdings`]; `None` for those that do not exist.
#[derive(Clone, Copy, Debug)]
pub struct Holdings<'a> {
    pub mint: Option<&'a Account>,
    pub source: Option<&'a Account>,
    pub destination: Option<&'a Account>,
}

type TokenState<'a> = StateWithExtensions<'a, TokenAccount>;

impl Rules {
    /// What the accounts say against a payment that simulating shows nothing of: the [mint](Self::check_mint)'s
    /// extensions, and that it is not payTo's own money.
    ///
    /// # Errors
    /// When payTo would not have as much more as is asked.
    pub fn check_holdings(&self, payment: &CheckedPayment, holdings: &Holdings<'_>) -> Result<(), Refusal> {
        self.check_mint(payment, holdings.mint)?;
        let refused = |reason, message| Err(Refusal::new(reason, message).by(payment.payer));
        let account = payment.source;
        match holdings.source.and_then(|source| token_account(payment, source)) {
            // Whoever may spend from another account of payTo's, as a delegate does, could "pay" it with its own tokens.
            Some(source) if source.base.owner == payment.pay_to => refused(
                Reason::RecipientMismatch,
                format!(
                    "the transfer comes from {account}, which is payTo's own: payTo would have no more than before"
                ),
            ),
            Some(_) => Ok(()),
            None => refused(
                Reason::SimulationFailed,
                format!(
                    "the transfer's source {account} is not known as a token account yet: send the payment again"
                ),
            ),
        }
    }

    /// Why a simulation failed, where the accounts show it: what is missing, and what to do about it. Only for a
    /// transaction that did fail, because the accounts may be of another slot than the simulation.
    #[must_use]
    pub fn explain(&self, payment: &CheckedPayment, holdings: &Holdings<'_>) -> Option<Refusal> {
        if let Err(refusal) = self.check_mint(payment, holdings.mint) {
            return Some(Refusal { reason: Reason::SimulationFailed, ..refusal });
        }
        let message = self
            .source_problem(payment, holdings.source)
            .or_else(|| self.destination_problem(payment, holdings.destination))?;
        Some(Refusal::new(Reason::SimulationFailed, message).by(payment.payer))
    }

    fn source_problem(&self, payment: &CheckedPayment, account: Option<&Account>) -> Option<String> {
        let name = self.name(&payment.mint);
        let sum = |units| self.sum(units, payment.decimals, &payment.mint);
        let Some(account) = account else {
            return Some(format!(
                "the payer has no {name} token account {}: {} needed",
                payment.source,
                sum(payment.amount)
            ));
        };
        let Some(token) = token_account(payment, account) else {
            return Some(format!("the transfer's source {} is not a {name} token account", payment.source));
        };
        let base = token.base;
        if base.is_frozen() {
            return Some(format!("the payer's {name} token account {} is frozen", payment.source));
        }
        if base.amount < payment.amount {
            let (held, needed) = (sum(base.amount), number(payment.amount, payment.decimals));
            return Some(format!("the payer holds {held}, {needed} needed"));
        }
        if base.owner == payment.payer {
            return None;
        }
        let allowance = if base.delegate.contains(&payment.payer) { base.delegated_amount } else { 0 };
        (allowance < payment.amount).then(|| {
            format!(
                "the payer may spend {} of {}'s token account {}, {} needed",
                sum(allowance),
                base.owner,
                payment.source,
                sum(payment.amount)
            )
        })
    }

    fn destination_problem(&self, payment: &CheckedPayment, account: Option<&Account>) -> Option<String> {
        let (name, address) = (self.name(&payment.mint), payment.destination);
        let Some(account) = account else {
            return Some(format!("payTo has no {name} token account: create it first, at {address}"));
        };
        let Some(token) = token_account(payment, account) else {
            return Some(format!("payTo's account {address} is not a {name} token account"));
        };
        if token.base.is_frozen() {
            return Some(format!("payTo's {name} token account {address} is frozen"));
        }
        memo_required(&token).then(|| {
            format!(
                "payTo's {name} token account {address} demands a memo right before each transfer, where x402 has \
                 none: payTo must turn that off"
            )
        })
    }
}

/// An initialised token account of the payment's mint.
fn token_account<'a>(payment: &CheckedPayment, account: &'a Account) -> Option<TokenState<'a>> {
    let state =
        (account.owner == payment.token_program).then(|| TokenState::unpack(&account.data).ok())??;
    (state.base.mint == payment.mint).then_some(state)
}
