//! Twins: the same proof, or parts of it, sent at the same time.

use futures_util::future::join_all;
use pay402::money::Currency;

use crate::harness::{Answer, KEY, TestApp, rounds};

fn successes(answers: &[Answer]) -> usize {
    for answer in answers {
        if answer.status != 200 {
            answer.assert_refused("REPLAY_ATTACK");
        }
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_twins_one_succeeds() {
    let app = TestApp::start().await;
    let rounds = rounds(1000);
    for round in 0..rounds {
        // Amounts differ, so that no two payments are the same transaction.
        let paid = app.pay(&app.merchant(), 1 + round as u64, Currency::Usdc);
        let proof = app.proof(&paid, &format!("nonce-{round}"));
        let (first, second) = tokio::join!(app.verify(&proof), app.verify(&proof));
        assert_eq!(successes(&[first, second]), 1, "round {round}");
    }
    assert_eq!(app.booked().await, rounds as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_under_many_nonces() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let proofs: Vec<_> = (0..64).map(|n| app.proof(&paid, &format!("nonce-{n}"))).collect();
    let answers = join_all(proofs.iter().map(|proof| app.verify(proof))).await;
    assert_eq!(successes(&answers), 1);
    assert_eq!(app.booked().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transactions_under_one_nonce() {
    let app = TestApp::start().await;
    let proofs: Vec<_> = (1..=64)
        .map(|units| app.proof(&app.pay(&app.merchant(), units, Currency::Usdc), "the nonce"))
        .collect();
    let answers = join_all(proofs.iter().map(|proof| app.verify(proof))).await;
    assert_eq!(successes(&answers), 1);
    assert_eq!(app.booked().await, 1);
}

/// Two instances share nothing but the database, which has to be the judge.
#[tokio::test(flavor = "multi_thread")]
async fn twins_on_two_instances() {
    let first = TestApp::start().await;
    let second = TestApp::on(crate::sandbox::setup::start().await, first.folder.clone(), |environment, _| {
        environment
            .with("SOLANA_RPC_URL", first.chain.sandbox.rpc_url())
            .with("MERCHANT_WALLETS", first.merchant().to_string())
    })
    .await;
    for round in 0..20 {
        let paid = first.pay(&first.merchant(), 1 + round, Currency::Usdc);
        let proof = first.proof(&paid, &format!("nonce-{round}"));
        let answers =
            join_all((0..10).map(|n| if n % 2 == 0 { &first } else { &second }.verify(&proof))).await;
        assert_eq!(successes(&answers), 1, "round {round}");
    }
    assert_eq!(first.booked().await, 20);
}

/// A caller who hangs up has not undone anything, and the twin who waited hears the truth.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up() {
    let app = TestApp::start().await;
    for round in 0..30 {
        let paid = app.pay(&app.merchant(), 1 + round, Currency::Usdc);
        let proof = app.proof(&paid, &format!("nonce-{round}"));
        let request = app.http.post(app.path("/verify")).header("x-api-key", KEY).json(&proof);
        let impatient = request.timeout(std::time::Duration::from_micros(300 * round)).send().await;
        let answer = app.verify(&proof).await;
        if answer.status != 200 {
            answer.assert_refused("REPLAY_ATTACK");
        }
        assert!(!(answer.status == 200 && impatient.is_ok_and(|answer| answer.status() == 200)));
        assert_eq!(app.booked().await, round + 1);
    }
}

/// Strangers who saw the transaction on chain keep claiming it, each with a key of their own: the payer is not held up.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_hold_a_payment() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    app.chain.sandbox.faults().latency("getTransaction", std::time::Duration::from_secs(2));
    let strangers: Vec<_> = (0..30)
        .map(|n| {
            app.proof_by(&solana_keypair::Keypair::new(), &paid, if n % 2 == 0 { "the nonce" } else { "x" })
        })
        .collect();
    let payers = app.proof(&paid, "the nonce");
    let (refused, accepted) =
        tokio::join!(join_all(strangers.iter().map(|proof| app.verify(proof))), app.verify(&payers));
    accepted.assert_valid();
    for answer in refused {
        assert_eq!(answer.status, 402, "{answer:?}");
    }
}
