//! Many settlements over an RPC that loses and fails: all of them end as the chain says, none twice.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::{
    books::assert_shown,
    stage::{Stage, Told, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::rounds,
};

on_both!(many_settlements_over_an_unreliable_rpc_all_end_as_the_chain_says);

/// As on mainnet.
const SLOT_TIME: Duration = Duration::from_millis(400);
const AT_A_TIME: usize = 50;
/// Payments are signed so many at a time, that none is old before it is asked for.
const BATCH: usize = 200;
/// Sends that are lost and calls that fail, in percent.
const FAULTS: u64 = 5;

#[expect(clippy::disallowed_methods, reason = "the tests' own knob")]
fn seed() -> u64 {
    std::env::var("PAY402_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(402)
}

async fn many_settlements_over_an_unreliable_rpc_all_end_as_the_chain_says(backend: Backend) {
    let stage = Stage::set(backend, SLOT_TIME).await;
    let service = stage.service().await;
    let seed = seed();
    stage.chain.faults().unreliable(seed, FAULTS, FAULTS);
    let (count, started) = (rounds(200), Instant::now());
    let mut told = Vec::new();
    let mut first = [0; 3];
    while told.len() < count {
        let payments = stage.payments(BATCH.min(count - told.len())).await;
        let url = &service.url;
        let mut answers = stream::iter(payments)
            .map(async |payment| {
                let answer = settle(url, &payment).await;
                let last = if answer.is_open() {
                    super::stage::outcome(url, &payment).await
                } else {
                    answer.clone()
                };
                (payment, answer, last)
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((payment, answer, last)) = answers.next().await {
            first[match answer {
                Told::Settled => 0,
                Told::Pending => 1,
                _ => 2,
            }] += 1;
            told.push((payment, last));
        }
    }
    let elapsed = started.elapsed();
    println!(
        "seed {seed}: {count} settlements in {elapsed:?}, {:.0} a second; at first {} settled, {} pending, {} not done",
        count as f64 / elapsed.as_secs_f64(),
        first[0],
        first[1],
        first[2]
    );
    assert!(told.iter().all(|(_, told)| *told == Told::Settled), "{told:?}");
    stage.chain.faults().clear();
    stage.assert_true(&told).await;
    assert_shown(&service.url, &told[..20]).await;
}
