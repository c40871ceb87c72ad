//! Subscriptions held against a model that does not go from state to state: it knows what was done, and says from that
//! alone where a subscription stands at any time. In memory, and in the books.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pay402::{
    agents::Agent,
    calendar::DAY_MS,
    clock::UnixMs,
    ids::{AgentId, PlanId, SubscriptionId},
    money::{Amount, Currency},
    payments::{self, Objection, RecordOutcome},
    plans::{Limits, Plan},
    store::Books,
    subscriptions::{
        Begun, GRACE, MAX_PERIODS_AHEAD, Money, NewSubscription, Price, Standing, Subscribed, Subscription,
        Unpayable, When,
    },
};
use proptest::prelude::*;
use solana_pubkey::Pubkey;

use super::DAY;
use crate::{
    conformance::{
        Backend, OWNER,
        agents::{event, registered},
        payment,
    },
    harness::rounds,
};

const PRICE: u64 = 10_000_000;

/// Something done to a subscription.
#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    /// To a moment before, at, or after the next one that changes something.
    WaitUntilDue(i64),
    Pay(Payment),
    Cancel(When),
}

#[derive(Clone, Copy, Debug)]
enum Payment {
    Right,
    More,
    TooLittle,
    WrongCurrency,
    WrongWallet,
}

/// What was done.
#[derive(Debug)]
struct Model {
    /// Where all periods begin, from the first on.
    starts: Vec<UnixMs>,
    /// How many periods are paid, or free of charge.
    paid: usize,
    cancelled_at: Option<UnixMs>,
    cancel_at_period_end: bool,
}

impl Model {
    /// The starts are found day by day, by nothing but the calendar's dates.
    fn new(start: UnixMs, require_payment: bool) -> Self {
        let day = |at: UnixMs| pay402::calendar::Day::of(at).iso();
        let of_month = |at: UnixMs| day(at)[8..].parse::<u32>().unwrap();
        let anchor = of_month(start);
        let mut starts = vec![start];
        let mut at = start;
        while starts.len() < 60 {
            at = at + DAY;
            let last_of_month = of_month(at + DAY) == 1;
            if of_month(at) == anchor || last_of_month && of_month(at) < anchor {
                starts.push(at);
            }
        }
        Self { starts, paid: usize::from(!require_payment), cancelled_at: None, cancel_at_period_end: false }
    }

    fn paid_until(&self) -> UnixMs {
        self.starts[self.paid]
    }

    fn standing(&self, now: UnixMs) -> Standing {
        let end = self.paid_until();
        if let Some(at) = self.cancelled_at {
            Standing::Cancelled { at, at_period_end: false }
        } else if now < end {
            Standing::Active { cancel_at_period_end: self.cancel_at_period_end }
        } else if self.cancel_at_period_end {
            Standing::Cancelled { at: end, at_period_end: true }
        } else if now < end + GRACE {
            Standing::PastDue { expires_at: end + GRACE }
        } else {
            Standing::Expired { at: end + GRACE }
        }
    }

    /// The number of the period that it is in, or was when it ended.
    fn period(&self, now: UnixMs) -> usize {
        let at = match self.standing(now) {
            // Its last period ends when it does.
            Standing::Cancelled { at, at_period_end: true } => UnixMs(at.0 - 1),
            Standing::Cancelled { at, .. } | Standing::Expired { at } => at,
            Standing::Active { .. } | Standing::PastDue { .. } => now,
        };
        self.starts.iter().rposition(|start| *start <= at).unwrap()
    }

    fn pays(&self, now: UnixMs) -> bool {
        let open = matches!(
            self.standing(now),
            Standing::Active { cancel_at_period_end: false } | Standing::PastDue { .. }
        );
        open && self.paid <= self.period(now) + MAX_PERIODS_AHEAD as usize
    }

    fn cancel(&mut self, when: When, now: UnixMs) {
        match (self.standing(now), when) {
            (Standing::Active { .. }, When::PeriodEnd) => self.cancel_at_period_end = true,
            (Standing::Active { .. }, When::Now) | (Standing::PastDue { .. }, _) => {
                self.cancelled_at = Some(now);
            }
            (Standing::Cancelled { .. } | Standing::Expired { .. }, _) => {}
        }
    }
}

fn wallet() -> Pubkey {
    Pubkey::new_from_array([1; 32])
}

fn amount(units: u64) -> Amount {
    Amount::from_atomic(units).unwrap()
}

fn money(payment: Payment) -> Money {
    let right = Money { payer: wallet(), amount: amount(PRICE), currency: Currency::Usdc };
    match payment {
        Payment::Right => right,
        Payment::More => Money { amount: amount(PRICE * 3), ..right },
        Payment::TooLittle => Money { amount: amount(PRICE - 1), ..right },
        Payment::WrongCurrency => Money { currency: Currency::Usdt, ..right },
        Payment::WrongWallet => Money { payer: Pubkey::new_from_array([2; 32]), ..right },
    }
}

