//! What everybody holds before and after something that must move nothing.

use pay402::sandbox::{Sandbox, USDC};
use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;

use super::{assert_invalid, assert_unsettled};
use crate::harness::{TestApp, x402::Order};

/// More than any payment's fee may be.
const HIGHEST_FEE: u64 = 110_000;

/// Who holds what, in lamports and atomic units of USDC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holdings {
    fee_payer: (u64, u64),
    buyer: (u64, u64),
    merchant: (u64, u64),
    thief: (u64, u64),
}

/// A service whose fee payer also holds tokens, a buyer with USDC, and a thief.
pub struct Purse {
    pub app: TestApp,
    pub order: Order,
    pub thief: Keypair,
}

impl Purse {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    pub async fn open_with(variables: &[(&str, &str)]) -> Self {
        let app = TestApp::settling_with(variables).await;
        let (order, thief) = (app.order(), Keypair::new());
        let sandbox = &app.chain.sandbox;
        sandbox.mint_tokens(&USDC, &order.fee_payer, 1_000_000).unwrap();
        sandbox.mint_tokens(&USDC, &thief.pubkey(), 1).unwrap();
        sandbox.advance_slots(2);
        Self { app, order, thief }
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.app.chain.sandbox
    }

    fn holdings(&self) -> Holdings {
        let of = |owner| (self.sandbox().balance(owner), self.sandbox().token_balance(&USDC, owner));
        Holdings {
            fee_payer: of(&self.order.fee_payer),
            buyer: of(&self.order.payer.pubkey()),
            merchant: of(&self.order.pay_to),
            thief: of(&self.thief.pubkey()),
        }
    }

    /// The payment of this message is refused by both routes for this reason; nothing is signed, sent, paid or booked.
    pub async fn refuses_message(&self, message: VersionedMessage, reason: &str) -> VersionedTransaction {
        let transaction = self.order.sign_message(message);
        self.refuses_payment(&transaction, reason).await;
        transaction
    }

    pub async fn refuses_payment(&self, transaction: &VersionedTransaction, reason: &str) {
        let bytes = bincode::serialize(transaction).unwrap();
        self.refuses_bytes(&bytes, reason).await;
        let signature = self.signed(transaction).signatures[0];
        let booked = self.app.get(&format!("/payments/{signature}"), None).await;
        assert_eq!(booked.status, 404, "{reason}");
    }

    /// As [`refuses_message`](Self::refuses_message), of whatever bytes.
    pub async fn refuses_bytes(&self, transaction: &[u8], reason: &str) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let asked = || {
            let methods =
                ["simulateTransaction", "getMultipleAccounts", "getAccountInfo", "getLatestBlockhash"];
            methods.map(|method| self.sandbox().faults().calls(method))
        };
        let (before, asked_before) = (self.holdings(), asked());
        let mut request = self.order.request(&self.order.sign(self.sandbox().latest_blockhash()));
        request["paymentPayload"]["payload"]["transaction"] = BASE64_STANDARD.encode(transaction).into();
        assert_invalid(&self.app.verify_x402(&request).await, reason, "");
        let settled = self.app.settle(None, &request).await;
        assert_eq!(
            (settled.status, &settled.body["errorReason"], &settled.body["transaction"]),
            (200, &reason.into(), &"".into())
        );
        assert_eq!(self.sandbox().faults().calls("sendTransaction"), 0, "{reason}");
        assert_eq!(asked(), asked_before, "the free rules come before the chain: {reason}");
        assert_eq!(self.holdings(), before, "{reason}");
    }

    /// As the service would sign it, if it signed it.
    fn signed(&self, transaction: &VersionedTransaction) -> VersionedTransaction {
        let mut signed = transaction.clone();
        signed.signatures[0] = crate::harness::x402::signature_of(self.sandbox(), transaction);
        signed
    }

    /// The same, and then it is signed and lands, as it would have: what it does is for the test to look at. An attack that
    /// does nothing is none, and its refusal shows nothing.
    pub async fn refuses_what_would_land(&self, transaction: &VersionedTransaction, reason: &str) {
        self.refuses_payment(transaction, reason).await;
        let _: Signature = self.sandbox().send(&self.signed(transaction)).unwrap();
    }

    /// The same, of what would have cost the fee payer more than a fee.
    pub async fn is_not_robbed_by(&self, transaction: &VersionedTransaction, reason: &str) {
        let (lamports, units) = self.holdings().fee_payer;
        self.refuses_what_would_land(transaction, reason).await;
        let (left, units_left) = self.holdings().fee_payer;
        assert!(
            left + HIGHEST_FEE < lamports || units_left < units,
            "{reason}: signed, it would have done no harm"
        );
    }

    /// A payment that is good is settled all the same, at the price of its fee, and nothing else has moved.
    pub async fn still_settles(&self) {
        let before = self.holdings();
        let order = Order { memo: Keypair::new().pubkey().to_string(), ..self.app.order() };
        let answer = self.app.settle(None, &self.app.paid(&order)).await;
        crate::harness::x402::settled(&answer, &order);
        let after = self.holdings();
        assert_eq!((before.fee_payer.0 - after.fee_payer.0, before.fee_payer.1), (10_001, after.fee_payer.1));
        assert_eq!((before.buyer.1 - after.buyer.1, before.buyer.0), (order.units, after.buyer.0));
        assert_eq!((after.merchant.1 - before.merchant.1, after.thief), (order.units, before.thief));
    }

    /// For payments whose order is not the stage's own.
    pub async fn refuses_order(&self, order: &Order, reason: &str, message: &str) {
        let before = self.holdings();
        let request = self.app.paid(order);
        assert_invalid(&self.app.verify_x402(&request).await, reason, message);
        assert_eq!(assert_unsettled(&self.app.settle(None, &request).await, order, reason, message), "");
        assert_eq!(self.sandbox().faults().calls("sendTransaction"), 0, "{reason}");
        assert_eq!(self.holdings(), before, "{reason}");
    }
}
