//! What a settlement store does, in the simplest way. The simulation runs on it; `conformance` compares the databases
//! with it.

use std::collections::BTreeMap;

use pay402::{
    clock::UnixMs,
    ids::PaymentId,
    payments::settlement::{
        Cap, Claim, Claimed, Ending, Finished, InFlight, Journal, Journalled, MessageHash, Record,
        SettlementState, Sponsored, TermsHash,
    },
};
use solana_signature::Signature;

#[derive(Clone, Debug)]
pub struct Row {
    pub terms: TermsHash,
    pub holder: String,
    pub attempt: String,
    pub lease_until: UnixMs,
    pub journal: Option<Box<Journal>>,
    pub ending: Option<Ending>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub rows: BTreeMap<MessageHash, Row>,
    pub signatures: BTreeMap<Signature, PaymentId>,
    /// By UTC day and key; all keys together under `None`.
    pub sponsored: BTreeMap<(i64, Option<String>), Sponsored>,
}

pub fn day(at: UnixMs) -> i64 {
    at.0.div_euclid(86_400_000)
}

impl Row {
    pub fn record(&self, message: MessageHash) -> Option<Record> {
        let journal = self.journal.as_ref()?;
        Some(Record {
            message,
            payment: journal.payment.clone(),
            signature: journal.settlement.signature,
            payer: journal.settlement.payer,
            amount: journal.settlement.amount,
            journalled_at: journal.at,
            last_valid_block_height: journal.last_valid_block_height,
            state: self.ending.clone().map_or(SettlementState::Pending, SettlementState::Ended),
        })
    }

    fn is_open(&self) -> bool {
        self.journal.is_some() && self.ending.is_none()
    }
}

impl Model {
    pub fn claim(&mut self, claim: &Claim) -> Claimed {
        if let Some(row) = self.rows.get(&claim.message) {
            if let Some(record) = row.record(claim.message) {
                return if row.terms == claim.terms {
                    Claimed::Booked(Box::new(record))
                } else {
                    Claimed::OtherTerms
                };
            }
            if row.lease_until >= claim.at && row.attempt != claim.attempt {
                return Claimed::Verifying;
            }
        }
        let row = Row {
            terms: claim.terms,
            holder: claim.holder.clone(),
            attempt: claim.attempt.clone(),
            lease_until: claim.lease_until,
            journal: None,
            ending: None,
        };
        self.rows.insert(claim.message, row);
        Claimed::Fresh
    }

    pub fn abandon(&mut self, claim: &Claim) -> bool {
        let is_there = self
            .rows
            .get(&claim.message)
            .is_some_and(|row| row.journal.is_none() && row.attempt == claim.attempt);
        if is_there {
            self.rows.remove(&claim.message);
        }
        is_there
    }

    pub fn journal(&mut self, journal: &Journal) -> Journalled {
        let Some(row) = self.rows.get_mut(&journal.claim.message) else { return Journalled::ClaimLost };
        if row.attempt != journal.claim.attempt {
            return Journalled::ClaimLost;
        }
        if row.journal.is_some() {
            return Journalled::Done;
        }
        let settlement = &journal.settlement;
        if self.signatures.contains_key(&settlement.signature) {
            return Journalled::SignatureUsed;
        }
        let key = settlement.key_id.clone().map(|key| (Some(key), journal.caps.per_key_lamports, Cap::Key));
        let subjects: Vec<_> =
            key.into_iter().chain([(None, journal.caps.total_lamports, Cap::Total)]).collect();
        for (subject, cap, which) in &subjects {
            let used = self.sponsored.get(&(day(journal.at), subject.clone())).copied().unwrap_or_default();
            let after = used.reserved + used.spent + settlement.max_fee_lamports;
            if cap.is_some_and(|cap| after > cap) {
                return Journalled::CapReached(*which);
            }
        }
        for (subject, ..) in subjects {
            self.sponsored.entry((day(journal.at), subject)).or_default().reserved +=
                settlement.max_fee_lamports;
        }
        row.holder.clone_from(&journal.claim.holder);
        row.lease_until = journal.lease_until;
        row.journal = Some(Box::new(journal.clone()));
        self.signatures.insert(settlement.signature, journal.payment.clone());
        Journalled::Done
    }

    pub fn finish(&mut self, message: &MessageHash, ending: &Ending) -> Option<Finished> {
        let row = self.rows.get_mut(message)?;
        let journal = row.journal.clone()?;
        let fee = journal.settlement.max_fee_lamports;
        let first = row.ending.is_none();
        if first {
            row.ending = Some(ending.clone());
            let subjects = journal.settlement.key_id.clone().map(Some).into_iter().chain([None]);
            for subject in subjects {
                let sponsored = self.sponsored.get_mut(&(day(journal.at), subject)).unwrap();
                sponsored.reserved -= fee;
                sponsored.spent += if ending.landed() { fee } else { 0 };
            }
        }
        let (agent, currency) = (journal.settlement.agent.clone(), journal.settlement.currency);
        Some(Finished { record: row.record(*message)?, first, reserved_lamports: fee, agent, currency })
    }

    pub fn renew(&mut self, holder: &str, messages: &[MessageHash], until: UnixMs) -> Vec<MessageHash> {
        let mut held = Vec::new();
        for message in messages {
            if let Some(row) = self.rows.get_mut(message)
                && row.is_open()
                && row.holder == holder
            {
                row.lease_until = until;
                held.push(*message);
            }
        }
        held
    }

    pub fn take_over(&mut self, holder: &str, now: UnixMs, until: UnixMs, limit: u32) -> Vec<InFlight> {
        let mut lapsed: Vec<(UnixMs, MessageHash)> = self
            .rows
            .iter()
            .filter(|(_, row)| row.is_open() && row.lease_until < now)
            .map(|(message, row)| (row.lease_until, *message))
            .collect();
        lapsed.sort_unstable();
        lapsed.truncate(usize::try_from(limit).unwrap());
        let mut taken = Vec::new();
        for (_, message) in lapsed {
            let row = self.rows.get_mut(&message).unwrap();
            holder.clone_into(&mut row.holder);
            row.lease_until = until;
            let journal = row.journal.as_ref().unwrap();
            taken.push(InFlight {
                message,
                terms: row.terms,
                signature: journal.settlement.signature,
                transaction: journal.settlement.transaction.as_slice().into(),
                last_valid_block_height: journal.last_valid_block_height,
                journalled_at: journal.at,
            });
        }
        taken
    }

    pub fn forget_claims(&mut self, now: UnixMs) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, row| row.journal.is_some() || row.lease_until >= now);
        (before - self.rows.len()) as u64
    }

    pub fn find(&self, signature: &Signature) -> Option<Record> {
        self.rows
            .iter()
            .find_map(|(message, row)| row.record(*message).filter(|record| record.signature == *signature))
    }
}