fn begin(at: UnixMs, require_payment: bool) -> Subscription {
    let new = NewSubscription {
        id: SubscriptionId::from_stored("sub_1".to_owned()),
        owner: "merchant".to_owned(),
        plan: PlanId::from_stored("plan_1".to_owned()),
        agent: AgentId::from_stored("agent_1".to_owned()),
        wallet: wallet(),
        require_payment,
        metadata: None,
    };
    Subscription::begin(new, at, amount(PRICE)).subscription
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let payment = prop_oneof![
        6 => Just(Payment::Right),
        1 => Just(Payment::More),
        1 => Just(Payment::TooLittle),
        1 => Just(Payment::WrongCurrency),
        1 => Just(Payment::WrongWallet),
    ];
    let when = prop_oneof![Just(When::PeriodEnd), Just(When::Now)];
    let step = prop_oneof![
        4 => (0..40_u64 * 86_400_000).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        4 => (-1..=1_i64).prop_map(Step::WaitUntilDue),
        6 => payment.prop_map(Step::Pay),
        1 => when.prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 1..24)
}

/// What must be so of any subscription.
fn check_sound(subscription: &Subscription) -> Result<(), TestCaseError> {
    let Subscription { standing, period, paid_until, anchor, .. } = subscription;
    prop_assert_eq!(anchor.period(period.start), *period);
    prop_assert_eq!(anchor.period(*paid_until).start, *paid_until);
    match standing {
        Standing::Active { .. } => prop_assert!(*paid_until >= period.end),
        Standing::PastDue { expires_at } => {
            prop_assert_eq!(*paid_until, period.start);
            prop_assert!(*expires_at < period.end);
        }
        Standing::Cancelled { .. } | Standing::Expired { .. } => {
            prop_assert_eq!(subscription.due_at(), None);
        }
    }
    Ok(())
}

fn check(start: UnixMs, require_payment: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let price = Price { amount: amount(PRICE), currency: Currency::Usdc };
    let (mut now, mut model) = (start, Model::new(start, require_payment));
    let mut subscription = begin(start, require_payment);
    let mut periods_paid = Vec::new();
    for step in steps {
        match step {
            Step::Wait(by) => now = now + by,
            Step::WaitUntilDue(off) => {
                if let Some(due) = subscription.due_at() {
                    now = now.max(UnixMs(due.0 + off));
                }
            }
            Step::Cancel(when) => {
                subscription =
                    subscription.advance(now, price.amount).subscription.cancel(when, now).subscription;
                model.cancel(when, now);
            }
            Step::Pay(payment) => {
                let advanced = subscription.advance(now, price.amount).subscription;
                let good = matches!(payment, Payment::Right | Payment::More) && model.pays(now);
                match advanced.clone().pay(money(payment), now, price) {
                    Ok((paid, what)) => {
                        prop_assert!(good, "{:?} at {:?}", payment, model.standing(now));
                        prop_assert_eq!(what.period.start, model.paid_until());
                        periods_paid.push(what.period.start);
                        model.paid += 1;
                        subscription = paid.subscription;
                    }
                    Err(why) => {
                        prop_assert!(!good, "{:?} at {:?}", why, model.standing(now));
                        let inactive = matches!(why, Unpayable::Inactive(_));
                        let open = matches!(
                            advanced.standing,
                            Standing::Active { cancel_at_period_end: false } | Standing::PastDue { .. }
                        );
                        prop_assert_eq!(inactive, !open);
                        subscription = advanced;
                    }
                }
            }
        }
        if model.paid + 4 > model.starts.len() || now > model.starts[model.starts.len() - 3] {
            break;
        }
        // In one go or in many, late or early: it comes to the same.
        let seen = subscription.clone().advance(now, price.amount).subscription;
        check_sound(&seen)?;
        prop_assert_eq!(seen.standing, model.standing(now));
        prop_assert_eq!(seen.period.start, model.starts[model.period(now)]);
        prop_assert_eq!(seen.paid_until, model.paid_until());
        prop_assert!(seen.clone().advance(now, price.amount).told.is_empty());
        if now.0 % 2 == 0 {
            subscription = seen;
        }
    }
    prop_assert!(periods_paid.is_sorted_by(|one, next| one < next), "no period is paid twice");
    Ok(())
}

#[test]
fn no_sequence_leads_astray() {
    let config = ProptestConfig { cases: u32::try_from(rounds(2000)).unwrap(), ..ProptestConfig::default() };
    proptest!(config, |(start in beginnings(), require_payment: bool, steps in steps())| {
        check(start, require_payment, steps)?;
    });
}

