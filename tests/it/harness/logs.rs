//! Everything that is logged while tests run, scanned as it is written. A secret in it ends the test process: a panic
//! would be caught by the service, which answers 500 and goes on.

use std::{cell::RefCell, io, process::abort, sync::Once};

use pay402::telemetry;
use tracing_subscriber::{
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

use super::secrets;

/// More than any operator asks for.
const DIRECTIVES: &str = "debug,pay402=trace";

/// Logs from now on, into the scan.
pub fn watch() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let log = fmt::layer().json().with_writer(Scan);
        registry().with(telemetry::filter(DIRECTIVES)).with(log).init();
    });
}

/// Ends the test if there is a secret in this line.
pub fn scan(line: &str) {
    if let Some(secret) = secrets::logged(line) {
        let target = line.split_once("\"target\":\"").map_or("?", |(_, rest)| rest);
        let target = target.split('"').next().unwrap_or("?");
        eprintln!("a secret that begins with {secret} was logged by {target}");
        abort();
    }
}

thread_local! {
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what is logged on this thread from now on.
pub fn listen() {
    watch();
    HEARD.set(Some(String::new()));
}

/// What was logged on this thread since [`listen`].
pub fn heard() -> String {
    HEARD.with_borrow(|heard| heard.clone().unwrap_or_default())
}

#[derive(Clone, Copy)]
struct Scan;

impl io::Write for Scan {
    /// Is given one event at a time.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event);
        scan(&line);
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.push_str(&line);
            }
        });
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Scan {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
