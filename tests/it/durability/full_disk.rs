//! A disk that is full when a settlement is to be written down. SQLite: a PostgreSQL has a disk of its own.

use std::sync::Arc;

use pay402::sandbox::{Hold, faults::ALWAYS};

use super::stage::{Payment, Stage, Told, eventually, outcome, settle};
use crate::{
    conformance::Backend,
    disk::{limit_file_size, outliving_a_full_disk},
    harness::process::ServiceProcess,
};

/// A settlement that is held before the call of that method is answered, and then meets a full disk, until it has failed
/// there more than once.
async fn meets_a_full_disk(
    stage: &Stage,
    service: &ServiceProcess,
    method: &str,
    what: &str,
) -> (Payment, tokio::task::JoinHandle<Told>) {
    let payment = stage.payment().await;
    let held = stage.chain.faults().hold(method, Hold::Before, ALWAYS);
    let (url, asked) = (service.url.clone(), payment.clone());
    let told = tokio::spawn(async move { settle(&url, &asked).await });
    held.arrived(1).await;
    if what == "finish" {
        stage.confirmed(&payment).await;
    }
    limit_file_size(service.process.0.id(), "8192");
    held.release();
    let (log, what) = (Arc::clone(&service.log), format!("\"{what}\""));
    eventually("it never failed", async || {
        let log = log.lock().unwrap();
        log.iter().filter(|line| line.contains("database call failed") && line.contains(&what)).count() > 0
    })
    .await;
    (payment, told)
}

async fn start() -> (Stage, ServiceProcess) {
    let stage = Stage::set(Backend::sqlite(), std::time::Duration::from_millis(400)).await;
    let service = stage.service_with(|command| *command = outliving_a_full_disk(command)).await;
    (stage, service)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_journal_nothing_is_sent() {
    let (stage, service) = start().await;
    let (payment, told) = meets_a_full_disk(&stage, &service, "getLatestBlockhash", "journal").await;
    assert_eq!(stage.state(&payment).await, None);
    assert_eq!(stage.chain.faults().calls("sendTransaction"), 0);
    limit_file_size(service.process.0.id(), "unlimited");
    let first = told.await.unwrap();
    assert!(first.is_open() || first == Told::Settled, "{first:?}");
    let told = outcome(&service.url, &payment).await;
    assert_eq!(told, Told::Settled, "there is room again");
    stage.assert_true(&[(payment, told)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_end_nobody_is_told_of_it() {
    let (stage, service) = start().await;
    let (payment, told) = meets_a_full_disk(&stage, &service, "getSignatureStatuses", "finish").await;
    let waited_in_vain = told.is_finished();
    assert_eq!(stage.state(&payment).await.as_deref(), Some("pending"));
    limit_file_size(service.process.0.id(), "unlimited");
    let first = told.await.unwrap();
    assert!(
        !waited_in_vain || first == Told::Pending,
        "it has landed, and that is not in the books: {first:?}"
    );
    let told = if first.is_open() { outcome(&service.url, &payment).await } else { first };
    assert_eq!(told, Told::Settled);
    stage.assert_true(&[(payment, Told::Settled)]).await;
}
