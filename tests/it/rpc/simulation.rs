//! Simulations, with accounts beside them.

use pay402::{
    chain::{settlement::SettlementChain, simulation::Simulator},
    sandbox::{
        TokenProgram, USDC,
        faults::{ALWAYS, ANY},
    },
};
use serde_json::{Value, json};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::cluster::Cluster;
use crate::sandbox::setup::token_account;

fn payment(cluster: &Cluster, units: u64) -> VersionedTransaction {
    let payment = cluster.chain.token_payment(&USDC, TokenProgram::Token, units);
    cluster.chain.sandbox.advance_slots(1);
    payment
}

#[tokio::test]
async fn a_good_payment_and_its_accounts_in_one_go() {
    let cluster = Cluster::start(1).await;
    let payment = payment(&cluster, 50_000);
    let holder = |owner| token_account(&USDC, owner, TokenProgram::Token);
    let missing = holder(&USDC);
    let wanted = [USDC, holder(&cluster.chain.merchant()), missing];
    let simulation = cluster.rpc.simulate(&payment, &wanted).await.unwrap();
    assert_eq!(simulation.failure, None);
    assert!(simulation.units_consumed.is_some_and(|units| units > 0));
    assert_eq!(simulation.slot, cluster.chain.sandbox.slot() - 1);
    let [Some(mint), Some(destination), None] = &simulation.accounts[..] else { panic!("{simulation:?}") };
    assert_eq!(mint.owner, TokenProgram::Token.id());
    assert_eq!(destination.data[64..72], 0_u64.to_le_bytes(), "as it is without the payment");
    assert_eq!([cluster.calls("simulateTransaction"), cluster.calls("getMultipleAccounts")], [[1], [1]]);
    assert_eq!(cluster.rpc.simulate(&payment, &[]).await.unwrap().accounts, []);
}

#[tokio::test]
async fn a_failure_is_told_in_words() {
    let cluster = Cluster::start(1).await;
    let simulation = cluster.rpc.simulate(&payment(&cluster, u64::MAX), &[]).await.unwrap();
    let failure = simulation.failure.unwrap();
    assert!(failure.error.contains("custom program error: 0x1"), "{failure}");
    assert_eq!(failure.log.as_deref(), Some("Error: insufficient funds"), "{failure}");
}

/// Whether it is signed does not matter: signatures have been checked before.
#[tokio::test]
async fn signatures_do_not_matter() {
    let cluster = Cluster::start(1).await;
    let mut payment = payment(&cluster, 1);
    payment.signatures[0] = Signature::from([9; 64]);
    assert_eq!(cluster.rpc.simulate(&payment, &[]).await.unwrap().failure, None);
}

/// A blockhash that one endpoint does not know yet is known to another.
#[tokio::test]
async fn an_endpoint_that_lags_does_not_refuse_a_good_payment() {
    let cluster = Cluster::start(2).await;
    cluster.chain.sandbox.advance_slots(20);
    let payment = payment(&cluster, 1);
    cluster.faults(0).lag(10);
    let simulation = cluster.rpc.simulate(&payment, &[]).await.unwrap();
    assert_eq!(simulation.failure, None);
    cluster.faults(1).lag(10);
    let simulation = cluster.rpc.simulate(&payment, &[]).await.unwrap();
    assert_eq!(simulation.failure.unwrap().error, "Blockhash not found");
}

/// One that is far behind is not believed at all, good news or bad.
#[tokio::test]
async fn an_endpoint_far_behind_is_not_believed() {
    let cluster = Cluster::start(2).await;
    let payment = payment(&cluster, 1);
    cluster.chain.sandbox.advance_slots(60);
    cluster.faults(0).error("simulateTransaction", -32603, "internal error", 1);
    assert_eq!(cluster.rpc.simulate(&payment, &[]).await.unwrap().failure, None);
    cluster.faults(1).error("simulateTransaction", -32603, "internal error", 2);
    cluster.faults(0).lag(60);
    cluster.rpc.simulate(&payment, &[]).await.unwrap_err();
}

/// Says that it is far ahead of where the chain is.
fn ahead(mut answer: Value) -> Value {
    answer["context"]["slot"] = json!(answer["context"]["slot"].as_u64().unwrap() + 10_000);
    answer
}

/// One of three that makes up a slot leaves nobody behind: not while it answers, and not when it has stopped.
#[tokio::test]
async fn an_endpoint_that_makes_up_a_slot_puts_nobody_behind() {
    let cluster = Cluster::start(3).await;
    let payment = payment(&cluster, 1);
    let liar = cluster.faults(0);
    for method in ["simulateTransaction", "getLatestBlockhash"] {
        liar.lie(method, Box::new(ahead));
    }
    // Who answers when nobody but the liar has, is held against that one alone, and with the next answer no more.
    for _ in 0..2 {
        cluster.rpc.last_valid_block_height().await.unwrap();
    }
    let made_up = cluster.rpc.simulate(&payment, &[]).await.unwrap();
    assert!(made_up.slot > cluster.chain.sandbox.slot(), "it is asked first, and nothing speaks against it");
    for node in 1..3 {
        let up = cluster.sample(&format!(r#"rpc_endpoint_up{{endpoint="{node}"}}"#));
        assert_eq!(up, Some(1.0), "{node}");
    }
    liar.clear();
    liar.error(ANY, -32603, "internal error", ALWAYS);
    for _ in 0..3 {
        let simulation = cluster.rpc.simulate(&payment, &[]).await.unwrap();
        assert_eq!((simulation.failure, simulation.slot), (None, cluster.chain.sandbox.slot() - 1));
    }
}

/// A slot that no chain can have reached is nonsense, with one other endpoint too.
#[tokio::test]
async fn an_endpoint_beyond_all_slots_is_not_believed() {
    let cluster = Cluster::start(2).await;
    let payment = payment(&cluster, 1);
    let beyond = |mut answer: Value| {
        answer["context"]["slot"] = json!(1_u64 << 60);
        answer
    };
    cluster.faults(0).lie("simulateTransaction", Box::new(beyond));
    for _ in 0..3 {
        let simulation = cluster.rpc.simulate(&payment, &[]).await.unwrap();
        assert_eq!((simulation.failure, simulation.slot), (None, cluster.chain.sandbox.slot() - 1));
    }
    assert_eq!(cluster.calls("simulateTransaction")[0], 1);
}

#[tokio::test]
async fn one_half_of_an_answer_is_none() {
    let cluster = Cluster::start(2).await;
    let payment = payment(&cluster, 1);
    cluster.faults(0).error("getMultipleAccounts", -32603, "internal error", 1);
    let simulation = cluster.rpc.simulate(&payment, &[USDC]).await.unwrap();
    assert!(simulation.accounts[0].is_some());
    assert_eq!(cluster.calls("simulateTransaction"), [1, 1], "both halves are of one endpoint");
}

#[tokio::test]
async fn what_makes_no_sense_is_an_error() {
    type Lie = fn(Value) -> Value;
    let lies: [Lie; 3] = [
        |_| Value::Null,
        |answer| answer["value"].clone(),
        |mut answer| {
            answer["value"] = json!({"err": {"NoSuchError": []}});
            answer
        },
    ];
    let cluster = Cluster::start(1).await;
    let payment = payment(&cluster, 1);
    for lie in lies {
        cluster.faults(0).lie("simulateTransaction", Box::new(lie));
        cluster.rpc.simulate(&payment, &[]).await.unwrap_err();
    }
}
