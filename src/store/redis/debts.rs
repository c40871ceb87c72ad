//! What Redis has to be told late: requests that ended while it did not answer.
//!
//! It may still hold them, also those it was asked for in vain, since a Redis that was too slow does later what it was
//! told. Other instances would wait for them until their leases run out.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::redis::{Script, ScriptInvocation};
use tokio::time::{Instant, sleep};

use super::{Redis, claims::in_flight_key};
use crate::store::memory::LEASE;

/// How many ended requests Redis can be owed the end of. It ends the others itself, with their lease.
const MAX_OWED: usize = 1000;
/// How often Redis is tried again while something is owed.
const RETRY: Duration = Duration::from_millis(500);

/// Keys: those of requests. Ends no claim but the instance's own: one that ran out may have been followed by another's.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for _, key in ipairs(KEYS) do
            if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
        end
        return 0",
    )
});

pub(super) fn release(
    instance: &str,
    requests: impl IntoIterator<Item = [u8; 32]>,
) -> ScriptInvocation<'static> {
    let mut invocation = RELEASE.arg(instance);
    for request in requests {
        invocation.key(in_flight_key(&request));
    }
    invocation
}

#[derive(Debug, Default)]
struct Owed {
    requests: HashSet<[u8; 32]>,
    /// Whether a task tries to pay.
    collecting: bool,
}

#[derive(Debug)]
pub(super) struct Debts {
    redis: Arc<Redis>,
    /// The value of this instance's claims.
    instance: String,
    owed: Mutex<Owed>,
}

impl Debts {
    pub(super) fn new(redis: Arc<Redis>, instance: String) -> Self {
        Self { redis, instance, owed: Mutex::default() }
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request ended that Redis may still hold.
    pub(super) fn owe(self: &Arc<Self>, request: [u8; 32]) {
        let mut owed = self.owed();
        if owed.requests.len() < MAX_OWED {
            owed.requests.insert(request);
        }
        if !std::mem::replace(&mut owed.collecting, true) {
            tokio::spawn(Arc::clone(self).collect());
        }
    }

    /// The request is held again, by right.
    pub(super) fn forgive(&self, request: &[u8; 32]) {
        self.owed().requests.remove(request);
    }

    /// Tells Redis, at once, of all that it has not heard.
    pub(super) async fn pay(&self) {
        let requests = std::mem::take(&mut self.owed().requests);
        if requests.is_empty() {
            return;
        }
        let script = release(&self.instance, requests.iter().copied());
        if self.redis.tell::<u8>("release", &script).await.is_none() {
            let mut owed = self.owed();
            let room = MAX_OWED.saturating_sub(owed.requests.len());
            owed.requests.extend(requests.into_iter().take(room));
        }
    }

    /// Tries until nothing is owed, or all leases have run out.
    async fn collect(self: Arc<Self>) {
        let started = Instant::now();
        loop {
            sleep(RETRY).await;
            self.pay().await;
            let mut owed = self.owed();
            if started.elapsed() > LEASE {
                owed.requests.clear();
            }
            if owed.requests.is_empty() {
                owed.collecting = false;
                return;
            }
        }
    }
}
