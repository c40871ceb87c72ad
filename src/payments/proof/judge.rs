//! The rules that need neither network nor books: the same facts always give the same answer.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::PaymentProof;
use crate::{
    chain::{
        ConfirmedTransaction,
        assets::{Asset, Assets},
        movement::Movement,
    },
    clock::UnixMs,
    money::{Currency, decimal_text},
    payments::{Refusal, RefusalCode},
    requirements::{IssuedRequirement, Requirement, Scheme},
};

/// How old a proof and its transaction may be.
pub(super) const MAX_AGE: Duration = Duration::from_mins(15);
/// How far a caller's or the chain's clock may be ahead.
pub(super) const MAX_AHEAD: Duration = Duration::from_mins(1);

/// What a proof is held against.
#[derive(Clone, Debug)]
pub(super) enum Terms {
    /// A requirement, from the merchant or issued by the service.
    Requirement(Requirement),
    /// No requirement: any of these wallets must have got the amount that the proof states.
    Recipients(Vec<Pubkey>),
}

/// Rule 1: the proof's own time.
pub(super) fn check_timestamp(proof: &PaymentProof, now: UnixMs) -> Result<(), Refusal> {
    if proof.timestamp < now - MAX_AGE {
        return Err(expired("the proof is more than 15 minutes old: pay again and send the proof at once"));
    }
    if proof.timestamp > now + MAX_AHEAD {
        return Err(expired("the proof's timestamp is in the future: set the clock right"));
    }
    Ok(())
}

/// Rule 2: the payer signed the nonce.
pub(super) fn check_signature(proof: &PaymentProof) -> Result<(), Refusal> {
    if proof.signature.verify(proof.payer.as_ref(), proof.nonce.as_bytes()) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::InvalidSignature,
        "the signature is not the payer's Ed25519 signature over the bytes of the nonce",
    ))
}

/// Rule 4: the proof states what the requirement asks for.
pub(super) fn check_terms(proof: &PaymentProof, terms: &Terms) -> Result<(), Refusal> {
    let Terms::Requirement(requirement) = terms else { return Ok(()) };
    if requirement.nonce.as_ref().is_some_and(|nonce| *nonce != proof.nonce) {
        return Err(Refusal::new(
            RefusalCode::NonceMismatch,
            "the proof's nonce is not the one of the requirement",
        ));
    }
    if requirement.currency != proof.currency {
        return Err(Refusal::new(
            RefusalCode::CurrencyMismatch,
            format!("the requirement asks for {}, the proof states {}", requirement.currency, proof.currency),
        ));
    }
    let asked = tokens(requirement.amount.atomic(), proof.currency);
    let stated = tokens(proof.amount.atomic(), proof.currency);
    if proof.amount < requirement.amount {
        return Err(Refusal::new(
            RefusalCode::InsufficientAmount,
            format!("the requirement asks for {asked}, the proof states {stated}"),
        ));
    }
    let most = match requirement.scheme {
        Scheme::Exact => Some(requirement.amount),
        Scheme::Minimum => None,
        Scheme::Range { max } => Some(max),
    };
    if let Some(most) = most.filter(|most| proof.amount > *most) {
        let most = tokens(most.atomic(), proof.currency);
        return Err(Refusal::new(
            RefusalCode::AmountMismatch,
            format!("the requirement asks for {most} at the most, the proof states {stated}"),
        ));
    }
    Ok(())
}

/// Rule 5: the transaction did what the proof says. Gives the recipient that was paid.
pub(super) fn check_transaction(
    proof: &PaymentProof,
    terms: &Terms,
    transaction: &ConfirmedTransaction,
    assets: &Assets,
    now: UnixMs,
) -> Result<Pubkey, Refusal> {
    if let Some(failure) = &transaction.failure {
        return Err(Refusal::new(
            RefusalCode::TransactionFailed,
            format!("the transaction failed on chain and moved no money: {failure}"),
        ));
    }
    check_block_time(terms, transaction, now)?;
    if !transaction.signers.contains(&proof.payer) {
        return Err(Refusal::new(RefusalCode::InvalidPayment, "the payer did not sign the transaction"));
    }
    let asset = assets.get(proof.currency).ok_or_else(|| {
        Refusal::new(
            RefusalCode::CurrencyMismatch,
            format!("{} cannot be paid on this network", proof.currency),
        )
    })?;
    let (recipient, movement) = best_recipient(proof, terms, transaction, asset);
    check_movement(proof, transaction, assets, &recipient, movement)?;
    check_decimals(proof.currency, asset, transaction)?;
    Ok(recipient)
}

