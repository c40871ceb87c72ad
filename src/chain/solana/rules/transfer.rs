//! Rules 13 to 17: the one transfer, from whom, of what, to whom, how much.

use solana_pubkey::Pubkey;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;

use super::{Reason, Refusal, Rules, Terms, decode::Decoded, instruction::Instruction};

const TRANSFER_CHECKED: u8 = 12;

/// What a `TransferChecked` instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transfer {
    pub program: Pubkey,
    pub source: Pubkey,
    pub mint: Pubkey,
    pub destination: Pubkey,
    pub authority: Pubkey,
    pub amount: u64,
    pub decimals: u8,
}

impl Rules {
    /// The transfer, its index among the instructions, and the wallet that is paid.
    pub(super) fn check_transfer(
        &self,
        terms: &Terms<'_>,
        instructions: &[Instruction<'_>],
    ) -> Result<(usize, Transfer, Pubkey), Refusal> {
        let (index, transfer) = find(instructions).ok_or_else(no_transfer)?;
        let pay_to = self
            .check_who_pays(instructions, index, &transfer)
            .and_then(|()| self.check_asset(terms, &transfer))
            .and_then(|()| check_recipient(terms, &transfer))
            .and_then(|pay_to| self.check_amount(terms, &transfer).map(|()| pay_to))
            .map_err(|refusal| refusal.by(transfer.authority))?;
        Ok((index, transfer, pay_to))
    }

    /// Rule 14: nothing of ours is moved, and none of us is lent to the compute budget or to the transfer. Rule 18 sees
    /// to the others.
    fn check_who_pays(
        &self,
        instructions: &[Instruction<'_>],
        index: usize,
        transfer: &Transfer,
    ) -> Result<(), Refusal> {
        if self.is_ours(&transfer.authority) {
            return Err(Refusal::new(
                Reason::FeePayerTransferringFunds,
                format!(
                    "the transfer's authority {} is a fee payer of this service: the buyer must pay",
                    transfer.authority
                ),
            ));
        }
        instructions[..2].iter().chain([&instructions[index]]).try_for_each(|used| self.check_isolation(used))
    }

    /// Rule 15.
    fn check_asset(&self, terms: &Terms<'_>, transfer: &Transfer) -> Result<(), Refusal> {
        let mint = &transfer.mint;
        if terms.asset.parse() != Ok(*mint) {
            return Err(Refusal::new(
                Reason::MintMismatch,
                format!("the transfer is of {}, the requirements ask for {}", self.name(mint), terms.asset),
            ));
        }
        Ok(())
    }

    /// What simulating the transfer would find, where it can be said without: asked last, as rule 20 is.
    pub(super) fn check_foreseeable(
        &self,
        decoded: &Decoded,
        instruction: &Instruction<'_>,
        transfer: &Transfer,
    ) -> Result<(), Refusal> {
        check_authority_signs(decoded, instruction, transfer)?;
        match self.currency_of(&transfer.mint) {
            Some(currency) if currency.decimals() != transfer.decimals => Err(Refusal::new(
                Reason::SimulationFailed,
                format!(
                    "the transfer counts on {} decimals, {currency} has {}",
                    transfer.decimals,
                    currency.decimals()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Rule 17.
    fn check_amount(&self, terms: &Terms<'_>, transfer: &Transfer) -> Result<(), Refusal> {
        if transfer.amount == terms.amount {
            return Ok(());
        }
        let sum = |units| self.sum(units, transfer.decimals, &transfer.mint);
        Err(Refusal::new(
            Reason::AmountMismatch,
            format!(
                "the transfer moves {} ({} atomic units), exactly {} ({}) is required",
                sum(transfer.amount),
                transfer.amount,
                sum(terms.amount),
                terms.amount
            ),
        ))
    }
}

fn no_transfer() -> Refusal {
    Refusal::new(
        Reason::NoTransferInstruction,
        "after the compute budget, wallet guards apart, TransferChecked of SPL Token or Token-2022 must come",
    )
}

/// Rule 13. Whatever of Lighthouse stands before the transfer is looked at by rule 18.
fn find(instructions: &[Instruction<'_>]) -> Option<(usize, Transfer)> {
    let (index, instruction) =
        instructions.iter().enumerate().skip(2).find(|(_, instruction)| !instruction.is_lighthouse())?;
    Some((index, read(instruction)?))
}

/// What is behind the arguments is skipped, as the token programs do.
fn read(instruction: &Instruction<'_>) -> Option<Transfer> {
    let program = instruction.program;
    if program != spl_token_interface::ID && program != spl_token_2022_interface::ID {
        return None;
    }
    let [source, mint, destination, authority, ..] = instruction.accounts[..] else { return None };
    let (&TRANSFER_CHECKED, arguments) = instruction.data.split_first()? else { return None };
    let (amount, rest) = arguments.split_first_chunk()?;
    let (amount, decimals) = (u64::from_le_bytes(*amount), *rest.first()?);
    Some(Transfer { program, source, mint, destination, authority, amount, decimals })
}

/// A lone authority is a signer. One with accounts after it may be a multisig, whose members sign.
fn check_authority_signs(
    decoded: &Decoded,
    instruction: &Instruction<'_>,
    transfer: &Transfer,
) -> Result<(), Refusal> {
    let message = &decoded.transaction.message;
    let signers = usize::from(message.header().num_required_signatures);
    let signs = message.static_account_keys()[..signers].contains(&transfer.authority);
    let alone = instruction.accounts.len() == 4;
    if signs || !alone {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::SimulationFailed,
        format!("the transfer's authority {} does not sign the transaction", transfer.authority),
    ))
}

/// Rule 16. Who is paid.
fn check_recipient(terms: &Terms<'_>, transfer: &Transfer) -> Result<Pubkey, Refusal> {
    let found = transfer.destination;
    let elsewhere = |expected: String| {
        Refusal::new(
            Reason::RecipientMismatch,
            format!(
                "the transfer goes to {found}, the associated token account of payTo {} is {expected}",
                terms.pay_to
            ),
        )
    };
    let pay_to: Pubkey = terms.pay_to.parse().map_err(|_| elsewhere("unknown".to_owned()))?;
    let expected = get_associated_token_address_with_program_id(&pay_to, &transfer.mint, &transfer.program);
    if expected != found {
        return Err(elsewhere(expected.to_string()));
    }
    // A delegate of payTo could otherwise "pay" it with its own tokens; its other accounts are for the chain to tell.
    if transfer.source == found {
        return Err(Refusal::new(
            Reason::RecipientMismatch,
            format!("the transfer goes from {found} to itself: nothing would reach payTo"),
        ));
    }
    Ok(pay_to)
}
