//! What must be so: during a run, and when everything has come to rest.

use std::collections::BTreeMap;

use pay402::payments::settlement::{Ending, MessageHash};

use super::{SLOT_MS, World};
use crate::settlement::model::{Row, day};

impl World {
    /// Success exactly when the chain says so, and so for the others.
    pub(super) fn check_truth(&mut self, payment: usize, ending: &Ending) {
        let transaction = &self.payments[payment].transaction;
        let truth = self.chain.truth(&transaction.signature);
        match ending {
            Ending::Settled { slot } => {
                assert_eq!(truth, Some((*slot, false)));
                self.seen.settled += 1;
                let in_last = self.chain.landed_last.contains(&transaction.signature);
                self.seen.settled_in_last_block += u64::from(in_last);
            }
            Ending::Failed { slot, .. } => {
                assert_eq!(truth, Some((*slot, true)));
                self.seen.failed += 1;
            }
            Ending::Expired => {
                assert!(truth.is_none() && self.chain.is_dead(transaction), "{truth:?}");
                self.seen.expired += 1;
            }
        }
    }

    /// Reserved and spent, by day and key and in all, are what the books add up to.
    pub(super) fn check_totals(&self) {
        let mut sums = BTreeMap::<_, (u64, u64)>::new();
        for row in self.model.rows.values() {
            let Some(journal) = &row.journal else { continue };
            let fee = journal.settlement.max_fee_lamports;
            let subjects = journal.settlement.key_id.clone().map(Some).into_iter().chain([None]);
            for subject in subjects {
                let sum = sums.entry((day(journal.at), subject)).or_default();
                match &row.ending {
                    None => sum.0 += fee,
                    Some(ending) if ending.landed() => sum.1 += fee,
                    Some(_) => {}
                }
            }
        }
        for (subject, sponsored) in &self.model.sponsored {
            let sum = sums.get(subject).copied().unwrap_or_default();
            assert_eq!((sponsored.reserved, sponsored.spent), sum);
            let caps = self.policy.caps;
            let cap = if subject.1.is_some() { caps.per_key_lamports } else { caps.total_lamports };
            assert!(cap.is_none_or(|cap| sum.0 + sum.1 <= cap), "{subject:?} is over its cap");
        }
        assert!(sums.keys().all(|subject| self.model.sponsored.contains_key(subject)));
    }

    /// The faults stop, and time passes until everything has ended.
    pub fn settle_down(&mut self) {
        self.calm = true;
        while !self.ghosts.is_empty() {
            self.haunt();
        }
        for index in 0..self.instances.len() {
            self.instances[index].stalled_until_ms = 0;
            if self.instances[index].leaves_at_ms.is_some() {
                self.hand_over(index);
            }
        }
        self.check_sends();
        for round in 0.. {
            assert!(round < 400, "still not ended: {:#?}", self.open());
            self.calm_round();
            if self.open().is_empty() && self.requests.is_empty() {
                break;
            }
        }
        // Long enough for whatever could still come.
        for _ in 0..70 {
            self.calm_round();
        }
    }

    /// What is asked for when nothing goes wrong is sent at once, whatever else is in flight.
    fn check_sends(&mut self) {
        // What was under way before is through, or given up.
        for _ in 0..30 {
            self.calm_round();
        }
        let before = self.payments.len();
        for _ in 0..self.random.below(8) {
            let index = self.random.index(self.instances.len());
            self.new_payment(index);
        }
        for _ in 0..2 {
            self.calm_round();
        }
        for payment in &self.payments[before..] {
            let row = self.model.rows.get(&payment.message).filter(|row| row.journal.is_some());
            assert!(row.is_none() || self.sent.contains(&payment.message), "{payment:?} is not sent");
        }
    }

    fn calm_round(&mut self) {
        self.pass(SLOT_MS);
        for index in 0..self.instances.len() {
            self.instances[index].stalled_until_ms = 0;
            for _ in 0..1000 {
                let instance = &self.instances[index];
                if instance.outstanding.is_empty() && instance.results.is_empty() {
                    break;
                }
                self.run_one(index);
                self.deliver_one(index);
            }
        }
    }

    fn open(&self) -> Vec<MessageHash> {
        let open = |row: &Row| row.journal.is_some() && row.ending.is_none();
        self.model.rows.iter().filter(|(_, row)| open(row)).map(|(message, _)| *message).collect()
    }

    /// Everything that was journalled has ended as the chain says, nobody works on anything, and who asks again hears the
    /// same.
    pub fn check_end(&mut self) {
        for payment in 0..self.payments.len() {
            let message = self.payments[payment].message;
            let row = self.model.rows.get(&message).cloned();
            let Some(row) = row.filter(|row| row.journal.is_some()) else {
                assert_eq!(self.chain.truth(&self.payments[payment].transaction.signature), None);
                assert!(!self.told.contains_key(&message));
                continue;
            };
            assert!(!self.disowned.contains(&row.attempt), "{} was told that nothing was sent", row.attempt);
            self.check_truth(payment, &row.ending.clone().unwrap());
            let index = self.random.index(self.instances.len());
            self.ask(index, payment, row.terms);
            while !self.requests.is_empty() {
                self.calm_round();
            }
            assert_eq!(self.told.get(&message), Some(&(row.terms, row.ending.unwrap())));
        }
        self.check_totals();
        let idle = self.instances.iter().all(|instance| instance.engine.is_idle());
        assert!(idle && self.model.rows.values().all(|row| row.journal.is_some()));
    }
}
