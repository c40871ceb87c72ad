//! The database is gone for a while, at a known moment of a settlement or under load: what is told is committed, what is not
//! known is pending or was not sent, and all is well when the database is back. The service is not restarted.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::sandbox::{Hold, faults::ALWAYS};
use tokio::time::sleep;

use super::{
    books::assert_shown,
    moments::Lock,
    stage::{Payment, Stage, Told, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::{process::ServiceProcess, rounds},
    settlement::random::Random,
};

on_both!(
    gone_before_the_journal_entry_nothing_is_sent,
    gone_before_the_end_is_written_down_it_is_written_down_later,
    gone_under_load_again_and_again,
);

/// Long enough for a payment to be good until it is asked for again.
const SLOT_TIME: Duration = Duration::from_millis(600);
/// Settlements that are under way when the database goes.
const AT_A_TIME: usize = 24;

/// How a database goes away.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Killed (-9), and started again after a while.
    Killed,
    /// Ended in order: connections are refused.
    Stopped,
    /// Nothing answers, and connections stay.
    Paused,
    /// Another process keeps everyone from writing.
    Locked,
}

impl Outage {
    fn of(backend: &Backend) -> &'static [Self] {
        match backend {
            Backend::Sqlite(_) => &[Self::Locked],
            Backend::Postgres(_) => &[Self::Killed, Self::Stopped, Self::Paused, Self::Locked],
        }
    }

    async fn begin(self, stage: &mut Stage) -> Option<Lock> {
        match (self, &mut stage.backend) {
            (Self::Killed, Backend::Postgres(server)) => server.kill9(),
            (Self::Stopped, Backend::Postgres(server)) => server.stop().await,
            (Self::Paused, Backend::Postgres(server)) => server.pause(),
            _ => return Some(Lock::take(stage).await),
        }
        None
    }

    async fn end(self, stage: &mut Stage, lock: Option<Lock>) {
        if let Some(lock) = lock {
            lock.release().await;
        }
        match (self, &mut stage.backend) {
            (Self::Killed | Self::Stopped, Backend::Postgres(server)) => server.restart().await,
            (Self::Paused, Backend::Postgres(server)) => server.resume(),
            _ => {}
        }
    }
}

async fn gone_before_the_journal_entry_nothing_is_sent(backend: Backend) {
    join_all(Outage::of(&backend).iter().map(async |outage| {
        let mut stage = Stage::set(backend.another().await, SLOT_TIME).await;
        let service = stage.service().await;
        let payment = stage.payment().await;
        let held = stage.chain.faults().hold("getLatestBlockhash", Hold::Before, ALWAYS);
        let (url, asked) = (service.url.clone(), payment.clone());
        let asking = tokio::spawn(async move { settle(&url, &asked).await });
        held.arrived(1).await;
        let lock = outage.begin(&mut stage).await;
        held.release();
        let answer = asking.await.unwrap();
        assert_eq!(answer, Told::Unavailable, "{outage:?}");
        assert_eq!(stage.chain.faults().calls("sendTransaction"), 0, "{outage:?}");
        outage.end(&mut stage, lock).await;
        is_settled(&stage, &service, payment, *outage).await;
    }))
    .await;
}

async fn gone_before_the_end_is_written_down_it_is_written_down_later(backend: Backend) {
    join_all(Outage::of(&backend).iter().map(async |outage| {
        let mut stage = Stage::set(backend.another().await, SLOT_TIME).await;
        let service = stage.service().await;
        let payment = stage.payment().await;
        let held = stage.chain.faults().hold("getSignatureStatuses", Hold::Before, ALWAYS);
        let (url, asked) = (service.url.clone(), payment.clone());
        let asking = tokio::spawn(async move { settle(&url, &asked).await });
        held.arrived(1).await;
        stage.confirmed(&payment).await;
        let lock = outage.begin(&mut stage).await;
        held.release();
        // Long enough to have tried in vain.
        sleep(Duration::from_secs(4)).await;
        let waited_in_vain = asking.is_finished();
        outage.end(&mut stage, lock).await;
        let answer = asking.await.unwrap();
        assert!(matches!(answer, Told::Settled | Told::Pending), "{outage:?}: {answer:?}");
        assert!(!waited_in_vain || answer == Told::Pending, "{outage:?}: what is not written down is told");
        is_settled(&stage, &service, payment, *outage).await;
    }))
    .await;
}

/// With the database back, and whatever was told meanwhile.
async fn is_settled(stage: &Stage, service: &ServiceProcess, payment: Payment, outage: Outage) {
    let last = outcome(&service.url, &payment).await;
    assert_eq!(last, Told::Settled, "{outage:?}");
    let told = [(payment, last)];
    stage.assert_true(&told).await;
    assert_shown(&service.url, &told).await;
}

async fn gone_under_load_again_and_again(backend: Backend) {
    let mut stage = Stage::set(backend, SLOT_TIME).await;
    // Two of them, so that what one cannot keep the other may take.
    let services = [stage.service().await, stage.service().await];
    let mut random = Random::new(402);
    let mut told = Vec::new();
    for round in 0..rounds(4) {
        let outages = Outage::of(&stage.backend);
        let outage = outages[round % outages.len()];
        let payments = stage.payments(AT_A_TIME).await;
        let urls: Vec<String> = services.iter().map(|service| service.url.clone()).collect();
        let load: Vec<_> = payments
            .iter()
            .enumerate()
            .map(|(number, payment)| {
                let (url, payment) = (urls[number % 2].clone(), payment.clone());
                tokio::spawn(async move { settle(&url, &payment).await })
            })
            .collect();
        sleep(Duration::from_millis(random.below(1_500))).await;
        let lock = outage.begin(&mut stage).await;
        sleep(Duration::from_secs(4)).await;
        outage.end(&mut stage, lock).await;
        let answers = join_all(load).await;
        // At the other one than before.
        let last = join_all(
            payments
                .iter()
                .enumerate()
                .map(async |(number, payment)| outcome(&urls[(number + 1) % 2], payment).await),
        );
        for ((payment, answer), last) in payments.iter().zip(answers).zip(last.await) {
            let answer = answer.unwrap();
            assert!(
                matches!(answer, Told::Settled | Told::Pending | Told::Unavailable),
                "{outage:?}: {answer:?}"
            );
            assert_eq!(last, Told::Settled, "{outage:?}: first {answer:?}");
            told.push((payment.clone(), last));
        }
    }
    stage.assert_true(&told).await;
    assert_shown(&services[0].url, &told).await;
}
