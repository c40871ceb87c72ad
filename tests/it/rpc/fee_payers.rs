//! What the fee payers' keys sign, and what they do not.

use pay402::{
    chain::solana::signer::{FeePayers, InvalidFeePayers, SignError},
    config::{Config, Environment},
};
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

/// A transaction that `payer` pays for and `others` sign too; nobody has signed it.
fn unsigned(payer: &Keypair, others: &[&Keypair]) -> VersionedTransaction {
    let accounts = others.iter().map(|other| AccountMeta::new(other.pubkey(), true)).collect();
    let instruction = Instruction { program_id: Pubkey::new_unique(), accounts, data: vec![1] };
    let message = VersionedMessage::Legacy(Message::new(&[instruction], Some(&payer.pubkey())));
    VersionedTransaction { signatures: vec![Signature::default(); others.len() + 1], message }
}

fn signed_by(mut transaction: VersionedTransaction, signer: &Keypair) -> VersionedTransaction {
    let keys = transaction.message.static_account_keys();
    let place = keys.iter().position(|key| *key == signer.pubkey()).unwrap();
    transaction.signatures[place] = signer.sign_message(&transaction.message.serialize());
    transaction
}

fn two() -> (FeePayers, Keypair, Keypair) {
    let (first, second) = (Keypair::new(), Keypair::new());
    let ours = FeePayers::new(vec![first.insecure_clone(), second.insecure_clone()]).unwrap();
    (ours, first, second)
}

#[test]
fn every_fee_payer_signs_its_own_place_and_nothing_else() {
    let (ours, first, second) = two();
    let buyer = Keypair::new();
    assert_eq!(ours.addresses().next(), Some(first.pubkey()));
    for payer in [&first, &second] {
        let asked = signed_by(unsigned(payer, &[&buyer]), &buyer);
        let signed = ours.sign(asked.clone()).unwrap();
        assert!(signed.verify_with_results().iter().all(|good| *good));
        assert_eq!((&signed.message, signed.signatures[1]), (&asked.message, asked.signatures[1]));
    }
}

/// What stands in the fee payer's place is replaced, so that one payment has one envelope.
#[test]
fn whatever_is_in_the_first_place_is_replaced() {
    let (ours, first, _) = two();
    let buyer = Keypair::new();
    let mut asked = signed_by(unsigned(&first, &[&buyer]), &buyer);
    let signed = ours.sign(asked.clone()).unwrap();
    asked.signatures[0] = Signature::from([9; 64]);
    assert_eq!(ours.sign(asked).unwrap(), signed);
}

#[test]
fn a_stranger_is_not_paid_for() {
    let (ours, first, _) = two();
    let buyer = Keypair::new();
    let stranger = signed_by(unsigned(&buyer, &[]), &buyer);
    assert_eq!(ours.sign(stranger), Err(SignError::NotOurs));
    // Ours is in there, but not in the first place.
    let second_place = signed_by(unsigned(&buyer, &[&first]), &buyer);
    assert_eq!(ours.sign(second_place), Err(SignError::NotOurs));
}

/// One of our keys asked to sign for more than the fee.
#[test]
fn a_second_key_of_ours_does_not_sign() {
    let (ours, first, second) = two();
    let asked = unsigned(&first, &[&second]);
    assert_eq!(ours.sign(asked), Err(SignError::NotSignedBy(second.pubkey())));
}

#[test]
fn nothing_is_signed_that_the_others_have_not_signed() {
    let (ours, first, _) = two();
    let (buyer, other) = (Keypair::new(), Keypair::new());
    let none = unsigned(&first, &[&buyer]);
    assert_eq!(ours.sign(none.clone()), Err(SignError::NotSignedBy(buyer.pubkey())));
    let mut forged = none.clone();
    forged.signatures[1] = other.sign_message(&none.message.serialize());
    assert_eq!(ours.sign(forged), Err(SignError::NotSignedBy(buyer.pubkey())));
    // A signature over another message.
    let mut moved = none;
    moved.signatures[1] = signed_by(unsigned(&first, &[&buyer]), &buyer).signatures[1];
    assert_eq!(ours.sign(moved), Err(SignError::NotSignedBy(buyer.pubkey())));
    let one_of_two = signed_by(unsigned(&first, &[&buyer, &other]), &buyer);
    assert_eq!(ours.sign(one_of_two), Err(SignError::NotSignedBy(other.pubkey())));
}

#[test]
fn what_is_malformed_is_not_signed() {
    let (ours, first, _) = two();
    let buyer = Keypair::new();
    let good = signed_by(unsigned(&first, &[&buyer]), &buyer);
    let mut short = good.clone();
    short.signatures.pop();
    let mut long = good.clone();
    long.signatures.push(Signature::default());
    let mut none = good.clone();
    none.signatures.clear();
    let mut out_of_bounds = good;
    if let VersionedMessage::Legacy(message) = &mut out_of_bounds.message {
        message.instructions[0].program_id_index = 200;
    }
    for transaction in [short, long, none, out_of_bounds] {
        assert_eq!(ours.sign(transaction), Err(SignError::Malformed));
    }
}

#[test]
fn a_set_of_keys_has_each_once() {
    let key = Keypair::new();
    assert!(matches!(FeePayers::new(Vec::new()), Err(InvalidFeePayers::None)));
    let twice = vec![key.insecure_clone(), key];
    assert!(matches!(FeePayers::new(twice), Err(InvalidFeePayers::Twice)));
    let many = (0..33).map(|_| Keypair::new()).collect();
    assert!(matches!(FeePayers::new(many), Err(InvalidFeePayers::TooMany)));
}

/// Neither the configuration nor what is wrong with it shows a key.
#[test]
fn no_key_shows() {
    let key = Keypair::new();
    let secret = key.to_base58_string();
    let read = |value: &str| Config::read(Environment::default().with("FEE_PAYER_KEYPAIR", value));
    let config = read(&secret).unwrap();
    let shown = format!("{config:?} {:?}", config.fee_payer);
    assert!(shown.contains(&key.pubkey().to_string()), "{shown}");
    let bytes = format!("{:?}", key.to_bytes());
    assert!(!shown.contains(&secret) && !shown.contains(&bytes[1..40]), "{shown}");
    let broken = format!("{}x", &secret[..secret.len() - 2]);
    let told = read(&format!("{secret},{broken}")).unwrap_err().to_string();
    assert!(told.contains("FEE_PAYER_KEYPAIR must"), "{told}");
    assert!(!told.contains(&secret[..20]), "{told}");
}
