//! Wrong keys in masses do not keep the right ones waiting.
//!
//! How long anybody waits says more about the machine than about the service, so it is told and decides nothing. What a
//! wrong key costs is looked at instead: no bcrypt, no look-up, and less of the processor's time than a right one.

use std::{
    env, fs,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{plain, spoilt};
use crate::harness::{Answer, KEY, process::ServiceProcess, rounds, wire::Wire};

/// How often it is looked in turn without and with the flood, at least, and at most until it was as it should be once: a
/// machine that does something else meanwhile spoils some, and a service that lets right keys wait all of them.
const WINDOWS: usize = 3;
const MOST_WINDOWS: usize = 20;
/// Twice the quiet time, and so much for who else wants the processor.
const SPARE: Duration = Duration::from_millis(20);
/// How often a right key is used in a window.
const USES: u64 = 200;
/// Every 20 ms so many wrong keys on each of these connections: a thousand a second.
const BURST: usize = 5;
const CONNECTIONS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);
/// How many bursts each connection sends in a flood: 3 s of it.
const BURSTS: usize = 150;
const SENT: u64 = 3000;
/// What they are held against.
const RIGHT_KEYS: u64 = 1000;

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

    /// The time that 99 of 100 requests with right keys stay under, of so many.
    async fn p99(&self, keys: &[&str]) -> Duration {
        let mut left = USES;
        self.p99_while(keys, || {
            left -= 1;
            left > 0
        })
        .await
    }

    /// The same for as long as something holds.
    async fn p99_while(&self, keys: &[&str], mut holds: impl FnMut() -> bool) -> Duration {
        let mut times = Vec::new();
        for key in keys.iter().cycle() {
            let started = Instant::now();
            self.assert_good(key).await;
            times.push(started.elapsed());
            if !holds() {
                break;
            }
        }
        times.sort();
        times[(times.len() * 99).div_ceil(100) - 1]
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

    /// How much some work has the service take of the processor, in ticks of 10 ms.
    async fn processor_time(&self, work: impl Future<Output = ()>) -> u64 {
        let before = self.ticks();
        work.await;
        self.ticks() - before
    }

    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.process.0.id())).unwrap();
        // After the name, which is in parentheses, user's and system's are the 12th and the 13th.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }
}

const BCRYPT: &str = r#"api_key_bcrypt_duration_seconds_count{operation="verify"}"#;
const LOOK_UPS: &str = r#"database_query_total{operation="select",table="api_keys"}"#;
const INVENTED: &str = r#"api_key_checks_total{result="invented"}"#;

/// Wrong keys over a few connections that are kept open, sent without waiting for each answer.
#[derive(Deserialize, Serialize)]
struct Flood {
    url: String,
    keys: Vec<String>,
}

impl Flood {
    /// In a process of its own, which has the processor when nobody else wants it.
    fn start(&self) -> Child {
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "api_keys::flood::sends_wrong_keys", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&serde_json::to_vec(self).unwrap()).unwrap();
        child
    }

    async fn send(&self, connection: u32) {
        let request = |key: &String| format!("GET /payments HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n");
        let requests: Vec<String> = self.keys.iter().map(request).collect();
        let burst: String = (0..BURST).map(|at| &*requests[at % requests.len()]).collect();
        let (mut wire, mut unread) = (Wire::to(&self.url).await, Vec::new());
        // In turns with the others.
        let mut ticks = interval_at(Instant::now() + PAUSE / CONNECTIONS * connection, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..BURSTS {
            ticks.tick().await;
            wire.send(&burst).await;
            for _ in 0..BURST {
                let head = next_head(&mut wire, &mut unread).await;
                assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the flood of the test below, which runs it"]
async fn sends_wrong_keys() {
    let mut told = Vec::new();
    std::io::stdin().read_to_end(&mut told).unwrap();
    let flood: Flood = serde_json::from_slice(&told).unwrap();
    join_all((0..CONNECTIONS).map(|connection| flood.send(connection))).await;
}

async fn ended(mut child: Child) {
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap();
    assert!(status.unwrap().success(), "some were not refused");
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

    let flood = Flood {
        url: service.process.url.clone(),
        keys: vec![
            spoilt(plain(&made)),
            format!("{}{}", &plain(&made)[..16], plain(&made)[16..].chars().rev().collect::<String>()),
            format!("sk_test_{}", bs58::encode([7; 38]).into_string()),
            spoilt(KEY),
            plain(&revoked).to_owned(),
        ],
    };
    let (mut quiet, mut flooded, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let is_good = |quiet: &[Duration], flooded: &[Duration]| {
        quiet.iter().zip(flooded).any(|(quiet, flooded)| *flooded <= 2 * *quiet + SPARE)
    };
    while quiet.len() < rounds(WINDOWS) || !is_good(&quiet, &flooded) {
        assert!(quiet.len() < MOST_WINDOWS.max(rounds(WINDOWS)), "99 % wait: {quiet:?}, {flooded:?}");
        quiet.push(service.p99(&keys).await);
        let (compared, looked_up) = (service.count(BCRYPT).await, service.count(LOOK_UPS).await);
        let invented = service.count(INVENTED).await;
        let started = Instant::now();
        let mut sending = flood.start();
        while service.count(INVENTED).await == invented {
            assert!(sending.try_wait().unwrap().is_none(), "nothing came of the flood");
        }
        flooded.push(service.p99_while(&keys, || sending.try_wait().unwrap().is_none()).await);
        ended(sending).await;
        let elapsed = started.elapsed();
        rates.push(u128::from(SENT) * 1000 / elapsed.as_millis());
        // All but the revoked one.
        assert_eq!(service.count(INVENTED).await - invented, SENT / 5 * 4);
        assert_eq!(service.count(BCRYPT).await, compared, "bcrypt is not for wrong keys");
        // The row of the right key, once in 900 ms, and that of the revoked one once a minute.
        let allowed = 2 * (elapsed.as_secs() + 3);
        let asked = service.count(LOOK_UPS).await - looked_up;
        assert!(asked <= allowed, "{asked} look-ups in {elapsed:?}");
    }
    eprintln!("99 % of right keys: quiet {quiet:?}, in floods of {rates:?} a second {flooded:?}");
    eprintln!(
        "in the middle {:.2} times as long",
        median(flooded).as_secs_f64() / median(quiet).as_secs_f64()
    );

    // Keys that were never used before are made, hashed and compared in the flood as well.
    let quiet_first = service.first_use().await;
    let sending = flood.start();
    let flooded_first = service.first_use().await;
    ended(sending).await;
    eprintln!("a first use: quiet {quiet_first:?}, in the flood {flooded_first:?}");

    let refused = service.processor_time(async { ended(flood.start()).await }).await;
    let accepted = service.processor_time(async {
        for _ in 0..RIGHT_KEYS / USES {
            service.p99(&keys).await;
        }
    });
    let accepted = accepted.await;
    eprintln!("{refused} ticks for {SENT} wrong keys, {accepted} for {RIGHT_KEYS} right ones");
    assert!(refused < SENT / RIGHT_KEYS * accepted, "a wrong key costs more than a right one");
}
