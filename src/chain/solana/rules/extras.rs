//! Rules 18 and 19: what may stand beside the transfer, and the memo.

use solana_pubkey::Pubkey;
use spl_memo_interface::v3 as memo_program;

use super::{Reason, Refusal, Rules, Terms, instruction::Instruction};

/// The program wallets guard their users' transactions with.
pub const LIGHTHOUSE: Pubkey = Pubkey::from_str_const("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

/// The longest `extra.memo`.
pub const MAX_MEMO_BYTES: usize = 256;

impl Rules {
    /// `transfer` is the transfer's index.
    pub(super) fn check_extras(
        &self,
        terms: &Terms<'_>,
        instructions: &[Instruction<'_>],
        transfer: usize,
    ) -> Result<(), Refusal> {
        let before = instructions[..transfer].iter().skip(2);
        let after = &instructions[transfer + 1..];
        before.chain(after).try_for_each(|extra| self.check_extra(extra))?;
        check_memo(terms, after)
    }

    /// Rule 18.
    fn check_extra(&self, extra: &Instruction<'_>) -> Result<(), Refusal> {
        if extra.is_guard() {
            // A guard changes nothing, so that it may look at the fee payer.
            return Ok(());
        }
        if extra.program == memo_program::ID {
            return self.check_isolation(extra);
        }
        let what = if extra.is_lighthouse() {
            "is Lighthouse's, but no assertion".to_owned()
        } else {
            format!("calls {}", extra.program)
        };
        Err(Refusal::new(
            Reason::UnknownInstruction(extra.place),
            format!(
                "instruction {} {what}: beside the transfer only SPL Memo and Lighthouse assertions are accepted",
                extra.place
            ),
        ))
    }

    /// An instruction can do with an account what its signature allows, so ours are kept away from all of them.
    pub(super) fn check_isolation(&self, instruction: &Instruction<'_>) -> Result<(), Refusal> {
        if instruction.is_guard() || !instruction.accounts.iter().any(|account| self.is_ours(account)) {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::FeePayerInInstructionAccounts,
            format!(
                "instruction {} names a fee payer of this service among its accounts: it may only pay the fee",
                instruction.place
            ),
        ))
    }
}

/// Rule 19.
fn check_memo(terms: &Terms<'_>, extras: &[Instruction<'_>]) -> Result<(), Refusal> {
    let Some(expected) = terms.memo.filter(|memo| !memo.is_empty()) else { return Ok(()) };
    if expected.len() > MAX_MEMO_BYTES {
        return Err(Refusal::new(
            Reason::MemoMismatch,
            format!(
                "paymentRequirements.extra.memo has {} bytes: at most {MAX_MEMO_BYTES} are accepted",
                expected.len()
            ),
        ));
    }
    let memos: Vec<_> = extras.iter().filter(|extra| extra.program == memo_program::ID).collect();
    let [memo] = memos[..] else {
        return Err(Refusal::new(
            Reason::MemoCount,
            format!(
                "the transaction has {} memos: exactly one must carry paymentRequirements.extra.memo",
                memos.len()
            ),
        ));
    };
    if memo.data == expected.as_bytes() {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::MemoMismatch,
        format!(
            "the memo is {:?}, paymentRequirements.extra.memo is {expected:?}",
            String::from_utf8_lossy(memo.data)
        ),
    ))
}
