//! A fork that loses takes an unfinalized transaction with it.

use pay402::sandbox::FINALITY_SLOTS;
use solana_keypair::Keypair;
use solana_signer::Signer;

use super::setup::start;

#[tokio::test]
async fn a_confirmed_transaction_disappears_and_may_land_again() {
    let fixture = start().await;
    let before = fixture.sandbox.balance(&fixture.merchant());
    let (lost, kept) = (fixture.payment(5), fixture.payment(7));
    let signature = fixture.pay(&lost).await;
    let other = fixture.sandbox.send(&kept).unwrap();
    assert!(fixture.sandbox.drop_by_fork(&signature));
    assert!(fixture.status(&signature).await.is_none());
    assert!(fixture.status(&other).await.is_some());
    assert_eq!(fixture.sandbox.balance(&fixture.merchant()), before + 7);
    assert!(!fixture.sandbox.drop_by_fork(&signature));
    fixture.sandbox.send(&lost).unwrap();
    assert_eq!(fixture.sandbox.balance(&fixture.merchant()), before + 12);
}

#[tokio::test]
async fn what_depended_on_it_goes_too() {
    let fixture = start().await;
    let heir = Keypair::new();
    let gift = solana_system_interface::instruction::transfer(
        &fixture.agent().pubkey(),
        &heir.pubkey(),
        1_000_000_000,
    );
    let given = fixture.sandbox.send(&fixture.legacy(&[gift], &[fixture.agent()])).unwrap();
    fixture.sandbox.advance_slots(3);
    let onward =
        solana_system_interface::instruction::transfer(&heir.pubkey(), &fixture.merchant(), 500_000_000);
    let spent = fixture.sandbox.send(&fixture.legacy(&[onward], &[&heir])).unwrap();
    fixture.sandbox.advance_slots(1);
    assert!(fixture.sandbox.drop_by_fork(&given));
    assert!(fixture.status(&spent).await.is_none());
    assert_eq!(fixture.sandbox.balance(&heir.pubkey()), 0);
    assert_eq!(fixture.rpc.get_balance(&heir.pubkey()).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_final_stays() {
    let fixture = start().await;
    let signature = fixture.sandbox.send(&fixture.payment(5)).unwrap();
    fixture.sandbox.advance_slots(FINALITY_SLOTS);
    assert!(!fixture.sandbox.drop_by_fork(&signature));
}
