//! Wrong keys in masses do not keep the right ones waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{make, plain, revoke, spoilt, status};
use crate::harness::{KEY, TestApp};

/// Below this a ratio says more about the machine than about the service.
const FLOOR: Duration = Duration::from_millis(250);
/// Two runs of bcrypt on a busy machine. Behind a second of such a flood the queue would be a minute long.
const FIRST_USE_FLOOR: Duration = Duration::from_secs(10);
/// How often a right key is used, quiet and in the flood.
const USES: usize = 300;
/// Every 10 ms so many wrong keys: 1,000 a second.
const BURST: usize = 10;

/// The time that 99 of 100 requests with right keys stay under.
async fn p99(app: &TestApp, keys: &[&str]) -> Duration {
    let mut times = Vec::with_capacity(USES);
    for number in 0..USES {
        let started = Instant::now();
        assert_eq!(status(app, keys[number % keys.len()]).await, 200);
        times.push(started.elapsed());
        // Among the readings of the rows that a second brings.
        if number % 100 == 0 {
            app.chain.clock.advance(Duration::from_secs(1));
        }
    }
    times.sort();
    times[USES * 99 / 100 - 1]
}

/// A key that was never used before: made, hashed, used, compared.
async fn first_use(app: &TestApp) -> Duration {
    let started = Instant::now();
    let made = make(app, &json!({"name": "n"})).await;
    assert_eq!(status(app, plain(&made)).await, 200);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_starves_nobody() {
    let app = TestApp::start().await;
    let (made, revoked) = (make(&app, &json!({"name": "n"})).await, make(&app, &json!({"name": "n"})).await);
    revoke(&app, KEY, &revoked["id"]).await;
    let keys = [plain(&made), KEY];
    let quiet = (p99(&app, &keys).await, first_use(&app).await);

    let wrong: Arc<Vec<String>> = Arc::new(vec![
        spoilt(plain(&made)),
        format!("{}{}", &plain(&made)[..16], plain(&made)[16..].chars().rev().collect::<String>()),
        format!("sk_test_{}", bs58::encode([7; 38]).into_string()),
        spoilt(KEY),
        plain(&revoked).to_owned(),
    ]);
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood = tokio::spawn({
        let (http, url) = (reqwest::Client::new(), app.path("/payments"));
        let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
        async move {
            let mut ticks = interval(Duration::from_millis(10));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !over.load(Ordering::SeqCst) {
                ticks.tick().await;
                let burst = (0..BURST)
                    .map(|number| http.get(&url).header("x-api-key", &wrong[number % wrong.len()]).send());
                for answer in join_all(burst).await {
                    assert_eq!(answer.unwrap().status(), 401);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    while answered.load(Ordering::SeqCst) < 1000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = answered.load(Ordering::SeqCst);
    let started = Instant::now();
    let flooded = (p99(&app, &keys).await, first_use(&app).await);
    let wrong_keys = u32::try_from(answered.load(Ordering::SeqCst) - before).unwrap();
    let rate = f64::from(wrong_keys) / started.elapsed().as_secs_f64();
    over.store(true, Ordering::SeqCst);
    flood.await.unwrap();
    eprintln!("quiet {quiet:?}, in a flood of {rate:.0} a second {flooded:?}");
    assert!(rate > 50.0, "that is no flood: {rate}");
    assert!(flooded.0 <= (2 * quiet.0).max(FLOOR), "remembered keys: {flooded:?}, quiet {quiet:?}");
    assert!(flooded.1 <= (2 * quiet.1).max(FIRST_USE_FLOOR), "new keys: {flooded:?}, quiet {quiet:?}");
}
