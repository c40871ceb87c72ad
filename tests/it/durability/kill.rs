//! The service is killed (-9) at every moment of a settlement, and started again; or another one goes on.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    books::assert_shown,
    moments::Moment,
    stage::{Payment, Stage, Told, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::rounds,
};

on_both!(
    killed_at_any_moment_and_started_again_it_tells_the_truth,
    killed_at_any_moment_it_leaves_its_work_to_another_instance,
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
async fn goes_on(stage: &Stage, url: &str, payment: Payment) {
    let told = outcome(url, &payment).await;
    assert_eq!(told, Told::Settled, "{payment:?}");
    assert_eq!(settle(url, &payment).await, Told::Settled, "the second time");
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
            goes_on(&stage, &service.url, payment).await;
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
            goes_on(&stage, &heir.url, payment).await;
        }))
        .await;
    }
}
