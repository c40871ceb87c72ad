//! What a wallet does: read, send, wait, read back.

use pay402::sandbox::{FINALITY_SLOTS, PYUSD, TokenProgram, USDC, USDT};
use solana_account_decoder::{UiAccountData, UiAccountEncoding};
use solana_clock::DEFAULT_MS_PER_SLOT;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{config::RpcAccountInfoConfig, request::TokenAccountsFilter};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction_status::{UiTransactionEncoding, option_serializer::OptionSerializer};

use super::setup::{START, start, token_account};

const STABLECOINS: [(Pubkey, TokenProgram); 3] =
    [(USDC, TokenProgram::Token), (USDT, TokenProgram::Token), (PYUSD, TokenProgram::Token2022)];

#[tokio::test]
async fn a_payment_in_each_stablecoin_arrives() {
    let fixture = start().await;
    let (agent, merchant) = (fixture.agent().pubkey(), fixture.merchant());
    for (mint, program) in STABLECOINS {
        assert_eq!(fixture.sandbox.token_balance(&mint, &agent), 1_000_000_000);
        let signature = fixture.pay(&fixture.token_payment(&mint, program, 250_000)).await;
        assert_eq!(fixture.status(&signature).await.unwrap().err, None);
        assert_eq!(fixture.sandbox.token_balance(&mint, &merchant), 250_000);
        let account = token_account(&mint, &merchant, program);
        let balance = fixture.rpc.get_token_account_balance(&account).await.unwrap();
        assert_eq!((balance.amount.as_str(), balance.ui_amount_string.as_str()), ("250000", "0.25"));
        let supply = fixture.rpc.get_token_supply(&mint).await.unwrap();
        assert_eq!((supply.amount.as_str(), supply.decimals), ("1000000000", 6));
    }
}

#[tokio::test]
async fn a_payment_in_sol_reads_back_with_its_metadata() {
    let fixture = start().await;
    let (agent, merchant) = (fixture.agent().pubkey(), fixture.merchant());
    let before = fixture.sandbox.balance(&merchant);
    let signature = fixture.pay(&fixture.payment(1_000_000)).await;
    assert_eq!(fixture.rpc.get_balance(&merchant).await.unwrap(), before + 1_000_000);

    let read = fixture.read(&signature, UiTransactionEncoding::Base64, None).await.unwrap();
    assert_eq!(read.block_time, Some(START.as_secs()));
    let decoded = read.transaction.transaction.decode().unwrap();
    assert_eq!(decoded.signatures[0], signature);
    let keys = decoded.message.static_account_keys();
    let at = |key: &Pubkey| keys.iter().position(|known| known == key).unwrap();
    let meta = read.transaction.meta.unwrap();
    assert_eq!((meta.err, meta.fee), (None, 5_000));
    assert_eq!(meta.pre_balances[at(&agent)] - meta.post_balances[at(&agent)], 1_005_000);
    assert_eq!(meta.post_balances[at(&merchant)] - meta.pre_balances[at(&merchant)], 1_000_000);
    assert_eq!(meta.pre_token_balances, OptionSerializer::Some(vec![]));
    let OptionSerializer::Some(logs) = meta.log_messages else { panic!("no logs") };
    assert_eq!(logs[0], "Program 11111111111111111111111111111111 invoke [1]");
}

