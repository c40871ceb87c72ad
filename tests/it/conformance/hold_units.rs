//! Stablecoins and SOL are held and spent apart.

use std::time::Duration;

use pay402::{
    agents::{Agent, DaySpending, Held, Hold, Limits, NotAdmitted, Overspending, SpendingUnit, UnitLimits},
    money::{Amount, Currency},
    payments::{
        Objection, Payment, RecordOutcome,
        settlement::{Ending, Journalled},
    },
    store::Books,
};

use super::{
    Backend,
    holds::{by, hold, journalled, kept},
    on_both, payment,
    settlements::NOON,
};

on_both!(what_is_held_of_one_unit_leaves_the_other_as_it_is);

const MINUTE: Duration = Duration::from_mins(1);

/// Spent and reserved, of stablecoins and of SOL.
async fn day(books: &Books, agent: &Agent) -> [(u64, u64); 2] {
    let day = books.agents.spending(&agent.id, NOON).await.unwrap();
    [day.stable, day.sol].map(|DaySpending { spent, reserved }| (spent, reserved))
}

async fn what_is_held_of_one_unit_leaves_the_other_as_it_is(backend: Backend) {
    let books = backend.books().await;
    let hundred = UnitLimits { daily: Some(100), per_transaction: None };
    let agent = kept(&books, 1, Limits { stable: hundred, sol: hundred }).await;
    let held = async |unit, message, units| {
        let wanted = Hold { unit: Some(unit), ..hold(&agent, message, units) };
        books.agents.hold(&wanted, NOON + MINUTE).await.unwrap()
    };
    assert_eq!(held(SpendingUnit::Stable, 1, 80).await, Held::Held);
    assert_eq!(day(&books, &agent).await, [(0, 80), (0, 0)]);
    assert_eq!(held(SpendingUnit::Sol, 2, 100).await, Held::Held);
    assert_eq!(day(&books, &agent).await, [(0, 80), (0, 100)]);
    for (message, unit, units, most) in [(3, SpendingUnit::Stable, 21, 20), (4, SpendingUnit::Sol, 1, 0)] {
        let refused = held(unit, message, units).await;
        let Held::NotAdmitted { why: NotAdmitted::Overspending(why), .. } = refused else {
            panic!("{refused:?}");
        };
        let Overspending::Daily { unit: of, left, .. } = why else { panic!("{why:?}") };
        assert_eq!((of, left), (unit, most));
    }
    let prove = async |number, currency, units| {
        let paid = Payment {
            agent: Some(agent.id.clone()),
            amount: Amount::from_atomic(units).unwrap(),
            currency,
            verified_at: NOON,
            ..payment(number)
        };
        books.payments.record_with_consequences(&[paid]).await.unwrap()
    };
    let refused = prove(1, Currency::Sol, 1).await;
    let [
        RecordOutcome::Refused(Objection::Agent(NotAdmitted::Overspending(Overspending::Daily {
            unit, ..
        }))),
    ] = refused[..]
    else {
        panic!("{refused:?}");
    };
    assert_eq!(unit, SpendingUnit::Sol);
    assert_eq!(prove(2, Currency::Usdt, 20).await, [RecordOutcome::Recorded]);
    assert_eq!(day(&books, &agent).await, [(20, 80), (0, 100)]);
    let entry = by(&agent, 1, 80);
    assert_eq!(journalled(&books, &entry).await, Journalled::Done);
    let settled = Ending::Settled { slot: 1 };
    books.settlements.finish(&entry.claim.message, &settled, NOON).await.unwrap().unwrap();
    assert_eq!(day(&books, &agent).await, [(100, 0), (0, 100)]);
}
