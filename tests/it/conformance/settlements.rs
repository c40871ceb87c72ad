//! Settlements by one caller at a time: the databases do what the model does, and the books say the same.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures_util::FutureExt;

use pay402::{
    chain::assets::Network,
    clock::UnixMs,
    ids::PaymentId,
    money::{Amount, Currency},
    payments::{
        Payment, PaymentState, RecordOutcome, Source, Used,
        settlement::{
            Caps, Claim, Claimed, Ending, InFlight, Journal, Journalled, MessageHash, NewSettlement,
            SettlementState, SettlementStore, TermsHash,
        },
    },
};
use solana_pubkey::Pubkey;

use super::{Backend, OWNER, on_both, payment, signature};
use crate::{
    harness::rounds,
    settlement::{model::Model, random::Random},
};

on_both!(
    whatever_the_order_the_databases_do_what_the_model_does,
    a_settlement_is_in_the_books_from_its_journal_entry_on,
    a_transaction_is_settled_or_proved_but_not_both,
    what_is_journalled_is_found_by_its_message_and_nothing_is_claimed_by_looking,
    what_is_not_a_known_currency_is_booked_by_its_mint,
    a_refused_entry_leaves_nothing_behind,
    one_that_cannot_be_read_keeps_no_other_from_being_taken_over,
);

pub const NOON: UnixMs = UnixMs(1_790_078_400_000);

pub fn claim(message: u8, attempt: &str) -> Claim {
    Claim {
        message: MessageHash([message; 32]),
        terms: TermsHash([0; 32]),
        holder: "instance".to_owned(),
        attempt: attempt.to_owned(),
        at: NOON,
        lease_until: NOON + Duration::from_secs(15),
    }
}

pub fn journal(claim: Claim, number: u64) -> Journal {
    Journal {
        payment: PaymentId::from_stored(format!("pay_x{number:025}")),
        settlement: NewSettlement {
            transaction: number.to_be_bytes().repeat(30),
            signature: signature(1_000_000 + number),
            fee_payer: Pubkey::new_from_array([9; 32]),
            payer: Pubkey::new_from_array([1; 32]),
            pay_to: Pubkey::new_from_array([2; 32]),
            asset: Pubkey::new_from_array([3; 32]),
            currency: Some(Currency::Usdc),
            amount: Amount::from_atomic(50_000).unwrap(),
            network: Network::Sandbox,
            resource: Some("https://shop/report".to_owned()),
            owner: Some(OWNER.to_owned()),
            agent: None,
            key_id: Some("key_1".to_owned()),
            max_fee_lamports: 5_000,
            x402_version: 2,
        },
        last_valid_block_height: 150,
        at: claim.at,
        lease_until: claim.at + Duration::from_secs(30),
        caps: Caps::default(),
        claim,
    }
}

/// Claims and journals.
pub async fn put_in_flight(store: &dyn SettlementStore, message: u8) -> Journal {
    let claim = claim(message, &format!("attempt {message}"));
    assert_eq!(store.claim(&claim).await.unwrap(), Claimed::Fresh);
    let journal = journal(claim, u64::from(message));
    assert_eq!(store.journal(&journal).await.unwrap(), Journalled::Done);
    journal
}

/// The model and a database, and somebody who asks both.
struct Pair {
    model: Model,
    store: std::sync::Arc<dyn SettlementStore>,
    random: Random,
    at: UnixMs,
    claims: Vec<Claim>,
    journals: Vec<Journal>,
}

const HOLDERS: [&str; 2] = ["one", "other"];

impl Pair {
    async fn act(&mut self, number: u64) {
        self.at = self.at + Duration::from_millis(self.random.between(1, 400_000));
        match self.random.below(10) {
            0..3 => self.claim(number).await,
            3..6 => self.journal(number).await,
            6 => self.abandon().await,
            7 => self.finish().await,
            8 => self.renew().await,
            _ => self.take_over().await,
        }
    }

