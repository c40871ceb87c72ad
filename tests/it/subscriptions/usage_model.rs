//! Usage held against a model: no usage is counted twice, none past a limit, whatever the keys, the days and the periods.

use std::{collections::BTreeMap, time::Duration};

use pay402::{
    agents::Agent,
    calendar::Day,
    clock::UnixMs,
    ids::{OsEntropy, PlanId, SubscriptionId, UsageId},
    money::{Amount, Currency},
    payments::{Payment, RecordOutcome},
    plans::{Limits, Plan},
    store::Books,
    subscriptions::{Anchor, Begun, NewSubscription},
    usage::{NewUsage, Outcome, Refused, Window},
};
use solana_pubkey::Pubkey;

use crate::{
    conformance::{
        Backend, OWNER,
        agents::{event, registered},
        on_both, payment,
    },
    harness::{rounds, seed},
    settlement::random::Random,
};

on_both!(no_usage_is_counted_twice_or_past_a_limit);

/// The 31st of January 2028, in the evening: periods of all lengths follow.
const START: UnixMs = UnixMs(1_832_970_000_000);
const PER_DAY: u64 = 60;
const PER_MONTH: u64 = 300;
/// How many periods are paid ahead.
const AHEAD: u64 = 12;

/// What was counted: by subscription, all of it as (when, how much), and the words under each key.
#[derive(Clone, Debug, Default)]
struct Model {
    counted: Vec<(String, UnixMs, u64)>,
    keys: BTreeMap<(String, String), (u64, Option<UnixMs>)>,
}

/// Why a batch is refused.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    TooEarly,
    Conflict,
    /// What is used of it, without the batch.
    Over(Window, u64),
}

impl Model {
    fn used(&self, id: &str, from: UnixMs, to: UnixMs) -> u64 {
        let counted = self.counted.iter().filter(|(one, at, _)| one == id && (from..to).contains(at));
        counted.map(|(_, _, quantity)| quantity).sum()
    }

    /// Whether each of the batch was counted before, or which one is refused and why. All of it is counted or nothing.
    fn record(&mut self, batch: &[NewUsage], now: UnixMs) -> Result<Vec<bool>, (usize, Why)> {
        let period = Anchor::at(START).period(now);
        let mut after = self.clone();
        let mut repeated = Vec::new();
        for (index, new) in batch.iter().enumerate() {
            let id = &new.subscription;
            let words = (new.quantity, new.timestamp);
            let key = new.idempotency_key.clone().map(|key| (id.clone(), key));
            if let Some(before) = key.as_ref().and_then(|key| after.keys.get(key)) {
                if *before != words {
                    return Err((index, Why::Conflict));
                }
                repeated.push(true);
                continue;
            }
            let at = new.timestamp.map_or(now, |at| at.min(now));
            if at < period.start {
                return Err((index, Why::TooEarly));
            }
            let day = Day::of(at);
            let windows = [
                (Window::Period, period.start, period.end, PER_MONTH),
                (Window::Day, day.start(), day.next().start(), PER_DAY),
            ];
            for (window, from, to, limit) in windows {
                if after.used(id, from, to) + new.quantity > limit {
                    return Err((index, Why::Over(window, self.used(id, from, to))));
                }
            }
            after.counted.push((id.clone(), at, new.quantity));
            after.keys.extend(key.map(|key| (key, words)));
            repeated.push(false);
        }
        *self = after;
        Ok(repeated)
    }
}

/// Two subscriptions, paid for a year.
async fn prepared(books: &Books) -> [String; 2] {
    let agent: Agent = registered(1);
    books.agents.create(&agent, &event(0)).await.unwrap();
    let plan = Plan {
        id: PlanId::from_stored("plan_1".to_owned()),
        owner: OWNER.to_owned(),
        name: "pro".to_owned(),
        description: None,
        price_per_month: Amount::from_atomic(1).unwrap(),
        currency: Currency::Usdc,
        features: vec![],
        limits: Limits { requests_per_month: Some(PER_MONTH), requests_per_day: Some(PER_DAY) },
        metadata: None,
        created_at: START,
        updated_at: START,
        retired_at: None,
    };
    books.plans.create_plan(&plan).await.unwrap();
    let ids = ["sub_1", "sub_2"].map(str::to_owned);
    for (number, id) in (0..).zip(&ids) {
        let id = SubscriptionId::from_stored(id.clone());
        let new = NewSubscription {
            id: id.clone(),
            owner: OWNER.to_owned(),
            plan: plan.id.clone(),
            agent: agent.id.clone(),
            wallet: Pubkey::new_from_array([1; 32]),
            require_payment: false,
            metadata: None,
        };
        let begun = books.subscriptions.begin_subscription(&new, START).await.unwrap();
        assert!(matches!(begun, Begun::Kept(_)), "{begun:?}");
        for period in 0..AHEAD {
            let paid = Payment {
                verified_at: START,
                subscription: Some(id.clone()),
                ..payment(1 + number * AHEAD + period)
            };
            let outcome = books.payments.record_with_consequences(&[paid]).await.unwrap();
            assert_eq!(outcome, [RecordOutcome::Recorded]);
        }
    }
    ids
}

