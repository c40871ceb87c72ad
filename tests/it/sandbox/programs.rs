//! Programs: inner instructions, mints with extensions, lookup tables.

use pay402::sandbox::{FINALITY_SLOTS, MintSpec, SandboxError, TokenProgram, TransferFee, USDC};
use solana_address_lookup_table_interface::{instruction, state::AddressLookupTable};
use solana_instruction::{AccountMeta, Instruction};
use solana_message::{AddressLookupTableAccount, VersionedMessage, v0};
use solana_program_runtime::solana_sbpf::program::BuiltinFunctionDefinition;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status::{UiTransactionEncoding, option_serializer::OptionSerializer};
use spl_token_2022_interface::instruction::transfer_checked;

use super::{
    proxy::{PROXY, Proxy, through_proxy},
    setup::{start, token_account},
};

#[tokio::test]
async fn a_transfer_by_an_inner_call_is_in_the_metadata() {
    let fixture = start().await;
    fixture.sandbox.add_builtin(PROXY, Proxy::register);
    let agent = fixture.agent();
    let program = TokenProgram::Token;
    let transfer = transfer_checked(
        &program.id(),
        &token_account(&USDC, &agent.pubkey(), program),
        &USDC,
        &token_account(&USDC, &fixture.merchant(), program),
        &agent.pubkey(),
        &[],
        11,
        6,
    )
    .unwrap();
    let signature = fixture.pay(&fixture.legacy(&[through_proxy(transfer)], &[agent])).await;
    assert_eq!(fixture.sandbox.token_balance(&USDC, &fixture.merchant()), 11);
    let read = fixture.read(&signature, UiTransactionEncoding::JsonParsed, None).await.unwrap();
    let OptionSerializer::Some(inner) = read.transaction.meta.unwrap().inner_instructions else {
        panic!("no inner instructions")
    };
    let inner = serde_json::to_value(inner).unwrap();
    assert_eq!(inner[0]["index"], 0);
    let parsed = &inner[0]["instructions"][0];
    assert_eq!(parsed["parsed"]["type"], "transferChecked");
    assert_eq!(parsed["parsed"]["info"]["tokenAmount"]["amount"], "11");
    assert_eq!(parsed["stackHeight"], 2);
}

#[tokio::test]
async fn a_transfer_fee_is_withheld() {
    let fixture = start().await;
    let spec = MintSpec {
        decimals: 6,
        program: TokenProgram::Token2022,
        transfer_fee: Some(TransferFee { basis_points: 100, maximum: 1_000_000 }),
        transfer_hook: None,
    };
    let mint = fixture.sandbox.create_mint(spec).unwrap();
    fixture.sandbox.mint_tokens(&mint, &fixture.agent().pubkey(), 1_000_000).unwrap();
    fixture.sandbox.mint_tokens(&mint, &fixture.merchant(), 0).unwrap();
    fixture.pay(&fixture.token_payment(&mint, TokenProgram::Token2022, 500_000)).await;
    assert_eq!(fixture.sandbox.token_balance(&mint, &fixture.merchant()), 495_000);
    let refused = fixture.sandbox.create_mint(MintSpec { program: TokenProgram::Token, ..spec });
    assert!(matches!(refused, Err(SandboxError::MintSpec(_))));
    let refused = fixture.sandbox.mint_tokens(&Pubkey::new_unique(), &fixture.merchant(), 1);
    assert!(matches!(refused, Err(SandboxError::NotAMint(_))));
}

#[tokio::test]
async fn a_transfer_hook_stands_in_the_way() {
    let fixture = start().await;
    let spec = MintSpec {
        decimals: 6,
        program: TokenProgram::Token2022,
        transfer_fee: None,
        transfer_hook: Some(PROXY),
    };
    let mint = fixture.sandbox.create_mint(spec).unwrap();
    fixture.sandbox.mint_tokens(&mint, &fixture.agent().pubkey(), 10).unwrap();
    fixture.sandbox.mint_tokens(&mint, &fixture.merchant(), 0).unwrap();
    // The hook's program is not among the accounts, so that the transfer cannot be made.
    let payment = fixture.token_payment(&mint, TokenProgram::Token2022, 5);
    let signature = fixture.sandbox.send(&payment).unwrap();
    assert!(fixture.status(&signature).await.unwrap().err.is_some());
}

#[tokio::test]
async fn addresses_are_loaded_from_a_lookup_table() {
    let fixture = start().await;
    let agent = fixture.agent();
    let recent = fixture.sandbox.slot() - 1;
    let (create, table) = instruction::create_lookup_table(agent.pubkey(), agent.pubkey(), recent);
    let extend = instruction::extend_lookup_table(
        table,
        agent.pubkey(),
        Some(agent.pubkey()),
        vec![fixture.merchant()],
    );
    fixture.pay(&fixture.legacy(&[create, extend], &[agent])).await;

    let data = fixture.rpc.get_account_data(&table).await.unwrap();
    let addresses = AddressLookupTable::deserialize(&data).unwrap().addresses.to_vec();
    let transfer = solana_system_interface::instruction::transfer(&agent.pubkey(), &fixture.merchant(), 5);
    let tables = [AddressLookupTableAccount { key: table, addresses }];
    let blockhash = fixture.sandbox.latest_blockhash();
    let message = v0::Message::try_compile(&agent.pubkey(), &[transfer], &tables, blockhash).unwrap();
    assert_eq!(message.address_table_lookups.len(), 1);
    let payment = VersionedTransaction::try_new(VersionedMessage::V0(message), &[agent]).unwrap();
    let before = fixture.sandbox.balance(&fixture.merchant());
    let signature = fixture.pay(&payment).await;
    assert_eq!(fixture.sandbox.balance(&fixture.merchant()), before + 5);
    let read = fixture.read(&signature, UiTransactionEncoding::Json, Some(0)).await.unwrap();
    let OptionSerializer::Some(loaded) = read.transaction.meta.unwrap().loaded_addresses else {
        panic!("no loaded addresses")
    };
    assert_eq!(loaded.writable, [fixture.merchant().to_string()]);
}

#[tokio::test]
async fn a_memo_is_logged_and_listed() {
    let fixture = start().await;
    let agent = fixture.agent();
    let memo = Instruction {
        program_id: spl_memo_interface::v3::ID,
        accounts: vec![AccountMeta::new_readonly(agent.pubkey(), true)],
        data: b"402".to_vec(),
    };
    let signature = fixture.pay(&fixture.legacy(&[memo], &[agent])).await;
    fixture.sandbox.advance_slots(FINALITY_SLOTS);
    let found = fixture.rpc.get_signatures_for_address(&agent.pubkey()).await.unwrap();
    assert_eq!(found[0].signature, signature.to_string());
    assert_eq!(found[0].memo.as_deref(), Some("[3] 402"));
}
