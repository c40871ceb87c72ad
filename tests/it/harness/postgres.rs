//! A PostgreSQL server that a test has for itself: its own data folder, a port of its own, fsync on. It can be stopped,
//! killed, paused and restarted, and is gone when the test is.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{logs, port::Port, secrets};

/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

const PASSWORD: &str = "the-password-of-this-postgres";

#[derive(Debug)]
pub struct PostgresServer {
    /// PostgreSQL's own, with `initdb` and `postgres` in it.
    binaries: PathBuf,
    folder: TempDir,
    port: Port,
    owner: Option<Owner>,
    process: Option<Child>,
    paused: bool,
}

/// PostgreSQL does not run as root, so that root's tests run it as somebody else.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

impl PostgresServer {
    pub async fn start() -> Self {
        logs::watch();
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::of(folder.path());
        let (binaries, port) = (binaries(), Port::reserve());
        let mut server = Self { binaries, folder, port, owner, process: None, paused: false };
        if let Some(Owner { user, group }) = owner {
            chown(server.folder.path(), Some(user), Some(group)).unwrap();
        }
        server.make_data();
        assert!(server.launch().await, "postgres does not start: {}", server.log());
        server
    }

    /// A new data folder: a copy of the first that was made, which is kept since making one takes a second.
    fn make_data(&self) {
        let version = self.command("postgres").arg("--version").output().unwrap().stdout;
        let version: String =
            String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
        let user = fs::metadata(self.folder.path()).unwrap().uid();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{version}-{user}"));
        if kept.exists() {
            copy(&kept, &self.data());
            return;
        }
        let made = self
            .command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(self.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // Under another name at first, so that none is used that is half there.
        let draft = kept.with_extension(std::process::id().to_string());
        copy(&self.data(), &draft);
        if fs::rename(&draft, &kept).is_err() {
            // Another test was faster.
            let _ = fs::remove_dir_all(&draft);
        }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.number())
    }

    /// With a password, which the server does not ask for and no log may show.
    pub fn url_with_password(&self) -> String {
        secrets::register(PASSWORD);
        self.url().replace('@', &format!(":{PASSWORD}@"))
    }

    /// A connection beside the service's own.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// Ends connections and server in order; what was committed is on the disk.
    pub async fn stop(&mut self) {
        self.resume();
        let Some(mut process) = self.process.take() else { return };
        signal("INT", &[process.id()]);
        let deadline = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "postgres does not stop: {}", self.log());
            sleep(POLL).await;
        }
    }

    /// Ends every process of the server at once, wherever it is.
    pub fn kill9(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let postmaster = process.id();
        // Stopped, it can neither start further children nor tidy up after those that die.
        signal("STOP", &[postmaster]);
        signal("KILL", &children(postmaster));
        process.kill().unwrap();
        process.wait().unwrap();
        self.paused = false;
    }

    /// Stops every process of the server in its tracks: connections stay open, nothing answers.
    pub fn pause(&mut self) {
        let postmaster = self.process.as_ref().expect("the server runs").id();
        signal("STOP", &[postmaster]);
        signal("STOP", &children(postmaster));
        self.paused = true;
    }

    pub fn resume(&mut self) {
        if let (true, Some(process)) = (self.paused, &self.process) {
            signal("CONT", &children(process.id()));
            signal("CONT", &[process.id()]);
        }
        self.paused = false;
    }

    /// Starts the server again, on its port and its data, after stopping it where it runs.
    pub async fn restart(&mut self) {
        self.stop().await;
        let deadline = Instant::now() + PATIENCE;
        // After kill9 the system may take a moment to clear away what a server looks for before it starts.
        while !self.launch().await {
            assert!(Instant::now() < deadline, "postgres does not start again: {}", self.log());
            sleep(POLL).await;
        }
    }

    /// Starts the server and waits until it answers; `false` where it ends instead.
    async fn launch(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut process = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.number().to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=100", "-c", "shared_buffers=32MB", "-c", "fsync=on"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(connection) = PgConnection::connect(&self.url()).await {
                connection.close().await.unwrap();
                self.process = Some(process);
                return true;
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                panic!("postgres does not answer: {}", self.log());
            }
            sleep(POLL).await;
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.current_dir(self.folder.path());
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    /// At once, but not killed: the system would keep the shared memory of each server that was, and has room for some
    /// thousands of them.
    fn drop(&mut self) {
        self.resume();
        if let Some(process) = &mut self.process {
            signal("QUIT", &[process.id()]);
            let deadline = std::time::Instant::now() + PATIENCE;
            while matches!(process.try_wait(), Ok(None)) {
                if std::time::Instant::now() > deadline {
                    return self.kill9();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Owner {
    /// Whom the server runs as; `None` for the one who runs the tests.
    fn of(folder: &Path) -> Option<Self> {
        if fs::metadata(folder).unwrap().uid() != 0 {
            return None;
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap();
        let account = |name: &str| {
            let mut fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let fields = fields.find(|fields| fields.len() > 3 && fields[0] == name)?;
            Some(Self { user: fields[2].parse().ok()?, group: fields[3].parse().ok()? })
        };
        let owner = account("postgres").or_else(|| account("nobody"));
        Some(owner.expect("as root the tests run PostgreSQL as the user postgres or nobody: add one"))
    }
}

/// The folder of PostgreSQL's servers: on PATH, or where Debian has them, the newest.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    std::env::split_paths(&path)
        .chain(debian.into_iter().rev().map(|(_, folder)| folder))
        .find(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()))
        .expect("PostgreSQL's initdb and postgres are missing: install the package postgresql, as tests/run.sh does")
}

/// With owners and permissions.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn children(parent: u32) -> Vec<u32> {
    let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().parse().unwrap()).collect()
}

/// Processes that have ended meanwhile are passed over.
fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let processes = processes.iter().map(u32::to_string);
        let _ = Command::new("kill")
            .arg(format!("-{name}"))
            .args(processes)
            .stderr(Stdio::null())
            .status()
            .unwrap();
    }
}