    async fn claim(&mut self, number: u64) {
        let again = self.random.percent(20).then(|| self.claims.last().cloned()).flatten();
        let claim = again.unwrap_or_else(|| Claim {
            terms: TermsHash([u8::from(self.random.percent(20)); 32]),
            holder: HOLDERS[self.random.index(2)].to_owned(),
            at: self.at,
            lease_until: self.at + Duration::from_millis(self.random.below(1_000_000)),
            ..claim(u8::try_from(self.random.below(12)).unwrap(), &format!("attempt {number}"))
        });
        let expected = self.model.claim(&claim);
        assert_eq!(self.store.claim(&claim).await.unwrap(), expected, "{claim:?}");
        self.claims.push(claim);
    }

    async fn journal(&mut self, number: u64) {
        let Some(claim) = self.claims.last().cloned() else { return };
        let again = self.random.percent(20).then(|| self.journals.last().cloned()).flatten();
        let entry = again.unwrap_or_else(|| {
            let mut entry = journal(claim, number);
            entry.settlement.max_fee_lamports = self.random.between(5_000, 9_000);
            entry.settlement.key_id = [None, Some("a"), Some("b")][self.random.index(3)].map(str::to_owned);
            entry.caps = Caps { per_key_lamports: Some(20_000), total_lamports: Some(30_000) };
            entry.at = self.at;
            entry.lease_until = self.at + Duration::from_millis(self.random.below(1_000_000));
            if self.random.percent(10) {
                entry.settlement.signature = signature(1_000_000 + self.random.below(number + 1));
            }
            entry
        });
        let expected = self.model.journal(&entry);
        assert_eq!(self.store.journal(&entry).await.unwrap(), expected, "{entry:?}");
        self.journals.push(entry);
    }

    async fn abandon(&mut self) {
        if !self.claims.is_empty() {
            let claim = self.claims[self.random.index(self.claims.len())].clone();
            let expected = self.model.abandon(&claim);
            assert_eq!(self.store.abandon(&claim).await.unwrap(), expected, "{claim:?}");
        }
    }

    async fn finish(&mut self) {
        let message = MessageHash([u8::try_from(self.random.below(12)).unwrap(); 32]);
        let slot = self.random.below(1_000_000);
        let ending = match self.random.below(3) {
            0 => Ending::Settled { slot },
            1 => Ending::Failed { slot, reason: "custom program error: 0x1".to_owned() },
            _ => Ending::Expired,
        };
        let expected = self.model.finish(&message, &ending);
        assert_eq!(self.store.finish(&message, &ending, self.at).await.unwrap(), expected, "{message:?}");
    }

    async fn renew(&mut self) {
        let holder = HOLDERS[self.random.index(2)];
        let messages: Vec<_> =
            (0..14).filter(|_| self.random.percent(50)).map(|n| MessageHash([n; 32])).collect();
        let until = self.at + Duration::from_millis(self.random.below(1_000_000));
        let expected = self.model.renew(holder, &messages, until);
        let held = self.store.renew(holder, &messages, until).await.unwrap();
        assert_eq!(BTreeSet::from_iter(held), BTreeSet::from_iter(expected));
    }

    async fn take_over(&mut self) {
        let holder = HOLDERS[self.random.index(2)];
        let until = self.at + Duration::from_millis(self.random.below(1_000_000));
        let mut expected = self.model.take_over(holder, self.at, until, 100);
        let mut taken = self.store.take_over(holder, self.at, until, 100).await.unwrap();
        let by_message = |in_flight: &InFlight| in_flight.message;
        expected.sort_by_key(by_message);
        taken.sort_by_key(by_message);
        assert_eq!(taken, expected);
        let forgotten = self.model.forget_claims(self.at);
        assert_eq!(self.store.forget_claims(self.at, 1000).await.unwrap(), forgotten);
    }

    async fn compare_all(&self) {
        for entry in &self.journals {
            let of = entry.settlement.signature;
            assert_eq!(self.store.find(&of).await.unwrap(), self.model.find(&of));
            for key in [None, Some("a"), Some("b")] {
                let day = crate::settlement::model::day(entry.at);
                let expected = self.model.sponsored.get(&(day, key.map(str::to_owned)));
                let sponsored = self.store.sponsored(entry.at, key).await.unwrap();
                assert_eq!(sponsored, expected.copied().unwrap_or_default());
            }
        }
    }
}