/// A payment made before it was asked for was made for something else. A minute's grace for clocks that disagree.
pub(super) fn check_issued_before(
    issued: Option<&IssuedRequirement>,
    transaction: &ConfirmedTransaction,
) -> Result<(), Refusal> {
    if issued.is_none_or(|issued| transaction.block_time + MAX_AHEAD >= issued.created_at) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::InvalidPayment,
        "the transaction was made before the requirement was issued: it paid for something else",
    ))
}

fn check_block_time(terms: &Terms, transaction: &ConfirmedTransaction, now: UnixMs) -> Result<(), Refusal> {
    if transaction.block_time < now - MAX_AGE {
        return Err(expired("the transaction is more than 15 minutes old"));
    }
    if transaction.block_time > now + MAX_AHEAD {
        return Err(expired("the transaction's block time is in the future"));
    }
    match terms {
        Terms::Requirement(Requirement { expires_at: Some(expires_at), .. })
            if transaction.block_time > *expires_at =>
        {
            Err(expired("the requirement had expired when the transaction was made"))
        }
        _ => Ok(()),
    }
}

/// Of several wallets that may have been paid, the one that got the stated amount, else the one that got most.
fn best_recipient(
    proof: &PaymentProof,
    terms: &Terms,
    transaction: &ConfirmedTransaction,
    asset: Asset,
) -> (Pubkey, Movement) {
    let candidates = match terms {
        Terms::Requirement(requirement) => std::slice::from_ref(&requirement.recipient),
        Terms::Recipients(recipients) => recipients.as_slice(),
    };
    let stated = i128::from(proof.amount.atomic());
    candidates
        .iter()
        .map(|recipient| (*recipient, Movement::between(transaction, asset, &proof.payer, recipient)))
        .max_by_key(|(_, movement)| (movement.attributable() == stated, movement.received))
        .unwrap_or_default()
}

fn check_movement(
    proof: &PaymentProof,
    transaction: &ConfirmedTransaction,
    assets: &Assets,
    recipient: &Pubkey,
    movement: Movement,
) -> Result<(), Refusal> {
    let stated = i128::from(proof.amount.atomic());
    let received = received_text(movement.received, proof.currency);
    let wanted = tokens(proof.amount.atomic(), proof.currency);
    if movement.received <= 0 {
        if let Some(other) = other_currency_received(proof, transaction, assets, recipient) {
            return Err(Refusal::new(
                RefusalCode::CurrencyMismatch,
                format!("{recipient} received {other}, not {}", proof.currency),
            ));
        }
        if movement.paid > 0 {
            return Err(Refusal::new(
                RefusalCode::RecipientMismatch,
                format!("the transaction paid somebody else: {recipient} received no {}", proof.currency),
            ));
        }
        return Err(Refusal::new(
            RefusalCode::InsufficientAmount,
            format!("the transaction moved no {} from the payer to {recipient}", proof.currency),
        ));
    }
    if movement.received < stated {
        return Err(Refusal::new(
            RefusalCode::InsufficientAmount,
            format!("{recipient} received {received}, not {wanted}"),
        ));
    }
    if movement.received > stated {
        return Err(Refusal::new(
            RefusalCode::AmountMismatch,
            format!("{recipient} received {received}, the proof states {wanted}"),
        ));
    }
    if movement.attributable() != stated {
        return Err(Refusal::new(
            RefusalCode::InvalidPayment,
            format!(
                "{recipient} received {received}, but not provably from the payer alone: others lost {} in the same \
                 transaction",
                proof.currency
            ),
        ));
    }
    Ok(())
}

/// A mint that counts in other steps than the currency does would make every amount wrong.
fn check_decimals(
    currency: Currency,
    asset: Asset,
    transaction: &ConfirmedTransaction,
) -> Result<(), Refusal> {
    let Asset::Token(mint) = asset else { return Ok(()) };
    let agrees = transaction
        .tokens_after
        .iter()
        .filter(|balance| balance.mint == mint)
        .all(|balance| balance.decimals == currency.decimals());
    if agrees {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::CurrencyMismatch,
        format!("the mint {mint} does not have the {} decimals of {currency}", currency.decimals()),
    ))
}

fn other_currency_received(
    proof: &PaymentProof,
    transaction: &ConfirmedTransaction,
    assets: &Assets,
    recipient: &Pubkey,
) -> Option<Currency> {
    assets
        .iter()
        .filter(|(currency, _)| *currency != proof.currency)
        .find(|(_, asset)| Movement::between(transaction, *asset, &proof.payer, recipient).received > 0)
        .map(|(currency, _)| currency)
}

fn tokens(units: u64, currency: Currency) -> String {
    format!("{} {currency}", decimal_text(units, currency.decimals()))
}

fn received_text(units: i128, currency: Currency) -> String {
    u64::try_from(units).map_or_else(|_| format!("no {currency}"), |units| tokens(units, currency))
}

fn expired(message: &str) -> Refusal {
    Refusal::new(RefusalCode::PaymentExpired, message)
}