/// When they begin: from 2026 to 2033, more often than not late in a month.
fn beginnings() -> impl Strategy<Value = UnixMs> {
    let day = prop_oneof![20_454..23_000_i64, (0..80_i64).prop_map(|n| 20_454 + n * 30 + 27)];
    (day, 0..DAY_MS).prop_map(|(day, ms)| UnixMs(day * DAY_MS + ms))
}

/// The same in the books, where each step is one of the store's and the worker comes by now and then.
#[derive(Debug)]
struct Replay {
    backend: Backend,
    books: Books,
    /// How many payments and subscriptions there were, so that no two have the same name.
    made: AtomicU64,
}

impl Replay {
    async fn new(backend: Backend) -> Self {
        let books = backend.books().await;
        let owned = Agent { public_key: wallet(), ..registered(1) };
        books.agents.create(&owned, &event(1)).await.unwrap();
        let plan = Plan {
            id: PlanId::from_stored("plan_1".to_owned()),
            owner: OWNER.to_owned(),
            name: "pro".to_owned(),
            description: None,
            price_per_month: amount(PRICE),
            currency: Currency::Usdc,
            features: vec![],
            limits: Limits { requests_per_month: None, requests_per_day: None },
            metadata: None,
            created_at: UnixMs(0),
            updated_at: UnixMs(0),
            retired_at: None,
        };
        books.plans.create_plan(&plan).await.unwrap();
        Self { backend, books, made: AtomicU64::new(0) }
    }