async fn whatever_the_order_the_databases_do_what_the_model_does(backend: Backend) {
    let (mut ended, mut days) = (0, 0);
    for seed in 0..rounds(12) as u64 {
        // A database of its own, as the model begins with none.
        let backend = backend.another().await;
        let store = backend.books().await.settlements;
        let mut pair = Pair {
            model: Model::default(),
            store,
            random: Random::new(seed),
            at: NOON,
            claims: Vec::new(),
            journals: Vec::new(),
        };
        let all = async {
            for number in 0..150 {
                pair.act(number).await;
            }
            pair.compare_all().await;
        };
        if let Err(panic) = AssertUnwindSafe(all).catch_unwind().await {
            eprintln!("seed {seed} fails");
            resume_unwind(panic);
        }
        ended += pair.model.rows.values().filter(|row| row.ending.is_some()).count();
        days += pair.model.sponsored.len();
    }
    assert!(ended > 5 && days > 5, "{ended} ended, {days} days");
}

async fn a_settlement_is_in_the_books_from_its_journal_entry_on(backend: Backend) {
    let books = backend.books().await;
    let store = books.settlements.as_ref();
    for (message, ending, state) in [
        (1, Ending::Settled { slot: 77 }, PaymentState::Settled),
        (2, Ending::Failed { slot: 78, reason: "no funds".to_owned() }, PaymentState::Failed),
        (3, Ending::Expired, PaymentState::Expired),
    ] {
        let entry = put_in_flight(store, message).await;
        let of = entry.settlement.signature;
        let found = async || books.payments.find(OWNER, &of.to_string()).await.unwrap().unwrap();
        let pending = found().await;
        assert_eq!(
            (pending.state, pending.source, pending.slot),
            (PaymentState::Pending, Source::X402, None)
        );
        assert_eq!(pending.nonce, None);
        assert_eq!((pending.asset, pending.amount), (Some(entry.settlement.asset), entry.settlement.amount));
        assert_eq!(pending.last_valid_block_height, Some(150));
        assert_eq!(store.find(&of).await.unwrap().unwrap().state, SettlementState::Pending);

        let finished = store.finish(&entry.claim.message, &ending, NOON).await.unwrap().unwrap();
        assert!(finished.first);
        let ended = found().await;
        assert_eq!((ended.state, ended.slot), (state, ending.slot()));
        assert_eq!(store.find(&of).await.unwrap().unwrap().state, SettlementState::Ended(ending));
        // The first one decided.
        let again = store.finish(&entry.claim.message, &Ending::Expired, NOON).await.unwrap().unwrap();
        assert!(!again.first);
        assert_eq!(again.record, finished.record);
        assert_eq!(books.payments.find("another", &of.to_string()).await.unwrap(), None);
    }
    let page = books.payments.list(OWNER, 50, 0).await.unwrap();
    assert_eq!((page.total, page.payments.len()), (3, 3));
}

async fn what_is_journalled_is_found_by_its_message_and_nothing_is_claimed_by_looking(backend: Backend) {
    let books = backend.books().await;
    let store = books.settlements.as_ref();
    let claim = claim(1, "attempt");
    let look = async |terms| store.look_up(&claim.message, &terms).await.unwrap();
    assert_eq!(look(claim.terms).await, Claimed::Verifying);
    assert_eq!(store.claim(&claim).await.unwrap(), Claimed::Fresh);
    assert_eq!(look(claim.terms).await, Claimed::Verifying);
    let entry = journal(claim.clone(), 1);
    assert_eq!(store.journal(&entry).await.unwrap(), Journalled::Done);
    for ending in [None, Some(Ending::Settled { slot: 7 })] {
        if let Some(ending) = ending {
            store.finish(&claim.message, &ending, NOON).await.unwrap();
        }
        let record = store.find(&entry.settlement.signature).await.unwrap().unwrap();
        assert_eq!(look(claim.terms).await, Claimed::Booked(Box::new(record)));
        assert_eq!(look(TermsHash([1; 32])).await, Claimed::OtherTerms);
    }
}

