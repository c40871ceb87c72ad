//! Instances that share a database, and the operator's command line beside them.

use std::{collections::BTreeSet, path::Path, process::Output, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep},
};
use url::Url;

use super::spoilt;
use crate::harness::{
    Answer, KEY,
    postgres::PostgresServer,
    process::{ServiceProcess, output, pay402},
    redis::RedisServer,
};

/// A change holds on every instance for what is sent so much later.
const SECOND: Duration = Duration::from_secs(1);
/// When a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    postgres: PostgresServer,
    instances: Vec<ServiceProcess>,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start(redis: Option<&RedisServer>) -> Self {
        let (postgres, folder) = (PostgresServer::start().await, tempfile::tempdir().unwrap());
        let start = || {
            ServiceProcess::start(folder.path(), |command| {
                command.env("DATABASE_URL", postgres.url()).env("VALID_API_KEYS", KEY);
                command.env("SOLANA_RPC_URL", "http://127.0.0.1:1").env("LOG_LEVEL", "trace");
                if let Some(redis) = redis {
                    command.env("REDIS_URL", redis.url());
                }
            })
        };
        let (first, second) = tokio::join!(start(), start());
        Self { instances: vec![first, second], postgres, http: reqwest::Client::new(), folder }
    }

    fn url(&self, instance: usize, path: &str) -> String {
        format!("{}{path}", self.instances[instance].url)
    }

    /// Makes a key on the first instance.
    async fn make(&self, body: &Value) -> Value {
        let request = self.http.post(self.url(0, "/api-keys")).header("x-api-key", KEY).json(body);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn status(&self, instance: usize, key: &str) -> u16 {
        let request = self.http.get(self.url(instance, "/payments")).header("x-api-key", key);
        request.send().await.unwrap().status().as_u16()
    }

    /// Uses the key on the second instance until it is refused. It must be, in what is sent a second after `since`; or
    /// after what was known had to do once more, since the database of a busy machine was slow.
    async fn ends(&self, key: &str, mut since: Instant) {
        let deadline = since + PATIENCE;
        loop {
            let sent = Instant::now();
            match self.status(1, key).await {
                401 => return,
                status => assert_eq!(status, 200),
            }
            assert!(sent < deadline, "it works for ever");
            if sent.elapsed() >= SECOND {
                since = Instant::now();
            } else {
                assert!(sent < since + SECOND, "it works {:?} later", sent - since);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn now_ms() -> i64 {
    use pay402::clock::Clock;
    pay402::clock::SystemClock.now().0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_on_one_instance_ends_on_the_other_within_a_second() {
    what_ends_on_one_ends_on_the_other(Cluster::start(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_on_one_instance_ends_on_the_other_with_redis_too() {
    let redis = RedisServer::start();
    let cluster = Cluster::start(Some(&redis)).await;
    // A busy machine may need a few requests until Redis answers one in time.
    let deadline = Instant::now() + PATIENCE;
    while redis.keys().is_empty() {
        assert!(Instant::now() < deadline, "it is not in use");
        assert_eq!(cluster.status(1, "nobody's").await, 401);
        sleep(Duration::from_millis(100)).await;
    }
    what_ends_on_one_ends_on_the_other(cluster).await;
}

async fn what_ends_on_one_ends_on_the_other(cluster: Cluster) {
    let revoked = cluster.make(&json!({"name": "revoked"})).await;
    let rotated = cluster.make(&json!({"name": "rotated"})).await;
    let keys = [&revoked, &rotated].map(|key| key["key"].as_str().unwrap().to_owned());
    for key in &keys {
        assert_eq!((cluster.status(0, key).await, cluster.status(1, key).await), (200, 200));
        assert_eq!(cluster.status(1, &spoilt(key)).await, 401);
    }
    let path = format!("/api-keys/{}", revoked["id"].as_str().unwrap());
    let request = cluster.http.delete(cluster.url(0, &path)).header("x-api-key", KEY);
    assert_eq!(request.send().await.unwrap().status(), 200);
    cluster.ends(&keys[0], Instant::now()).await;

    let path = format!("/api-keys/{}/rotate", rotated["id"].as_str().unwrap());
    let request = cluster.http.post(cluster.url(0, &path)).header("x-api-key", KEY);
    let answer = request.json(&json!({"overlapSeconds": 0})).send().await.unwrap();
    let successor = Answer::of(answer).await.body;
    cluster.ends(&keys[1], Instant::now()).await;
    assert_eq!(cluster.status(1, successor["key"].as_str().unwrap()).await, 200);

    // Both run on the clock of this machine.
    let expires_at = now_ms() + 5000;
    let expiring = cluster.make(&json!({"name": "n", "expiresAt": expires_at})).await;
    let key = expiring["key"].as_str().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sent = now_ms();
        let status = cluster.status(1, key).await;
        if status == 401 {
            assert!(now_ms() >= expires_at, "too early");
            break;
        }
        assert!(sent < expires_at, "it works when it has expired");
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }

    // By prefix only, at the highest level too.
    let logs: Vec<String> = cluster.instances.iter().map(|one| one.log.lock().unwrap().join("\n")).collect();
    let prefix = revoked["keyPrefix"].as_str().unwrap();
    for event in ["API key created", "API key revoked", "API key rotated"] {
        assert!(logs[0].contains(event), "{event}");
    }
    assert!(logs[0].contains(prefix));
    for key in keys.iter().chain([&key.to_owned()]) {
        assert!(logs.iter().all(|log| !log.contains(key.as_str()) && !log.contains(&key[16..])));
    }
    drop(cluster.postgres);
    drop(cluster.folder);
}

/// A way to a server that can be held up: connections stay, and nothing comes through.
struct Gate {
    port: u16,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (gate, open) = (listener.local_addr().unwrap().port(), watch::Sender::new(true));
        let seen = open.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, seen.clone()));
                tokio::spawn(pass(from_server, to_client, seen.clone()));
            }
        });
        Self { port: gate, open }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// What stands there for a minute, since the rows cannot be read, is told to have ended by Redis.
#[tokio::test(flavor = "multi_thread")]
async fn with_redis_keys_end_also_where_the_database_does_not_answer() {
    let (redis, postgres) = (RedisServer::start(), PostgresServer::start().await);
    let port = Url::parse(&postgres.url()).unwrap().port().unwrap();
    let gate = Gate::before(port).await;
    let folder = tempfile::tempdir().unwrap();
    let start = |port: u16| {
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        ServiceProcess::start(folder.path(), |command| {
            command.env("DATABASE_URL", url).env("VALID_API_KEYS", KEY).env("REDIS_URL", redis.url());
            command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
        })
    };
    let instances = vec![start(port).await, start(gate.port).await];
    let cluster =
        Cluster { instances, postgres, http: reqwest::Client::new(), folder: tempfile::tempdir().unwrap() };
    // Refused before the database is asked for anything else, so that only the key counts.
    let ask = async |key: &Value| {
        let request = cluster.http.post(cluster.url(1, "/requirements")).json(&json!({}));
        let request = request.header("x-api-key", key["key"].as_str().unwrap());
        request.send().await.unwrap().status().as_u16()
    };
    let body = json!({"name": "n"});
    let [revoked, rotated, child, by_operator] = [
        cluster.make(&body).await,
        cluster.make(&body).await,
        cluster.make(&body).await,
        cluster.make(&body).await,
    ];
    for key in [&revoked, &rotated, &child, &by_operator] {
        assert_eq!(ask(key).await, 400);
    }
    gate.open.send_replace(false);

    let id = |key: &Value| key["id"].as_str().unwrap().to_owned();
    let revoke = |path: String| cluster.http.delete(cluster.url(0, &path)).header("x-api-key", KEY).send();
    assert_eq!(revoke(format!("/api-keys/{}", id(&revoked))).await.unwrap().status(), 200);
    let line = format!("/api-keys/{}?descendants=true", id(&child));
    assert_eq!(revoke(line).await.unwrap().status(), 200);
    let path = format!("/api-keys/{}/rotate", id(&rotated));
    let request = cluster.http.post(cluster.url(0, &path)).header("x-api-key", KEY);
    let answer = request.json(&json!({"overlapSeconds": 0})).send().await.unwrap();
    assert_eq!(Answer::of(answer).await.status, 200);
    // A busy machine may need a few requests until Redis answers one in time; a row that stands does so for a minute.
    let deadline = Instant::now() + PATIENCE;
    let told = format!("ended:{}", id(&by_operator));
    while !redis.keys().contains(&told) {
        assert!(Instant::now() < deadline, "the operator does not tell");
        let mut operator = pay402(folder.path());
        operator.env("DATABASE_URL", cluster.postgres.url()).env("REDIS_URL", redis.url());
        let output = output(operator.args(["keys", "revoke", &id(&by_operator)]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let untold = || cluster.instances[0].log.lock().unwrap().join("\n").contains("could not be told");
    for key in [&revoked, &child, &rotated, &by_operator] {
        while ask(key).await != 401 {
            assert!(Instant::now() < deadline, "it works on");
            if untold() {
                // Redis did not answer who told it in time either. It is told again.
                revoke(format!("/api-keys/{}", id(key))).await.unwrap();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    // And it is told and counted as any other that opens nothing.
    let look = async |key: &str| {
        let request =
            cluster.http.post(cluster.url(1, "/requirements")).json(&json!({})).header("x-api-key", key);
        let answer = Answer::of(request.send().await.unwrap()).await;
        let names: BTreeSet<String> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.status, answer.code().to_owned(), names)
    };
    let deadline = Instant::now() + PATIENCE;
    let invented = look("sk_test_nobody_at_all_0123456789").await;
    assert!(invented.0 == 401 && invented.2.contains("ratelimit-remaining"), "{invented:?}");
    // Until Redis answers in time: the row stands.
    loop {
        let told = look(revoked["key"].as_str().unwrap()).await;
        if told == invented {
            break;
        }
        assert!(told.0 == 400 && Instant::now() < deadline, "{told:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What is said beside a new key does not tell it.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    output(pay402(folder).env("LOG_FORMAT", "json").arg("keys").args(arguments))
}

/// What is printed to stdout, where the command succeeds.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Before any service has run, while one runs, and with what it made.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_needs_no_service() {
    let folder = tempfile::tempdir().unwrap();
    let recipient = solana_pubkey::Pubkey::new_from_array([3; 32]).to_string();
    let full = printed(folder.path(), &["create", "--user", "shop", "--name", "all"]);
    let narrow = printed(
        folder.path(),
        &[
            "create",
            "--user",
            "shop",
            "--name",
            "narrow",
            "--scope",
            "settle",
            "--scope",
            "agents:read",
            "--recipient",
            &recipient,
            "--expires-in-days",
            "30",
        ],
    );
    let live = printed(folder.path(), &["create", "--user", "b", "--name", "n", "--environment", "live"]);
    assert!(full.starts_with("sk_test_") && !full.contains('\n'), "{full}");
    assert!(live.starts_with("sk_live_"), "{live}");
    let list = printed(folder.path(), &["list"]);
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(
        [&full, &narrow, &live].iter().all(|key| list.contains(&key[..16]) && !list.contains(key.as_str()))
    );
    let of_shop = printed(folder.path(), &["list", "--user", "shop"]);
    assert!(
        of_shop.lines().count() == 3 && of_shop.contains("shop, narrow, settle agents:read"),
        "{of_shop}"
    );

    let service = ServiceProcess::start(folder.path(), |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
    })
    .await;
    let http = reqwest::Client::new();
    let list = async |key: &str| {
        let request = http.get(format!("{}/api-keys", service.url)).header("x-api-key", key);
        Answer::of(request.send().await.unwrap()).await
    };
    let answer = list(&full).await;
    assert_eq!((answer.status, &answer.body["total"]), (200, &json!(2)), "{answer:?}");
    let found = &answer.body["apiKeys"][0];
    assert_eq!((&found["userId"], &found["recipients"]), (&json!("shop"), &json!([recipient])));
    let lasts_ms = found["expiresAt"].as_i64().unwrap() - found["createdAt"].as_i64().unwrap();
    assert!(lasts_ms > 2_591_990_000, "{found}");
    assert_eq!((list(&narrow).await.status, list(&live).await.status), (403, 401));

    let next = printed(folder.path(), &["rotate", &full[..16], "--overlap-seconds", "0"]);
    let deadline = Instant::now() + PATIENCE;
    while list(&full).await.status != 401 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(list(&next).await.status, 200);
    assert_eq!(printed(folder.path(), &["revoke", &next[..16]]), "");
    while list(&next).await.status != 401 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(printed(folder.path(), &["list"]).contains("revoked"));
}

/// What the command says beside its result.
fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stderr
}

/// Of which keys it is logged that they were created, rotated or revoked.
fn logged(told: &str, what: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = lines.filter(|event| event["message"] == format!("API key {what}"));
    events.map(|event| event["key"].as_str().unwrap().to_owned()).collect()
}

/// By its prefix, also where it ends with others.
#[test]
fn what_happens_to_a_key_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = run(folder, &["create", "--user", "shop", "--name", "n"]);
    let key = String::from_utf8(made.stdout).unwrap();
    assert_eq!(logged(&String::from_utf8(made.stderr).unwrap(), "created"), [&key[..16]]);
    assert_eq!(logged(&told(folder, &["rotate", &key[..16]]), "rotated"), [&key[..16]]);
    assert_eq!(logged(&told(folder, &["revoke", &key[..16]]), "revoked"), [&key[..16]]);
}

#[test]
fn the_operator_ends_a_key_with_what_comes_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let create = |name| printed(folder, &["create", "--user", "shop", "--name", name]);
    let (first, beside) = (create("first"), create("beside"));
    let second = printed(folder, &["rotate", &first[..16]]);
    let list = || printed(folder, &["list", "--user", "shop"]);
    let line = |key: &str| list().lines().find(|line| line.contains(&key[..16])).unwrap().to_owned();
    let successor = line(&second).split(' ').next().unwrap().to_owned();
    assert!(line(&first).contains(&successor) && line(&first).contains("operator"), "{}", line(&first));

    let alone = told(folder, &["revoke", &first[..16]]);
    assert!(alone.contains(&successor) && alone.contains("--with-descendants"), "{alone}");
    assert!(line(&second).contains(" active "), "{}", line(&second));
    let with_it = told(folder, &["revoke", &first[..16], "--with-descendants"]);
    assert!(with_it.contains(&format!("{} is revoked", &second[..16])), "{with_it}");
    assert_eq!(logged(&with_it, "revoked"), [&second[..16]], "{with_it}");
    assert!(!with_it.contains("still work"), "{with_it}");
    assert!(line(&second).contains(" revoked ") && line(&beside).contains(" active "), "{}", list());

    let third = create("third");
    printed(folder, &["create", "--user", "another", "--name", "n"]);
    let all = told(folder, &["revoke", "--user", "shop"]);
    assert!(all.contains("2 keys of shop are revoked"), "{all}");
    assert_eq!(logged(&all, "revoked"), [&beside[..16], &third[..16]], "{all}");
    assert_eq!(list().matches(" active ").count(), 0);
    assert_eq!(printed(folder, &["list"]).matches(" active ").count(), 1);
    for arguments in [&["revoke"][..], &["revoke", "x", "--user", "shop"], &["revoke", "--with-descendants"]]
    {
        assert!(!run(folder, arguments).status.success(), "{arguments:?}");
    }
}

#[test]
fn the_operators_mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let made = printed(folder.path(), &["create", "--user", "u", "--name", "n"]);
    printed(folder.path(), &["revoke", &made[..16]]);
    for (arguments, told) in [
        (vec!["create", "--user", "", "--name", "n"], "--user must be"),
        (vec!["create", "--user", "u", "--name", "a\nb"], "--name must not"),
        (vec!["create", "--user", "u", "--name", "n", "--scope", "root"], "some of verify, settle"),
        (vec!["create", "--user", "u", "--name", "n", "--environment", "prod"], "must be test or live"),
        (vec!["create", "--user", "u", "--name", "n", "--expires-in-days", "0"], "expires-in-days"),
        (vec!["create", "--user", "u", "--name", "n", "--recipient", "nobody"], "recipient"),
        (vec!["create", "--user", "u"], "--name"),
        (vec!["revoke", "key_nobody"], "no such key"),
        (vec!["rotate", &made[..16]], "revoked"),
        (vec!["rotate", "x", "--overlap-seconds", "604801"], "overlap-seconds"),
    ] {
        let output = run(folder.path(), &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(printed(folder.path(), &["list"]).lines().count(), 2);
}

/// Whoever gives a whole key, in haste, is not told it again; and one that is revoked so is revoked.
#[test]
fn a_whole_key_does_for_its_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = printed(folder, &["create", "--user", "shop", "--name", "n"]);
    let next = printed(folder, &["rotate", &key, "--overlap-seconds", "0"]);
    for (given, with) in [(&next, "--with-descendants"), (&key, "")] {
        let mut arguments = vec!["revoke", given];
        arguments.extend((!with.is_empty()).then_some(with));
        let told = told(folder, &arguments);
        assert!(told.contains(&format!("{} is revoked", &given[..16])), "{told}");
    }
    let mistyped = format!("{next}1");
    let nobody = format!("sk_test_{}", bs58::encode([7; 38]).into_string());
    for given in [&mistyped, &nobody] {
        for action in ["revoke", "rotate"] {
            let output = run(folder, &[action, given]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && stderr.contains("no such key"), "{stderr}");
            assert!(!stderr.contains(&given[16..]), "{stderr}");
        }
    }
    assert_eq!(printed(folder, &["list"]).matches(" revoked ").count(), 2);
}

/// The operator makes what the network needs, and whatever else there is in the database opens nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn keys_open_their_own_networks_alone() {
    let folder = tempfile::tempdir().unwrap();
    let make = |network: &str, more: &[&str]| {
        let mut command = pay402(folder.path());
        command.env("SOLANA_NETWORK", network).args(["keys", "create", "--user", "shop", "--name", "n"]);
        let output = output(command.args(more));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let (live, test) = (make("mainnet-beta", &[]), make("testnet", &[]));
    assert!(live.starts_with("sk_live_") && test.starts_with("sk_test_"), "{live} {test}");
    let ahead = make("devnet", &["--environment", "live"]);
    let http = reqwest::Client::new();
    for (network, good, bad, livemode) in [
        ("mainnet-beta", [&live, &ahead], [&test, &test], true),
        ("testnet", [&test, &test], [&live, &ahead], false),
        ("devnet", [&test, &test], [&live, &ahead], false),
    ] {
        let service = ServiceProcess::start(folder.path(), |command| {
            command.env("SOLANA_NETWORK", network).env("SOLANA_RPC_URL", "http://127.0.0.1:1");
        })
        .await;
        let ask = async |key: &str| {
            let request =
                http.get(format!("{}/analytics/transactions", service.url)).header("x-api-key", key);
            Answer::of(request.send().await.unwrap()).await
        };
        for key in good {
            let answer = ask(key).await;
            assert_eq!(
                (answer.status, &answer.body["livemode"]),
                (200, &json!(livemode)),
                "{network}: {answer:?}"
            );
        }
        for key in bad {
            let answer = ask(key).await;
            assert_eq!((answer.status, answer.code()), (401, "INVALID_API_KEY"), "{network}: {answer:?}");
        }
    }
}

/// A key of the configuration's that says it is for another environment is a mistake, and told as one.
#[test]
fn configured_keys_belong_to_the_network() {
    let folder = tempfile::tempdir().unwrap();
    for (network, key, told) in [
        ("devnet", "sk_live_0123456789abcdef01234567", "VALID_API_KEYS must not hold sk_live_ keys"),
        ("mainnet-beta", "sk_test_0123456789abcdef01234567", "VALID_API_KEYS must not hold sk_test_ keys"),
    ] {
        let mut command = pay402(folder.path());
        let output = output(command.arg("serve").env("SOLANA_NETWORK", network).env("VALID_API_KEYS", key));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{stderr}");
        assert!(!stderr.contains(key), "{stderr}");
    }
}
