//! Instructions with their indices resolved.

use solana_message::compiled_instruction::CompiledInstruction;
use solana_pubkey::Pubkey;

use super::{decode::Decoded, extras::LIGHTHOUSE};

/// The first discriminator of Lighthouse that only looks. `MemoryWrite` (0) makes its payer fund an account,
/// `MemoryClose` (1) takes one away.
const FIRST_GUARD: u8 = 2;

pub(super) struct Instruction<'a> {
    /// Its place in the transaction, counted from 1.
    pub place: usize,
    pub program: Pubkey,
    pub accounts: Vec<Pubkey>,
    pub data: &'a [u8],
}

/// The instructions of a sane transaction without lookup tables.
pub(super) fn all<'a>(decoded: &'a Decoded) -> Vec<Instruction<'a>> {
    let message = &decoded.transaction.message;
    let keys = message.static_account_keys();
    let resolve = |(index, compiled): (usize, &'a CompiledInstruction)| Instruction {
        place: index + 1,
        program: keys[usize::from(compiled.program_id_index)],
        accounts: compiled.accounts.iter().map(|account| keys[usize::from(*account)]).collect(),
        data: &compiled.data,
    };
    message.instructions().iter().enumerate().map(resolve).collect()
}

impl Instruction<'_> {
    pub fn is_lighthouse(&self) -> bool {
        self.program == LIGHTHOUSE
    }

    /// Whether it is one of Lighthouse's assertions, which change nothing.
    pub fn is_guard(&self) -> bool {
        self.is_lighthouse() && self.data.first().is_some_and(|discriminator| *discriminator >= FIRST_GUARD)
    }
}