    fn next(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    async fn check(
        &self,
        start: UnixMs,
        require_payment: bool,
        steps: Vec<Step>,
    ) -> Result<(), TestCaseError> {
        let (mut now, mut model) = (start, Model::new(start, require_payment));
        let id = SubscriptionId::from_stored(format!("sub_{}", self.next()));
        let new = NewSubscription {
            id: id.clone(),
            owner: OWNER.to_owned(),
            plan: PlanId::from_stored("plan_1".to_owned()),
            agent: registered(1).id,
            wallet: wallet(),
            require_payment,
            metadata: None,
        };
        let begun = self.books.subscriptions.begin_subscription(&new, start).await.unwrap();
        prop_assert!(matches!(begun, Begun::Kept(_)), "{begun:?}");
        let mut periods_paid = 0;
        for step in steps {
            match step {
                Step::Wait(by) => now = now + by,
                Step::WaitUntilDue(off) => {
                    if let Some(due) = self.row(&id).await.subscription.due_at() {
                        now = now.max(UnixMs(due.0 + off));
                    }
                }
                Step::Cancel(when) => {
                    let store = &self.books.subscriptions;
                    let done = store.cancel_subscription(OWNER, id.as_str(), when, now).await.unwrap();
                    model.cancel(when, now);
                    prop_assert_eq!(done.unwrap().subscription.standing, model.standing(now));
                }
                Step::Pay(payment) => {
                    let good = matches!(payment, Payment::Right | Payment::More) && model.pays(now);
                    let outcome = self.pay(&id, money(payment), now).await;
                    let refused = matches!(outcome, RecordOutcome::Refused(Objection::Subscription(_)));
                    prop_assert_eq!(outcome == RecordOutcome::Recorded, good, "{:?}", &outcome);
                    prop_assert_eq!(refused, !good, "{:?} at {:?}", outcome, model.standing(now));
                    model.paid += usize::from(good);
                    periods_paid += i64::from(good);
                }
            }
            if model.paid + 4 > model.starts.len() || now > model.starts[model.starts.len() - 3] {
                break;
            }
            let left = self.row(&id).await;
            check_sound(&left.subscription)?;
            assert_is(&left.at(now).subscription, &model, now)?;
            if now.0 % 2 == 0 {
                // Those of the cases before are due by then too.
                while self.books.subscriptions.advance_due(now, 0, 500).await.unwrap().advanced == 500 {}
                let written = self.row(&id).await.subscription;
                assert_is(&written, &model, now)?;
                prop_assert!(written.due_at().is_none_or(|due| due > now), "{:?}", written);
            }
        }
        let counted = "SELECT subscription_id, count(*) FROM subscription_periods GROUP BY subscription_id";
        let counted = self.backend.select(counted).await;
        let own = counted.into_iter().find(|(subscription, _)| subscription == id.as_str());
        prop_assert_eq!(own.map_or(0, |(_, periods)| periods), periods_paid);
        Ok(())
    }

    /// As it was left.
    async fn row(&self, id: &SubscriptionId) -> Subscribed {
        self.books.subscriptions.find_subscription(OWNER, id.as_str()).await.unwrap().unwrap()
    }

    async fn pay(&self, id: &SubscriptionId, money: Money, now: UnixMs) -> RecordOutcome {
        let paid = payments::Payment {
            payer: money.payer,
            amount: money.amount,
            currency: money.currency,
            subscription: Some(id.clone()),
            verified_at: now,
            ..payment(self.next())
        };
        let outcomes = self.books.payments.record_with_consequences(&[paid]).await.unwrap();
        outcomes.into_iter().next().unwrap()
    }
}

/// Whether it stands where the model has it.
fn assert_is(subscription: &Subscription, model: &Model, now: UnixMs) -> Result<(), TestCaseError> {
    check_sound(subscription)?;
    prop_assert_eq!(subscription.standing, model.standing(now));
    prop_assert_eq!(subscription.period.start, model.starts[model.period(now)]);
    prop_assert_eq!(subscription.paid_until, model.paid_until());
    Ok(())
}

fn no_sequence_leads_the_books_astray(backend: impl Future<Output = Backend>, cases: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let replay = runtime.block_on(async { Replay::new(backend.await).await });
    let cases = u32::try_from(rounds(cases)).unwrap();
    proptest!(ProptestConfig { cases, ..ProptestConfig::default() },
        |(start in beginnings(), require_payment: bool, steps in steps())| {
            runtime.block_on(replay.check(start, require_payment, steps))?;
        }
    );
}

#[test]
fn no_sequence_leads_the_books_astray_in_sqlite() {
    no_sequence_leads_the_books_astray(async { Backend::sqlite() }, 100);
}

#[test]
fn no_sequence_leads_the_books_astray_in_postgres() {
    no_sequence_leads_the_books_astray(Backend::postgres(), 25);
}

#[test]
fn a_leap_day_is_found_and_the_31st_comes_back() {
    // 31 January 2028, noon.
    let start = UnixMs(1_832_932_800_000);
    assert_eq!(pay402::calendar::Day::of(start).iso(), "2028-01-31");
    let price = Price { amount: amount(PRICE), currency: Currency::Usdc };
    let mut subscription = begin(start, true);
    let mut ends = Vec::new();
    for _ in 0..4 {
        let now = subscription.period.start;
        subscription = subscription.pay(money(Payment::Right), now, price).unwrap().0.subscription;
        ends.push(pay402::calendar::Day::of(subscription.period.end).iso());
        let end = subscription.period.end;
        subscription = subscription.advance(end, price.amount).subscription;
    }
    assert_eq!(ends, ["2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"]);
}

/// The price of a period is fixed when it begins, or when it is paid ahead.
#[test]
fn prices_are_those_of_their_time() {
    let start = UnixMs(1_790_000_000_000);
    let dearer = Price { amount: amount(2 * PRICE), currency: Currency::Usdc };
    let unpaid = begin(start, true);
    let refused = unpaid.clone().pay(money(Payment::TooLittle), start, dearer);
    assert!(matches!(refused, Err(Unpayable::TooLittle { price, .. }) if price == amount(PRICE)));
    let (paid, first) = unpaid.pay(money(Payment::Right), start, dearer).unwrap();
    assert_eq!(first.price, amount(PRICE), "the period had begun");
    let ahead = paid.subscription.clone().pay(money(Payment::Right), start, dearer);
    assert!(matches!(ahead, Err(Unpayable::TooLittle { price, .. }) if price == dearer.amount));
    let dearest = amount(3 * PRICE);
    let both = paid.subscription.clone().pay(money(Payment::More), start, dearer).unwrap().0.subscription;
    let second = both.advance(first.period.end, dearest).subscription;
    assert_eq!((second.price, second.standing.as_str()), (dearer.amount, "active"), "it was paid");
    let end = second.period.end;
    assert_eq!(second.advance(end, dearest).subscription.price, dearest);
    let next = paid.subscription.advance(first.period.end, dearer.amount).subscription;
    assert_eq!((next.price, next.standing.as_str()), (dearer.amount, "past_due"));
    assert_eq!(next.pay(money(Payment::More), first.period.end, dearer).unwrap().1.price, dearer.amount);
}

/// A year can be paid ahead, and no more.
#[test]
fn how_far_ahead_may_be_paid() {
    let start = UnixMs(1_790_000_000_000);
    let price = Price { amount: amount(PRICE), currency: Currency::Usdc };
    let mut subscription = begin(start, true);
    for _ in 0..=MAX_PERIODS_AHEAD {
        subscription = subscription.pay(money(Payment::Right), start, price).unwrap().0.subscription;
    }
    let until = subscription.paid_until;
    let refused = subscription.clone().pay(money(Payment::Right), start, price);
    assert_eq!(refused.unwrap_err(), Unpayable::PaidAhead { until });
    let end = subscription.period.end;
    let next = subscription.advance(end, price.amount).subscription;
    assert!(next.pay(money(Payment::Right), end, price).is_ok(), "one more with every period");
}
