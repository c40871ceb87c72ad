//! A message, whatever it is, signed by a hostile buyer: refused, or a plain payment that leaves the fee payer alone.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use pay402::chain::{
    assets::{Assets, Network},
    solana::rules::{Kind, LIGHTHOUSE, RulePolicy, Rules, Terms, Version},
};
use solana_keypair::Keypair;
use solana_signer::Signer;

/// The keys of the corpus.
static FEE_PAYER: LazyLock<Keypair> = LazyLock::new(|| Keypair::new_from_array([1; 32]));
static BUYER: LazyLock<Keypair> = LazyLock::new(|| Keypair::new_from_array([2; 32]));
static MERCHANT: LazyLock<Keypair> = LazyLock::new(|| Keypair::new_from_array([3; 32]));

fuzz_target!(|message: &[u8]| {
    // Two signatures, the fee payer's still empty.
    let signature = BUYER.sign_message(message);
    let bytes = [&[2][..], &[0; 64], signature.as_ref(), message].concat();
    let network = Network::Devnet;
    let fee_payer = FEE_PAYER.pubkey();
    let rules = Rules::new(network, Assets::of(network), vec![fee_payer], RulePolicy::default());
    let kind = Kind { scheme: "exact", network: Version::V2.network_name(network) };
    let checked = rules.check(&Terms {
        version: Version::V2,
        paid: kind,
        transaction: &BASE64_STANDARD.encode(&bytes),
        asked: kind,
        fee_payer: Some(&fee_payer.to_string()),
        asset: "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        pay_to: &MERCHANT.pubkey().to_string(),
        amount: 50_000,
        memo: None,
    });
    let Ok(payment) = checked else { return };
    assert_eq!((payment.amount, payment.payer), (50_000, BUYER.pubkey()));
    assert!(payment.priority_fee_lamports <= RulePolicy::default().max_priority_fee_lamports);
    let keys = payment.transaction.message.static_account_keys();
    for instruction in payment.transaction.message.instructions() {
        let program = keys[usize::from(instruction.program_id_index)];
        let lent = instruction.accounts.iter().any(|account| keys[usize::from(*account)] == fee_payer);
        assert!(!lent || (program == LIGHTHOUSE && instruction.data[0] >= 2), "the fee payer is lent");
    }
});
