//! A native program that calls another one.

use solana_instruction::{AccountMeta, Instruction};
use solana_program_runtime::declare_process_instruction;
use solana_pubkey::Pubkey;

pub const PROXY: Pubkey = Pubkey::from_str_const("Proxy11111111111111111111111111111111111111");

// Calls the program that is its first account with the other accounts and the data it was given.
declare_process_instruction!(Proxy, 150, |invoke_context| {
    let transaction_context = &invoke_context.transaction_context;
    let context = transaction_context.get_current_instruction_context()?;
    let data = context.get_instruction_data().to_vec();
    let mut accounts = Vec::new();
    for index in 0..context.get_number_of_instruction_accounts() {
        let key = *context.get_key_of_instruction_account(index)?;
        accounts.push(AccountMeta {
            pubkey: key,
            is_signer: context.is_instruction_account_signer(index)?,
            is_writable: context.is_instruction_account_writable(index)?,
        });
    }
    let program_id = accounts.remove(0).pubkey;
    invoke_context.native_invoke_signed(Instruction { program_id, accounts, data }, &[])?;
    Ok(())
});

/// The same instruction, as an inner call of the proxy.
pub fn through_proxy(inner: Instruction) -> Instruction {
    let mut accounts = vec![AccountMeta::new_readonly(inner.program_id, false)];
    accounts.extend(inner.accounts);
    Instruction { program_id: PROXY, accounts, data: inner.data }
}
