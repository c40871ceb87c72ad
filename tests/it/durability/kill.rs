//! The service is killed (-9) at every moment of a settlement, and started again; or another one goes on.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    books::assert_shown,
    moments::Moment,
    stage::{LIFETIME_SLOTS, Payment, Stage, Told, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::rounds,
};

on_both!(
    killed_at_any_moment_and_started_again_it_tells_the_truth,
    killed_at_any_moment_it_leaves_its_work_to_another_instance,
    killed_before_a_send_arrives_and_away_until_the_blockhash_is_dead_it_tells_that_it_expired,
    killed_over_what_has_landed_and_away_for_longer_than_that_is_at_hand_it_finds_it_in_the_history,
);

/// Long enough for a payment to be good until it is asked for again.
const SLOT_TIME: Duration = Duration::from_millis(800);

/// Has a payment settled by a service that dies at that moment. What is there then is what the moment says.
async fn killed_at(stage: &Stage, moment: Moment) -> Payment {
    // A node of its own, so that nobody else's calls are held.
    let node = stage.chain.add_node().await.unwrap();
    let service = stage.service_at(&node).await;
    let payment = stage.payment().await;
    let held = moment.prepare(&node);
    let (url, asked) = (service.url.clone(), payment.clone());
    let told = tokio::spawn(async move { settle(&url, &asked).await });
    let stuck = moment.reached(stage, held, &payment).await;
    service.kill9();
    stuck.clear_away().await;
    assert_eq!(told.await.unwrap(), Told::Nothing, "{moment:?}");
    let booked = stage.state(&payment).await;
    assert_eq!(booked.as_deref(), moment.is_journalled().then_some("pending"), "{moment:?}");
    let landed = stage.landed(std::slice::from_ref(&payment)).await;
    assert_eq!(landed, [moment.has_landed().then_some(true)], "{moment:?}");
    payment
}

/// What the one that goes on tells, asked twice.
async fn goes_on(stage: &Stage, url: &str, payment: Payment, expected: Told) {
    let told = outcome(url, &payment).await;
    assert_eq!(told, expected, "{payment:?}");
    assert_eq!(settle(url, &payment).await, expected, "the second time");
    let told = [(payment, told)];
    stage.assert_true(&told).await;
    assert_shown(url, &told).await;
}

async fn killed_at_any_moment_and_started_again_it_tells_the_truth(backend: Backend) {
    for _ in 0..rounds(1) {
        join_all(Moment::ALL.map(async |moment| {
            let stage = Stage::set(backend.another().await, SLOT_TIME).await;
            let payment = killed_at(&stage, moment).await;
            let service = stage.service().await;
            goes_on(&stage, &service.url, payment, Told::Settled).await;
        }))
        .await;
    }
}

async fn killed_at_any_moment_it_leaves_its_work_to_another_instance(backend: Backend) {
    for _ in 0..rounds(1) {
        join_all(Moment::ALL.map(async |moment| {
            let stage = Stage::set(backend.another().await, SLOT_TIME).await;
            let heir = stage.service().await;
            let payment = killed_at(&stage, moment).await;
            goes_on(&stage, &heir.url, payment, Told::Settled).await;
        }))
        .await;
    }
}

/// Slots and time pass by hand: the one that goes on is in this process, so that nobody has to wait for a blockhash to die.
async fn killed_and_away_for(backend: Backend, moment: Moment, slots: u64, expected: Told) {
    let stage = Stage::by_hand_today(backend).await;
    let payment = stage.while_slots_pass(killed_at(&stage, moment)).await;
    stage.chain.advance_slots(slots);
    stage.clock.as_ref().unwrap().advance(Duration::from_mins(5));
    let heir = stage.app(&[]).await;
    goes_on(&stage, &heir.url, payment, expected).await;
}

async fn killed_before_a_send_arrives_and_away_until_the_blockhash_is_dead_it_tells_that_it_expired(
    backend: Backend,
) {
    killed_and_away_for(backend, Moment::Journalled, LIFETIME_SLOTS, Told::Expired).await;
}

async fn killed_over_what_has_landed_and_away_for_longer_than_that_is_at_hand_it_finds_it_in_the_history(
    backend: Backend,
) {
    join_all([Moment::Sent, Moment::Landed, Moment::Finishing].map(async |moment| {
        // A node has at hand what landed in the last 300 slots.
        killed_and_away_for(backend.another().await, moment, 450, Told::Settled).await;
    }))
    .await;
}
