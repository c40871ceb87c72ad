//! Subscriptions, through Solana's own client.

use futures_util::StreamExt;
use pay402::sandbox::FINALITY_SLOTS;
use serde_json::json;
use solana_commitment_config::CommitmentConfig;
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use solana_rpc_client_api::config::{RpcAccountInfoConfig, RpcSignatureSubscribeConfig};

use super::setup::{Fixture, start};

async fn connect(fixture: &Fixture) -> PubsubClient {
    PubsubClient::new(fixture.sandbox.ws_url()).await.unwrap()
}

#[tokio::test]
async fn a_signature_is_told_once_at_its_commitment() {
    let fixture = start().await;
    let client = connect(&fixture).await;
    let payment = fixture.payment(1);
    let config = |commitment, received| {
        Some(RpcSignatureSubscribeConfig {
            commitment: Some(commitment),
            enable_received_notification: Some(received),
        })
    };
    let confirmed = config(CommitmentConfig::confirmed(), true);
    let (mut told, unsubscribe) =
        client.signature_subscribe(&payment.signatures[0], confirmed).await.unwrap();
    let finalized = config(CommitmentConfig::finalized(), false);
    let (mut final_told, _) = client.signature_subscribe(&payment.signatures[0], finalized).await.unwrap();
    let slot = fixture.sandbox.slot();
    fixture.sandbox.send(&payment).unwrap();
    let received = told.next().await.unwrap();
    assert_eq!(serde_json::to_value(&received.value).unwrap(), json!("receivedSignature"));
    fixture.sandbox.advance_slots(1);
    let notified = told.next().await.unwrap();
    assert_eq!(notified.context.slot, slot);
    assert_eq!(serde_json::to_value(&notified.value).unwrap(), json!({ "err": null }));
    fixture.sandbox.advance_slots(FINALITY_SLOTS - 1);
    assert_eq!(final_told.next().await.unwrap().context.slot, slot);
    unsubscribe().await;
}

#[tokio::test]
async fn a_subscriber_who_comes_late_is_told_at_once() {
    let fixture = start().await;
    let signature = fixture.pay(&fixture.payment(1)).await;
    let client = connect(&fixture).await;
    let config = RpcSignatureSubscribeConfig {
        commitment: Some(CommitmentConfig::confirmed()),
        ..RpcSignatureSubscribeConfig::default()
    };
    let (mut told, _) = client.signature_subscribe(&signature, Some(config)).await.unwrap();
    told.next().await.unwrap();
}

#[tokio::test]
async fn an_account_is_told_when_it_changed() {
    let fixture = start().await;
    let client = connect(&fixture).await;
    let config = RpcAccountInfoConfig {
        commitment: Some(CommitmentConfig::confirmed()),
        ..RpcAccountInfoConfig::default()
    };
    let (mut told, unsubscribe) = client.account_subscribe(&fixture.merchant(), Some(config)).await.unwrap();
    let before = fixture.sandbox.balance(&fixture.merchant());
    fixture.sandbox.advance_slots(1);
    fixture.sandbox.send(&fixture.payment(5)).unwrap();
    fixture.sandbox.advance_slots(1);
    assert_eq!(told.next().await.unwrap().value.lamports, before + 5);
    unsubscribe().await;
}

#[tokio::test]
async fn slots_are_told_one_by_one() {
    let fixture = start().await;
    let client = connect(&fixture).await;
    let (mut told, unsubscribe) = client.slot_subscribe().await.unwrap();
    let slot = fixture.sandbox.slot();
    fixture.sandbox.advance_slots(2);
    for expected in [slot + 1, slot + 2] {
        let info = told.next().await.unwrap();
        assert_eq!((info.slot, info.parent, info.root), (expected, expected - 1, expected - FINALITY_SLOTS));
    }
    unsubscribe().await;
}

#[tokio::test]
async fn a_broken_socket_ends_the_stream_and_a_new_one_works() {
    let fixture = start().await;
    let client = connect(&fixture).await;
    let (mut told, _) = client.slot_subscribe().await.unwrap();
    fixture.sandbox.faults().disconnect_websockets();
    assert!(told.next().await.is_none());
    let client = connect(&fixture).await;
    let (mut told, _) = client.slot_subscribe().await.unwrap();
    fixture.sandbox.advance_slots(1);
    assert_eq!(told.next().await.unwrap().slot, fixture.sandbox.slot());
}
