//! A throw-away Redis of a test's own: on a free port, in a folder of its own, with nothing on disk.

use std::{
    io::ErrorKind,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use deadpool_redis::redis::{self, Client, Cmd, Connection, FromRedisValue};
use tempfile::TempDir;

use super::{logs, port::Port, secrets};

/// How long the server may take to start or to end. It takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// So that it can be looked for in the log.
const PASSWORD: &str = "the-password-of-this-redis";

#[derive(Debug)]
pub struct RedisServer {
    process: Option<Child>,
    port: Port,
    folder: TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        logs::watch();
        secrets::register(PASSWORD);
        let mut server = Self { process: None, port: Port::reserve(), folder: tempfile::tempdir().unwrap() };
        assert!(server.run(), "redis-server does not start");
        server
    }

    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address())
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// What this very server answers.
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query(&mut self.connection().unwrap()).unwrap()
    }

    /// The keys there are, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(redis::cmd("KEYS").arg("*"));
        keys.sort();
        keys
    }

    /// A key's remaining life.
    pub fn lifetime(&self, key: &str) -> Duration {
        let milliseconds: i64 = self.ask(redis::cmd("PTTL").arg(key));
        Duration::from_millis(milliseconds.try_into().unwrap_or_else(|_| panic!("{key} does not end")))
    }

    pub fn flush(&self) {
        self.ask::<()>(&redis::cmd("FLUSHALL"));
    }

    /// Ends it in order; what it held is lost.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.gone();
    }

    pub fn kill9(&mut self) {
        self.signal("KILL");
        self.gone();
    }

    /// Connections stay open and new ones are accepted, but nothing answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Runs again on the same port, empty.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        assert!(self.run(), "redis-server does not start again on {}", self.address());
    }

    /// Whether it runs now.
    fn run(&mut self) -> bool {
        let spawned = Command::new("redis-server")
            .args(["--port", &self.port.number().to_string(), "--bind", "127.0.0.1"])
            .args(["--requirepass", PASSWORD])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = match spawned {
            Ok(process) => Some(process),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "redis-server is not on PATH: install Debian's package redis-server, or run tests/run.sh"
                )
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some()) {
                break;
            }
            if self.connection().is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end();
        false
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        Client::open(self.url())?.get_connection_with_timeout(PATIENCE)
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs");
        let sent =
            Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended.
    fn gone(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let process = self.process.as_mut().expect("it ran");
        while process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.process = None;
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Ends a paused one too.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}