/// To a moment before, at or after the next midnight or period, or some while on.
fn later(random: &mut Random, now: UnixMs) -> UnixMs {
    let off = i64::try_from(random.below(3)).unwrap() - 1;
    let edge = match random.below(10) {
        0 => Anchor::at(START).period(now).end.0 + off,
        1..=3 => Day::of(now).next().start().0 + off,
        _ => now.0 + i64::try_from(random.below(7_200_000)).unwrap(),
    };
    UnixMs(edge.max(now.0))
}

fn batch(random: &mut Random, ids: &[String; 2], now: UnixMs) -> Vec<NewUsage> {
    let many = 1 + random.below(4);
    let one = |_| {
        let back = i64::try_from(random.below(3 * 86_400_000)).unwrap();
        NewUsage {
            id: UsageId::new(now, &OsEntropy),
            subscription: ids[random.index(2)].clone(),
            quantity: random.between(1, 12),
            resource: None,
            timestamp: match random.below(4) {
                0 => Some(UnixMs(now.0 - back)),
                1 => Some(now + Duration::from_secs(30)),
                _ => None,
            },
            // Often enough one that was there before.
            idempotency_key: random.percent(60).then(|| format!("key {}", random.below(40))),
            metadata: None,
        }
    };
    (0..many).map(one).collect()
}

async fn no_usage_is_counted_twice_or_past_a_limit(backend: Backend) {
    let instances = [backend.books().await, backend.open().await];
    let ids = prepared(&instances[0]).await;
    let (mut random, mut model, mut now) = (Random::new(seed()), Model::default(), START);
    let mut sent: Vec<Vec<NewUsage>> = Vec::new();
    let last = Anchor::at(START).after(START, u32::try_from(AHEAD).unwrap());
    for step in 0..rounds(400) {
        now = later(&mut random, now).min(UnixMs(last.0 - 1));
        // Something new, or what was sent before, word for word.
        let again = random.percent(25) && !sent.is_empty();
        let batch =
            if again { sent[random.index(sent.len())].clone() } else { batch(&mut random, &ids, now) };
        let expected = model.record(&batch, now);
        let store = &instances[random.index(2)].usage;
        let came = match store.record_usage(OWNER, &batch_anew(&batch, now), now).await.unwrap() {
            Outcome::Counted(counted) => Ok(counted.iter().map(|one| one.repeated).collect()),
            Outcome::Refused { index, why } => Err((
                index,
                match why {
                    Refused::TooEarly { .. } => Why::TooEarly,
                    Refused::Conflict => Why::Conflict,
                    Refused::OverLimit(over) => Why::Over(over.window, over.used),
                    other => panic!("{other:?}"),
                },
            )),
        };
        assert_eq!(came, expected, "step {step}: {batch:?} at {now:?}");
        sent.push(batch);
        for id in &ids {
            assert_sums(&instances[random.index(2)], &model, id, now).await;
        }
    }
    assert!(model.counted.len() > 20, "{}", model.counted.len());
}

/// Sent again, it has ids of its own.
fn batch_anew(batch: &[NewUsage], now: UnixMs) -> Vec<NewUsage> {
    batch.iter().map(|new| NewUsage { id: UsageId::new(now, &OsEntropy), ..new.clone() }).collect()
}

/// Records and sums of the period are those of the model.
async fn assert_sums(books: &Books, model: &Model, id: &str, now: UnixMs) {
    let period = Anchor::at(START).period(now);
    let page = books.usage.usage(&SubscriptionId::from_stored(id.to_owned()), period, 200, 0).await.unwrap();
    let expected = model.used(id, period.start, period.end);
    let own = page.days.iter().filter(|day| day.period_start == period.start);
    assert_eq!(own.map(|day| day.quantity).sum::<u64>(), expected);
    assert_eq!(page.resources.iter().map(|sum| sum.quantity).sum::<u64>(), expected);
    assert_eq!(page.records.iter().map(|record| record.quantity).sum::<u64>(), expected);
    for day in &page.days {
        let (from, to) = (day.day.start().max(day.period_start), day.day.next().start());
        let to = if day.period_start < period.start { period.start.min(to) } else { to };
        assert_eq!(day.quantity, model.used(id, from, to), "{day:?}");
    }
}
