//! A fork that loses takes a payment with it, which was on the chain for a moment.

use pay402::sandbox::{Hold, faults::ALWAYS};

use super::{
    books::assert_shown,
    stage::{Stage, Told, eventually, outcome, settle},
};
use crate::conformance::{Backend, on_both};

on_both!(
    what_a_fork_took_before_it_was_known_lands_again,
    with_finalized_as_the_bar_not_even_a_confirmed_payment_is_lost,
);

const STATUSES: &str = "getSignatureStatuses";

async fn what_a_fork_took_before_it_was_known_lands_again(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[]).await;
    let payment = stage.payment().await;
    let held = stage.chain.faults().hold(STATUSES, Hold::Before, ALWAYS);
    let losing = async {
        held.arrived(1).await;
        stage.confirmed(&payment).await;
        assert!(stage.chain.drop_by_fork(&payment.signature));
        assert_eq!(stage.received(), 0);
        held.release();
    };
    let (told, ()) = stage.while_slots_pass(async { tokio::join!(settle(&app.url, &payment), losing) }).await;
    assert_eq!(told, Told::Settled);
    let told = [(payment, told)];
    stage.assert_true(&told).await;
    assert_shown(&app.url, &told).await;
}

async fn with_finalized_as_the_bar_not_even_a_confirmed_payment_is_lost(backend: Backend) {
    let stage = Stage::by_hand(backend).await;
    let app = stage.app(&[("SETTLE_COMMITMENT", "finalized")]).await;
    let payment = stage.payment().await;
    let losing = async {
        for _ in 0..3 {
            stage.confirmed(&payment).await;
            let before = stage.chain.faults().calls(STATUSES);
            eventually("it is not asked for", async || stage.chain.faults().calls(STATUSES) >= before + 2)
                .await;
            assert_eq!(stage.state(&payment).await.as_deref(), Some("pending"));
            assert!(stage.chain.drop_by_fork(&payment.signature), "not final yet");
        }
    };
    let told = stage.while_slots_pass(async {
        let (told, ()) = tokio::join!(settle(&app.url, &payment), losing);
        // It may take longer than a request is waited for.
        if told.is_open() { outcome(&app.url, &payment).await } else { told }
    });
    let told = told.await;
    assert_eq!(told, Told::Settled);
    let told = [(payment, told)];
    stage.assert_true(&told).await;
    assert_shown(&app.url, &told).await;
}
