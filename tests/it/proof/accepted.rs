//! Good payments, however they were made.

use pay402::{money::Currency, sandbox::USDC};
use serde_json::json;
use solana_address_lookup_table_interface::{instruction, state::AddressLookupTable};
use solana_instruction::Instruction;
use solana_message::{AddressLookupTableAccount, VersionedMessage, v0};
use solana_program_runtime::solana_sbpf::program::BuiltinFunctionDefinition;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

use crate::{
    harness::{Paid, TestApp},
    sandbox::{
        proxy::{PROXY, Proxy, through_proxy},
        setup::token_account,
    },
};

async fn each_currency(app: &TestApp, pay: impl Fn(&[Instruction]) -> VersionedTransaction) {
    for currency in Currency::ALL {
        let instructions = app.transfer(&app.merchant(), 1_500_000, currency);
        let paid = Paid { transaction: app.land(&pay(&instructions)), currency, units: 1_500_000 };
        let answer = app.verify(&app.proof(&paid, &format!("nonce-{currency}"))).await;
        answer.assert_valid();
        let payment = &answer.body["payment"];
        assert_eq!(payment["currency"], currency.as_str());
        assert_eq!(payment["recipient"], app.merchant().to_string());
        assert_eq!(payment["transactionId"], paid.transaction.to_string());
        let amount = if currency == Currency::Sol { json!(0.0015) } else { json!(1.5) };
        assert_eq!(payment["amount"], amount);
    }
}

#[tokio::test]
async fn each_currency_in_a_legacy_transaction() {
    let app = TestApp::start().await;
    each_currency(&app, |instructions| app.chain.legacy(instructions, &[app.agent()])).await;
}

#[tokio::test]
async fn each_currency_in_a_v0_transaction() {
    let app = TestApp::start().await;
    each_currency(&app, |instructions| app.chain.v0(instructions, &[app.agent()])).await;
}

#[tokio::test]
async fn each_currency_by_an_inner_call() {
    let app = TestApp::start().await;
    app.chain.sandbox.add_builtin(PROXY, Proxy::register);
    each_currency(&app, |instructions| {
        let through: Vec<_> = instructions.iter().cloned().map(through_proxy).collect();
        app.chain.legacy(&through, &[app.agent()])
    })
    .await;
}

#[tokio::test]
async fn each_currency_with_a_memo() {
    let app = TestApp::start().await;
    each_currency(&app, |instructions| {
        let memo = Instruction {
            program_id: spl_memo_interface::v3::ID,
            accounts: vec![],
            data: b"order 17".to_vec(),
        };
        app.chain.legacy(&[instructions, &[memo]].concat(), &[app.agent()])
    })
    .await;
}

/// As every sponsored payment is made: the fee payer signs first, the payer second.
#[tokio::test]
async fn each_currency_by_a_payer_who_does_not_pay_the_fee() {
    let app = TestApp::start().await;
    let fee_payer = &app.chain.sandbox.wallets().fee_payer;
    each_currency(&app, |instructions| app.chain.legacy(instructions, &[fee_payer, app.agent()])).await;
}

#[tokio::test]
async fn an_account_loaded_from_a_lookup_table() {
    let app = TestApp::start().await;
    let agent = app.agent();
    let recipient = token_account(&USDC, &app.merchant(), pay402::sandbox::TokenProgram::Token);
    let recent = app.chain.sandbox.slot() - 1;
    let (create, table) = instruction::create_lookup_table(agent.pubkey(), agent.pubkey(), recent);
    let extend = instruction::extend_lookup_table(
        table,
        agent.pubkey(),
        Some(agent.pubkey()),
        vec![recipient, app.merchant()],
    );
    app.land_instructions(&[create, extend], &[agent]);
    let data = app.chain.rpc.get_account_data(&table).await.unwrap();
    let addresses = AddressLookupTable::deserialize(&data).unwrap().addresses.to_vec();
    let tables = [AddressLookupTableAccount { key: table, addresses }];
    for (currency, nonce) in [(Currency::Usdc, "token"), (Currency::Sol, "lamports")] {
        let transfer = app.transfer(&app.merchant(), 1_000_000, currency);
        let blockhash = app.chain.sandbox.latest_blockhash();
        let message = v0::Message::try_compile(&agent.pubkey(), &transfer, &tables, blockhash).unwrap();
        assert!(!message.address_table_lookups.is_empty());
        let transaction = VersionedTransaction::try_new(VersionedMessage::V0(message), &[agent]).unwrap();
        let paid = Paid { transaction: app.land(&transaction), currency, units: 1_000_000 };
        app.verify(&app.proof(&paid, nonce)).await.assert_valid();
    }
}

/// Two transfers that add up are the same money as one.
#[tokio::test]
async fn a_payment_in_two_parts() {
    let app = TestApp::start().await;
    let parts = [
        app.transfer(&app.merchant(), 20_000, Currency::Usdc),
        app.transfer(&app.merchant(), 30_000, Currency::Usdc),
    ];
    let transaction = app.land_instructions(&parts.concat(), &[app.agent()]);
    let paid = Paid { transaction, currency: Currency::Usdc, units: 50_000 };
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
}

/// The payer may pay others too: the merchant got what is theirs.
#[tokio::test]
async fn a_payment_beside_another_one() {
    let app = TestApp::start().await;
    let other = solana_keypair::Keypair::new().pubkey();
    let both =
        [app.transfer(&app.merchant(), 50_000, Currency::Usdc), app.transfer(&other, 7_000, Currency::Usdc)];
    let transaction = app.land_instructions(&both.concat(), &[app.agent()]);
    let paid = Paid { transaction, currency: Currency::Usdc, units: 50_000 };
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
}

#[tokio::test]
async fn the_answer_says_what_was_paid_and_the_books_have_it() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let mut proof = app.proof(&paid, "order-1");
    proof["resource"] = json!("https://api.example.com/a");
    let answer = app.verify(&proof).await;
    answer.assert_valid();
    assert_eq!(answer.body["verifiedAt"], json!(app.now()));
    for member in ["signature", "payer", "currency", "nonce", "timestamp", "transactionId", "resource"] {
        assert_eq!(answer.body["proof"][member], proof[member], "{member}");
    }
    assert_eq!(answer.body["proof"]["amount"], json!(0.05));
    let payment = &answer.body["payment"];
    assert!(payment["id"].as_str().unwrap().starts_with("pay_"));
    assert_eq!(payment["resource"], "https://api.example.com/a");
    assert_eq!(payment["state"], "settled");
    assert_eq!(payment["network"], "sandbox");

    for name in [payment["id"].as_str().unwrap(), &paid.transaction.to_string()] {
        let found = app.get(&format!("/payments/{name}"), Some(crate::harness::KEY)).await;
        assert_eq!((found.status, &found.body), (200, payment));
    }
}