#[tokio::test]
async fn token_balances_are_in_the_metadata() {
    let fixture = start().await;
    for (mint, program) in STABLECOINS {
        let payment = fixture.token_payment(&mint, program, 250_000);
        let keys = payment.message.static_account_keys().to_vec();
        let signature = fixture.pay(&payment).await;
        let read = fixture.read(&signature, UiTransactionEncoding::JsonParsed, None).await.unwrap();
        let meta = read.transaction.meta.unwrap();
        let (OptionSerializer::Some(before), OptionSerializer::Some(after)) =
            (meta.pre_token_balances, meta.post_token_balances)
        else {
            panic!("no token balances")
        };
        assert!(before.is_sorted_by_key(|balance| balance.account_index));
        let merchant = token_account(&mint, &fixture.merchant(), program);
        let index = u8::try_from(keys.iter().position(|key| *key == merchant).unwrap()).unwrap();
        let amount = |balances: &[solana_transaction_status::UiTransactionTokenBalance]| {
            let balance = balances.iter().find(|balance| balance.account_index == index).unwrap().clone();
            assert_eq!(balance.mint, mint.to_string());
            assert_eq!(balance.owner, OptionSerializer::Some(fixture.merchant().to_string()));
            assert_eq!(balance.program_id, OptionSerializer::Some(program.id().to_string()));
            balance.ui_token_amount.amount
        };
        assert_eq!((amount(&before).as_str(), amount(&after).as_str()), ("0", "250000"));
    }
}

#[tokio::test]
async fn a_versioned_transaction_needs_the_reader_to_know_versions() {
    let fixture = start().await;
    let agent = fixture.agent();
    let transfer =
        solana_system_interface::instruction::transfer(&agent.pubkey(), &fixture.merchant(), 1_000_000);
    let signature = fixture.pay(&fixture.v0(&[transfer], &[agent])).await;
    let refused = fixture.read(&signature, UiTransactionEncoding::Json, None).await.unwrap_err();
    assert!(refused.to_string().contains("-32015"), "{refused}");
    let read = fixture.read(&signature, UiTransactionEncoding::Json, Some(0)).await.unwrap();
    assert_eq!(serde_json::to_value(read.transaction.version).unwrap(), 0);
}