/// In both orders, and whatever became of the settlement.
async fn a_transaction_is_settled_or_proved_but_not_both(backend: Backend) {
    let books = backend.books().await;
    let store = books.settlements.as_ref();
    for (message, ending) in [
        (1, None),
        (2, Some(Ending::Settled { slot: 7 })),
        (3, Some(Ending::Failed { slot: 7, reason: String::new() })),
        (4, Some(Ending::Expired)),
    ] {
        let entry = put_in_flight(store, message).await;
        if let Some(ending) = ending {
            store.finish(&entry.claim.message, &ending, NOON).await.unwrap();
        }
        let proved = Payment { transaction: entry.settlement.signature, ..payment(u64::from(message)) };
        let used = Some(Used::Transaction);
        assert_eq!(
            books.payments.on_record(&proved.nonce, &proved.transaction, None).await.unwrap().used,
            used
        );
        let outcomes = books.payments.record_all(&[proved, payment(100 + u64::from(message))]).await.unwrap();
        assert_eq!(outcomes, [RecordOutcome::AlreadyUsed(Used::Transaction), RecordOutcome::Recorded]);
    }
    let proved = payment(50);
    books.payments.record_all(std::slice::from_ref(&proved)).await.unwrap();
    let claim = claim(9, "attempt 9");
    store.claim(&claim).await.unwrap();
    let mut entry = journal(claim, 9);
    entry.settlement.signature = proved.transaction;
    assert_eq!(store.journal(&entry).await.unwrap(), Journalled::SignatureUsed);
    assert_eq!(store.find(&proved.transaction).await.unwrap(), None);
}

async fn what_is_not_a_known_currency_is_booked_by_its_mint(backend: Backend) {
    let books = backend.books().await;
    let store = books.settlements.as_ref();
    let claim = claim(1, "attempt");
    store.claim(&claim).await.unwrap();
    let mut entry = journal(claim, 1);
    entry.settlement.currency = None;
    entry.settlement.owner = None;
    entry.settlement.key_id = None;
    entry.settlement.resource = None;
    entry.settlement.amount = Amount::from_atomic(Amount::MAX).unwrap();
    assert_eq!(store.journal(&entry).await.unwrap(), Journalled::Done);
    let record = store.find(&entry.settlement.signature).await.unwrap().unwrap();
    assert_eq!(record.amount.atomic(), Amount::MAX);
    assert_eq!(store.sponsored(NOON, None).await.unwrap().reserved, 5_000);
    assert_eq!(store.sponsored(NOON, Some("key_1")).await.unwrap().reserved, 0);
    assert_eq!(books.payments.find(OWNER, &entry.settlement.signature.to_string()).await.unwrap(), None);
}

async fn a_refused_entry_leaves_nothing_behind(backend: Backend) {
    let books = backend.books().await;
    let store = books.settlements.as_ref();
    for (number, caps) in [
        (1, Caps { per_key_lamports: Some(4_999), total_lamports: None }),
        (2, Caps { per_key_lamports: None, total_lamports: Some(4_999) }),
    ] {
        let claim = claim(1, "attempt");
        store.claim(&claim).await.unwrap();
        let entry = Journal { caps, ..journal(claim, number) };
        assert!(matches!(store.journal(&entry).await.unwrap(), Journalled::CapReached(_)));
        for key in [None, Some("key_1")] {
            assert_eq!(store.sponsored(NOON, key).await.unwrap().reserved, 0, "{key:?}");
        }
        assert_eq!(store.find(&entry.settlement.signature).await.unwrap(), None);
        assert_eq!(books.payments.list(OWNER, 1, 0).await.unwrap().total, 0);
        // Still this attempt's.
        assert!(store.abandon(&entry.claim).await.unwrap());
    }
}

async fn one_that_cannot_be_read_keeps_no_other_from_being_taken_over(backend: Backend) {
    let store = backend.books().await.settlements;
    let mut entries = Vec::new();
    for message in 1..=3 {
        entries.push(put_in_flight(store.as_ref(), message).await);
    }
    backend.execute("UPDATE settlements SET signature = 'none' WHERE payment_id LIKE '%2'").await;
    let lapsed = NOON + Duration::from_mins(1);
    let taken = store.take_over("heir", lapsed, lapsed + Duration::from_secs(15), 8).await.unwrap();
    let taken: BTreeSet<_> = taken.iter().map(|in_flight| in_flight.message).collect();
    assert_eq!(taken, BTreeSet::from([entries[0].claim.message, entries[2].claim.message]));
}
