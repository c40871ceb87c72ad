//! Clients: what they ask, and what they are told, which is held against books and chain.

use std::collections::BTreeSet;

use pay402::{
    chain::assets::Network,
    money::{Amount, Currency},
    payments::settlement::{
        Answer, Event, MessageHash, NewSettlement, RequestNumber, SettlementState, TermsHash,
    },
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{SLOT_MS, World};
use crate::settlement::chain::Transaction;

#[derive(Debug)]
pub struct Payment {
    pub message: MessageHash,
    pub transaction: Transaction,
    pub settlement: NewSettlement,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) payment: usize,
    pub(super) terms: TermsHash,
    pub(super) due_ms: u64,
    pub(super) attempts: BTreeSet<String>,
    pub(super) refused: bool,
}

impl World {
    pub(super) fn new_payment(&mut self, index: usize) {
        let number = self.payments.len() as u64;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.random.next().to_be_bytes());
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        let mut signature = [1; 64];
        signature[..32].copy_from_slice(&bytes);
        let signature = Signature::from(signature);
        let last_height = self.chain.blockhash(&mut self.random);
        let transaction = Transaction { signature, last_height, fails: self.random.percent(15) };
        let key_id = [None, Some("key a"), Some("key b")][self.random.index(3)];
        let settlement = NewSettlement {
            transaction: bytes.to_vec(),
            signature,
            fee_payer: Pubkey::new_from_array([9; 32]),
            payer: Pubkey::new_from_array(bytes),
            pay_to: Pubkey::new_from_array([8; 32]),
            asset: Pubkey::new_from_array([7; 32]),
            currency: Some(Currency::Usdc),
            amount: Amount::from_atomic(number + 1).unwrap(),
            network: Network::Sandbox,
            resource: None,
            owner: None,
            agent: None,
            key_id: key_id.map(str::to_owned),
            max_fee_lamports: self.random.between(5_000, 10_000),
            x402_version: 2,
        };
        self.payments.push(Payment { message: MessageHash(bytes), transaction, settlement });
        self.ask(index, self.payments.len() - 1, TermsHash([0; 32]));
        if self.random.percent(30) {
            let other = self.random.index(self.instances.len());
            self.ask(other, self.payments.len() - 1, TermsHash([0; 32]));
        }
    }

    pub(super) fn ask_again(&mut self, index: usize) {
        if !self.payments.is_empty() {
            let payment = self.random.index(self.payments.len());
            let terms = TermsHash([u8::from(self.random.percent(25)); 32]);
            self.ask(index, payment, terms);
        }
    }

    pub fn ask(&mut self, index: usize, payment: usize, terms: TermsHash) {
        if !self.is_awake(index) {
            return;
        }
        let instance = &mut self.instances[index];
        let number = RequestNumber(instance.next_request);
        instance.next_request += 1;
        let patience = u64::try_from(self.policy.answer_within.as_millis()).unwrap();
        let due_ms = self.now_ms + patience;
        let request = Request { payment, terms, due_ms, attempts: BTreeSet::new(), refused: false };
        self.requests.insert((instance.number, number), request);
        let event = Event::Settle(number, self.payments[payment].message, terms);
        self.step(index, event);
    }

    pub(super) fn answered(&mut self, index: usize, number: RequestNumber, answer: Answer) {
        let key = (self.instances[index].number, number);
        let request = self.requests.remove(&key).expect("each request is answered once");
        self.log(|| format!("{key:?} is told {answer:?}"));
        assert!(self.now_ms <= request.due_ms + SLOT_MS, "{request:?} is answered in time");
        let payment = &self.payments[request.payment];
        let row = self.model.rows.get(&payment.message);
        match answer {
            Answer::Ended(record) => {
                let row = row.expect("what is told is in the books");
                let SettlementState::Ended(ending) = &record.state else { panic!("{record:?}") };
                assert_eq!((row.ending.as_ref(), row.terms), (Some(ending), request.terms));
                assert_eq!(record.signature, payment.transaction.signature);
                let before = self.told.insert(payment.message, (request.terms, ending.clone()));
                if let Some(before) = before {
                    self.seen.repeated += 1;
                    assert_eq!(before, (request.terms, ending.clone()), "the same to everyone");
                }
                self.check_truth(request.payment, &ending.clone());
            }
            Answer::Pending { signature } => {
                self.seen.pending += 1;
                assert_eq!(signature, payment.transaction.signature);
            }
            Answer::Duplicate => {
                self.seen.duplicates += 1;
                let row = row.expect("there is what it would be a duplicate of");
                assert!(row.journal.is_some() && row.terms != request.terms);
            }
            Answer::NotAdmitted(_) => unreachable!("nobody here is an agent"),
            Answer::Refused | Answer::CapReached(_) | Answer::Busy | Answer::Unavailable => {
                assert!(answer != Answer::Refused || request.refused);
                self.seen.caps += u64::from(matches!(answer, Answer::CapReached(_)));
                self.seen.busy += u64::from(answer == Answer::Busy);
                let in_flight = self.instances[index].engine.in_flight();
                assert!(!in_flight.contains(&payment.message), "what is in flight here is not called unsent");
                self.disowned.extend(request.attempts);
            }
        }
    }
}