#[tokio::test]
async fn accounts_read_in_every_encoding() {
    let fixture = start().await;
    let account = token_account(&PYUSD, &fixture.agent().pubkey(), TokenProgram::Token2022);
    for encoding in [UiAccountEncoding::Base64, UiAccountEncoding::Base64Zstd] {
        let config = RpcAccountInfoConfig { encoding: Some(encoding), ..RpcAccountInfoConfig::default() };
        let read = fixture.rpc.get_ui_account_with_config(&account, config).await.unwrap().value.unwrap();
        assert_eq!(read.owner, TokenProgram::Token2022.id().to_string());
        assert_eq!(read.data.decode().unwrap().len() as u64, read.space.unwrap());
    }
    let config = RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::JsonParsed),
        ..RpcAccountInfoConfig::default()
    };
    let read = fixture.rpc.get_ui_account_with_config(&account, config).await.unwrap().value.unwrap();
    let UiAccountData::Json(parsed) = read.data else { panic!("not parsed") };
    assert_eq!(parsed.parsed["info"]["tokenAmount"]["uiAmountString"], "1000");
    let config =
        RpcAccountInfoConfig { encoding: Some(UiAccountEncoding::Base58), ..RpcAccountInfoConfig::default() };
    let refused = fixture.rpc.get_ui_account_with_config(&account, config).await.unwrap_err();
    assert!(refused.to_string().contains("please use Base64"), "{refused}");

    let both = fixture.rpc.get_multiple_accounts(&[account, Pubkey::new_unique()]).await.unwrap();
    assert!(both[0].is_some() && both[1].is_none());
    let owner = fixture.agent().pubkey();
    let held =
        fixture.rpc.get_token_accounts_by_owner(&owner, TokenAccountsFilter::Mint(PYUSD)).await.unwrap();
    assert_eq!(held.iter().map(|held| held.pubkey.clone()).collect::<Vec<_>>(), [account.to_string()]);
    let classic = TokenAccountsFilter::ProgramId(TokenProgram::Token.id());
    assert_eq!(fixture.rpc.get_token_accounts_by_owner(&owner, classic).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_chain_tells_about_itself() {
    let fixture = start().await;
    let rpc = &fixture.rpc;
    rpc.get_health().await.unwrap();
    assert_eq!(rpc.get_version().await.unwrap().solana_core.split('.').count(), 3);
    let (slot, height) = (rpc.get_slot().await.unwrap(), rpc.get_block_height().await.unwrap());
    assert_eq!(slot, fixture.sandbox.slot() - 1);
    assert!(height < slot, "a height that equals its slot hides mistakes");
    let epoch = rpc.get_epoch_info().await.unwrap();
    assert_eq!((epoch.absolute_slot, epoch.block_height), (slot, height));
    assert_eq!(rpc.get_block_time(slot).await.unwrap(), START.as_secs() - 1);
    assert_eq!(rpc.get_minimum_balance_for_rent_exemption(165).await.unwrap(), 2_039_280);
    let fees = rpc.get_recent_prioritization_fees(&[]).await.unwrap();
    assert_eq!((fees.len(), fees[149].slot), (150, fixture.sandbox.slot()));
    let payment = fixture.payment(1);
    fixture.sandbox.advance_slots(1);
    let solana_message::VersionedMessage::Legacy(message) = payment.message else { unreachable!() };
    assert_eq!(rpc.get_fee_for_message(&message).await.unwrap(), 5_000);
    fixture.sandbox.advance_slots(200);
    assert!(rpc.get_fee_for_message(&message).await.is_err(), "its blockhash is forgotten");
    let other = start().await;
    assert_eq!(rpc.get_genesis_hash().await.unwrap(), other.rpc.get_genesis_hash().await.unwrap());
}

#[tokio::test]
async fn signatures_are_found_by_address() {
    let fixture = start().await;
    let mut sent = Vec::new();
    for lamports in 1..=3 {
        sent.push(fixture.pay(&fixture.payment(lamports)).await);
    }
    sent.reverse();
    let found = fixture.rpc.get_signatures_for_address(&fixture.merchant()).await.unwrap();
    // Unless told otherwise, the client asks for what is final.
    assert!(found.is_empty());
    fixture.sandbox.advance_slots(FINALITY_SLOTS);
    let found = fixture.rpc.get_signatures_for_address(&fixture.merchant()).await.unwrap();
    let found: Vec<_> =
        found.into_iter().map(|found| found.signature.parse::<Signature>().unwrap()).collect();
    assert_eq!(found, sent);
}

#[tokio::test]
async fn the_faucet_gives_twice() {
    let fixture = start().await;
    let stranger = Pubkey::new_unique();
    for _ in 0..2 {
        let signature = fixture.rpc.request_airdrop(&stranger, 1_000_000_000).await.unwrap();
        fixture.sandbox.advance_slots(1);
        assert_eq!(fixture.status(&signature).await.unwrap().err, None);
    }
    assert_eq!(fixture.sandbox.balance(&stranger), 2_000_000_000);
    for _ in 0..2 {
        fixture.sandbox.mint_tokens(&USDC, &stranger, 7).unwrap();
    }
    assert_eq!(fixture.sandbox.token_balance(&USDC, &stranger), 14);
    assert!(fixture.sandbox.airdrop(&Pubkey::new_unique(), 1).is_err(), "too little to stay");
}

#[tokio::test]
async fn the_same_seed_makes_the_same_chain() {
    let (one, two) = (start().await, start().await);
    assert_eq!(one.agent().pubkey(), two.agent().pubkey());
    assert_eq!(one.pay(&one.payment(402)).await, two.pay(&two.payment(402)).await);
    one.sandbox.advance_slots(10);
    two.sandbox.advance_slots(10);
    assert_eq!(one.sandbox.latest_blockhash(), two.sandbox.latest_blockhash());
}

#[tokio::test]
async fn block_times_follow_the_clock() {
    use std::time::Duration;
    let fixture = start().await;
    fixture.clock.advance(Duration::from_millis(DEFAULT_MS_PER_SLOT * 10));
    fixture.sandbox.advance_slots(10);
    let signature = fixture.pay(&fixture.payment(1)).await;
    let read = fixture.read(&signature, UiTransactionEncoding::Base64, None).await.unwrap();
    assert_eq!(read.block_time, Some(START.as_secs() + 4));
    assert_eq!(fixture.rpc.get_block_time(read.slot).await.unwrap(), START.as_secs() + 4);
}
