//! A payment from its simulation to its finality, over endpoints of which few do what they should.

use std::sync::Arc;

use pay402::{
    chain::{
        accounts::AccountReader,
        settlement::{Commitment, Search, SettlementChain},
        simulation::Simulator,
        solana::signer::FeePayers,
    },
    sandbox::{Disconnect, FINALITY_SLOTS, TokenProgram, USDC, faults::ALWAYS},
};
use solana_message::{Message, VersionedMessage};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use spl_token_2022_interface::instruction::transfer_checked;

use super::cluster::{Cluster, DEAD, history};
use crate::sandbox::setup::token_account;

/// What two signatures cost, in lamports.
const FEE: u64 = 10_000;

/// The agent pays the merchant; the fee payer has yet to sign.
fn payment(cluster: &Cluster) -> VersionedTransaction {
    let (chain, program) = (&cluster.chain, TokenProgram::Token);
    let agent = chain.agent();
    let holder = |owner| token_account(&USDC, owner, program);
    let (from, to) = (holder(&agent.pubkey()), holder(&chain.merchant()));
    let transfer =
        transfer_checked(&program.id(), &from, &USDC, &to, &agent.pubkey(), &[], 50_000, 6).unwrap();
    let fee_payer = chain.sandbox.wallets().fee_payer.pubkey();
    let blockhash = chain.sandbox.latest_blockhash();
    let message = Message::new_with_blockhash(&[transfer], Some(&fee_payer), &blockhash);
    let message = VersionedMessage::Legacy(message);
    let signature = agent.sign_message(&message.serialize());
    VersionedTransaction { signatures: vec![Signature::default(), signature], message }
}

#[tokio::test]
async fn a_payment_lands_once_and_is_known_to_have_landed() {
    let cluster = Cluster::beside(&[DEAD], 3).await;
    cluster.faults(0).error("simulateTransaction", -32603, "internal error", ALWAYS);
    cluster.faults(0).disconnect("sendTransaction", Disconnect::After, ALWAYS);
    cluster.faults(1).drop_sends(ALWAYS);
    let sandbox = &cluster.chain.sandbox;
    let fee_payers = FeePayers::new(vec![sandbox.wallets().fee_payer.insecure_clone()]).unwrap();
    let fee_payer = sandbox.wallets().fee_payer.pubkey();
    let before = cluster.rpc.balance(&fee_payer).await.unwrap();

    let asked = payment(&cluster);
    sandbox.advance_slots(1);
    let simulation = cluster.rpc.simulate(&asked, &[USDC]).await.unwrap();
    assert_eq!(simulation.failure, None);
    let last = cluster.rpc.last_valid_block_height().await.unwrap();
    let signed = fee_payers.sign(asked).unwrap();
    let bytes = Arc::new(bincode::serialize(&signed).unwrap());
    for _ in 0..3 {
        cluster.rpc.send(&bytes).await.unwrap();
    }
    sandbox.advance_slots(1);
    let recent = cluster.rpc.statuses(&signed.signatures[..1], Search::Recent).await.unwrap();
    assert_eq!(recent.statuses[0].as_ref().unwrap().commitment, Commitment::Confirmed);
    sandbox.advance_slots(FINALITY_SLOTS + 150);
    let finality = cluster.rpc.finality().await.unwrap();
    assert!(finality.block_height > last, "now or never");
    let search = history(finality.slot);
    let found = cluster.rpc.statuses(&signed.signatures[..1], search).await.unwrap();
    let status = found.statuses[0].as_ref().unwrap();
    assert_eq!((status.commitment, &status.failure), (Commitment::Finalized, &None));
    assert_eq!(sandbox.token_balance(&USDC, &cluster.chain.merchant()), 50_000, "once");
    assert_eq!(cluster.rpc.balance(&fee_payer).await.unwrap(), before - FEE);
}
