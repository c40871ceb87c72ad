//! Starting and stopping, with slots that move by themselves.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::StreamExt;
use pay402::{
    clock::SystemClock,
    sandbox::{Sandbox, SandboxConfig, SandboxError},
};
use solana_commitment_config::CommitmentConfig;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

fn config(slot_time: Option<Duration>) -> SandboxConfig {
    SandboxConfig { slot_time, ..SandboxConfig::new(Arc::new(SystemClock)) }
}

#[tokio::test]
async fn slots_move_and_a_client_confirms_by_itself() {
    let sandbox = Sandbox::start(config(Some(Duration::from_millis(100)))).await.unwrap();
    let client = PubsubClient::new(sandbox.ws_url()).await.unwrap();
    let (mut told, _) = client.slot_subscribe().await.unwrap();
    let first = told.next().await.unwrap().slot;
    assert_eq!(told.next().await.unwrap().slot, first + 1);

    let rpc = RpcClient::new_with_commitment(sandbox.rpc_url(), CommitmentConfig::confirmed());
    let (agent, stranger) = (&sandbox.wallets().agent, Keypair::new());
    let transfer =
        solana_system_interface::instruction::transfer(&agent.pubkey(), &stranger.pubkey(), 1_000_000);
    let blockhash = rpc.get_latest_blockhash().await.unwrap();
    let message = Message::new_with_blockhash(&[transfer], Some(&agent.pubkey()), &blockhash);
    let payment = VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[agent]).unwrap();
    rpc.send_and_confirm_transaction(&payment).await.unwrap();
    assert_eq!(rpc.get_balance(&stranger.pubkey()).await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn sockets_are_accepted_on_both_ports() {
    let sandbox = Sandbox::start(config(None)).await.unwrap();
    for url in [sandbox.ws_url(), sandbox.rpc_url().replace("http:", "ws:")] {
        let client = PubsubClient::new(url).await.unwrap();
        let (mut told, _) = client.slot_subscribe().await.unwrap();
        sandbox.advance_slots(1);
        assert_eq!(told.next().await.unwrap().slot, sandbox.slot());
    }
}

#[tokio::test]
async fn an_address_must_be_free_and_on_loopback() {
    let sandbox = Sandbox::start(config(None)).await.unwrap();
    let taken: SocketAddr = sandbox.rpc_url().trim_start_matches("http://").parse().unwrap();
    let refused = Sandbox::start(SandboxConfig { rpc_addr: taken, ..config(None) }).await;
    assert!(matches!(refused, Err(SandboxError::Bind { .. })));
    let public = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Sandbox::start(SandboxConfig { rpc_addr: public, ..config(None) }).await;
    assert!(matches!(refused, Err(SandboxError::NotLoopback(_))));
}

#[tokio::test]
async fn it_stops_when_told_and_when_dropped() {
    for told in [true, false] {
        let sandbox = Sandbox::start(config(Some(Duration::from_millis(100)))).await.unwrap();
        let client = PubsubClient::new(sandbox.ws_url()).await.unwrap();
        let (mut slots, _) = client.slot_subscribe().await.unwrap();
        if told {
            let rpc = RpcClient::new(sandbox.rpc_url());
            sandbox.shutdown().await;
            rpc.get_slot().await.unwrap_err();
        } else {
            drop(sandbox);
        }
        while slots.next().await.is_some() {}
    }
}
