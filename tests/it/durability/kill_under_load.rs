//! The service is killed (-9) at any moment with many settlements under way, again and again.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    books::assert_shown,
    stage::{Payment, Stage, Told, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::rounds,
    settlement::random::Random,
};

on_both!(a_service_killed_again_and_again_under_load_settles_everything_once);

/// New payments in each round.
const PER_ROUND: usize = 24;
/// Long enough for a payment to be good until it is asked for again.
const SLOT_TIME: Duration = Duration::from_millis(600);
/// From the first answer of the database to well past the first confirmations.
const LATEST_KILL_MS: u64 = 1_800;

async fn a_service_killed_again_and_again_under_load_settles_everything_once(backend: Backend) {
    let stage = Stage::set(backend, SLOT_TIME).await;
    let mut random = Random::new(402);
    let mut told = BTreeMap::new();
    let mut open: Vec<Payment> = Vec::new();
    let mut unanswered = 0;
    for _ in 0..rounds(6) {
        let service = stage.service().await;
        // Those that the last process was killed over come first.
        open.extend(stage.payments(PER_ROUND).await);
        let load = join_all(open.iter().map(async |payment| settle(&service.url, payment).await));
        let delay = Duration::from_millis(random.below(LATEST_KILL_MS));
        let process = &service.process;
        let (answers, ()) = tokio::join!(load, async {
            sleep(delay).await;
            process.signal("KILL");
        });
        for (payment, answer) in std::mem::take(&mut open).into_iter().zip(answers) {
            match answer {
                Told::Settled => drop(told.insert(payment.signature, (payment, Told::Settled))),
                // A slow disk may keep so many waiting for longer than they may.
                answer if answer.is_open() => {
                    unanswered += usize::from(answer == Told::Nothing);
                    open.push(payment);
                }
                other => panic!("{payment:?}: {other:?}"),
            }
        }
    }
    assert!(unanswered > 0, "it never died in the middle");
    let service = stage.service().await;
    let last = join_all(open.iter().map(async |payment| outcome(&service.url, payment).await)).await;
    for (payment, last) in open.into_iter().zip(last) {
        assert_eq!(last, Told::Settled, "{payment:?}");
        told.insert(payment.signature, (payment, last));
    }
    let told: Vec<_> = told.into_values().collect();
    stage.assert_true(&told).await;
    assert_shown(&service.url, &told).await;
}
