//! Wrong keys in masses do not keep the right ones waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{plain, spoilt};
use crate::harness::{Answer, KEY, process::ServiceProcess, rounds, wire::Wire};

/// Below this a ratio says more about the machine than about the service: here the flood and the service, which is not
/// optimised, share two cores. Behind a second of such a flood, bcrypt's queue would be minutes long.
const FLOOR: Duration = Duration::from_millis(100);
/// Three runs of bcrypt on a busy machine.
const FIRST_USE_FLOOR: Duration = Duration::from_secs(10);
/// How often it is looked in turn without and with the flood. The middle one counts.
const WINDOWS: usize = 5;
/// How often a right key is used in a window.
const USES: usize = 100;
/// Every 10 ms so many wrong keys on each of these connections: 1,200 a second, if the machine can.
const BURST: usize = 3;
const CONNECTIONS: usize = 4;
/// Less than this is no flood, however busy the machine.
const LEAST_RATE: f64 = 100.0;

struct Service {
    process: ServiceProcess,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = ServiceProcess::start(folder.path(), |command| {
            command.env("VALID_API_KEYS", KEY).env("SOLANA_RPC_URL", "http://127.0.0.1:1");
            // Its start is told, and not every answer.
            command.env("LOG_LEVEL", "warn,pay402::cli=info");
        })
        .await;
        Self { process, http: reqwest::Client::new(), _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.process.url)
    }

    async fn make(&self) -> Value {
        let request = self.http.post(self.url("/api-keys")).header("x-api-key", KEY);
        let answer = Answer::of(request.json(&json!({"name": "n"})).send().await.unwrap()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn assert_good(&self, key: &str) {
        let answer = self.http.get(self.url("/payments")).header("x-api-key", key).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }

    /// The time that 99 of 100 requests with right keys stay under.
    async fn p99(&self, keys: &[&str]) -> Duration {
        let mut times = Vec::with_capacity(USES);
        for number in 0..USES {
            let started = Instant::now();
            self.assert_good(keys[number % keys.len()]).await;
            times.push(started.elapsed());
        }
        times.sort();
        times[USES * 99 / 100 - 1]
    }

    /// A key that was never used before: made, hashed, used, compared.
    async fn first_use(&self) -> Duration {
        let started = Instant::now();
        let made = self.make().await;
        self.assert_good(plain(&made)).await;
        started.elapsed()
    }

    async fn count(&self, series: &str) -> u64 {
        let text = self.http.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_default()
    }
}

/// Wrong keys over a few connections that are kept open, sent without waiting for each answer.
struct Flood {
    on: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    senders: Vec<JoinHandle<()>>,
}

impl Flood {
    fn of(url: &str, keys: &[String]) -> Self {
        let (on, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new(AtomicU64::new(0));
        let request = |key: &String| format!("GET /payments HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n");
        let requests: Vec<String> = keys.iter().map(request).collect();
        let sender = |number: usize| {
            let burst: String = (0..BURST).map(|at| &*requests[(number + at) % requests.len()]).collect();
            let (url, on, over) = (url.to_owned(), Arc::clone(&on), Arc::clone(&over));
            let answered = Arc::clone(&answered);
            async move {
                let (mut wire, mut unread) = (Wire::to(&url).await, Vec::new());
                let mut ticks = interval(Duration::from_millis(10));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !over.load(Ordering::SeqCst) {
                    ticks.tick().await;
                    if on.load(Ordering::SeqCst) {
                        wire.send(&burst).await;
                        for _ in 0..BURST {
                            let head = next_head(&mut wire, &mut unread).await;
                            assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            }
        };
        let senders = (0..CONNECTIONS).map(|number| tokio::spawn(sender(number))).collect();
        Self { on, over, answered, senders }
    }

    fn turn(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.await.unwrap();
        }
    }
}

/// Reads an answer to its end: its head.
async fn next_head(wire: &mut Wire, unread: &mut Vec<u8>) -> String {
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&unread[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.expect("a length");
            if unread.len() >= end + 4 + length {
                unread.drain(..end + 4 + length);
                return head;
            }
        }
        assert!(wire.0.read_buf(unread).await.unwrap() > 0, "the connection ended");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_starves_nobody() {
    let service = Service::start().await;
    let (made, revoked) = (service.make().await, service.make().await);
    let path = service.url(&format!("/api-keys/{}", revoked["id"].as_str().unwrap()));
    let answer = service.http.delete(path).header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let keys = [plain(&made), KEY];
    service.p99(&keys).await;

    let wrong = [
        spoilt(plain(&made)),
        format!("{}{}", &plain(&made)[..16], plain(&made)[16..].chars().rev().collect::<String>()),
        format!("sk_test_{}", bs58::encode([7; 38]).into_string()),
        spoilt(KEY),
        plain(&revoked).to_owned(),
    ];
    let flood = Flood::of(&service.process.url, &wrong);
    let bcrypt = r#"api_key_bcrypt_duration_seconds_count{operation="verify"}"#;
    let lookups = r#"database_query_total{operation="select",table="api_keys"}"#;
    let (mut quiet, mut flooded, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(WINDOWS) {
        quiet.push(service.p99(&keys).await);
        let (compared, looked_up) = (service.count(bcrypt).await, service.count(lookups).await);
        flood.turn(true);
        sleep(Duration::from_millis(200)).await;
        let (before, started) = (flood.answered(), Instant::now());
        flooded.push(service.p99(&keys).await);
        // A second of it at least.
        sleep(Duration::from_secs(1).saturating_sub(started.elapsed())).await;
        let (answered, elapsed) = (flood.answered() - before, started.elapsed());
        flood.turn(false);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        rates.push(answered as f64 / elapsed.as_secs_f64());
        assert_eq!(service.count(bcrypt).await, compared, "bcrypt is not for wrong keys");
        // The rows of one right key and of the revoked one, each once in 900 ms; and the owner's list.
        let allowed = 2 * (elapsed.as_secs() + 3);
        let asked = service.count(lookups).await - looked_up;
        assert!(asked <= allowed, "{asked} look-ups in {elapsed:?}");
    }
    let quiet_first = service.first_use().await;
    flood.turn(true);
    let flooded_first = service.first_use().await;
    flood.end().await;
    rates.sort_by(f64::total_cmp);
    eprintln!("quiet {quiet:?}, in floods of {rates:.0?} a second {flooded:?}");
    eprintln!("a first use: quiet {quiet_first:?}, in the flood {flooded_first:?}");
    assert!(rates[rates.len() / 2] > LEAST_RATE, "that is no flood: {rates:?}");
    let (quiet, flooded) = (median(quiet), median(flooded));
    assert!(flooded <= (2 * quiet).max(FLOOR), "remembered keys: {flooded:?}, quiet {quiet:?}");
    let bound = (2 * quiet_first).max(FIRST_USE_FLOOR);
    assert!(flooded_first <= bound, "new keys: {flooded_first:?}, quiet {quiet_first:?}");
}
