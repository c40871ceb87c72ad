//! How many connections there may be, in all and from one client.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{client_address::TrustedProxies, rate_limit::Subject};

type Held = HashMap<Subject, usize>;

/// The connections there may be. Bounded by their number, and so is what is kept about who holds them.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    /// For each client address, or /64 network; `None` for as many as there are.
    per_address: Option<NonZeroUsize>,
    /// These bring the connections of many clients, and are bounded by the total alone.
    proxies: TrustedProxies,
    held: Arc<Mutex<Held>>,
}

impl Slots {
    #[must_use]
    pub fn new(all: usize, per_address: Option<NonZeroUsize>, proxies: TrustedProxies) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_address, proxies, held: Arc::default() }
    }

    /// Waits until another connection may be accepted.
    pub(super) async fn free(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.all).acquire_owned().await.expect("it is never closed")
    }

    /// A slot for a connection from `peer`; `None` where the client has too many.
    pub(super) fn take(&self, free: OwnedSemaphorePermit, peer: IpAddr) -> Option<Slot> {
        let mut slot = Slot { _free: free, of: None };
        let Some(most) = self.per_address.filter(|_| !self.proxies.trust(peer.to_canonical())) else {
            return Some(slot);
        };
        let client = Subject::address(peer);
        let mut held = locked(&self.held);
        let count = held.entry(client.clone()).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        slot.of = Some((Arc::clone(&self.held), client));
        Some(slot)
    }
}

fn locked(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _free: OwnedSemaphorePermit,
    of: Option<(Arc<Mutex<Held>>, Subject)>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some((held, client)) = self.of.take() else { return };
        let mut held = locked(&held);
        if let Some(count) = held.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::{Slot, Slots};
    use crate::client_address::TrustedProxies;

    fn slots(per_address: usize) -> Slots {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        Slots::new(100, NonZeroUsize::new(per_address), proxies)
    }

    async fn take(slots: &Slots, peer: &str) -> Option<Slot> {
        slots.take(slots.free().await, peer.parse().unwrap())
    }

    #[tokio::test]
    async fn one_client_gets_so_many_and_no_more_until_one_ends() {
        let slots = slots(2);
        let (first, second) = (take(&slots, "192.0.2.1").await, take(&slots, "192.0.2.1").await);
        assert!(first.is_some() && second.is_some());
        assert!(take(&slots, "192.0.2.1").await.is_none());
        // The same address, written as IPv6.
        assert!(take(&slots, "::ffff:192.0.2.1").await.is_none());
        assert!(take(&slots, "192.0.2.2").await.is_some());
        drop(first);
        assert!(take(&slots, "192.0.2.1").await.is_some());
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_client() {
        let slots = slots(1);
        let _first = take(&slots, "2001:db8::1").await.unwrap();
        assert!(take(&slots, "2001:db8::ffff:0:0:2").await.is_none());
        assert!(take(&slots, "2001:db8:0:1::1").await.is_some());
    }

    #[tokio::test]
    async fn proxies_have_as_many_as_there_are() {
        let slots = slots(1);
        let mut held = Vec::new();
        for _ in 0..99 {
            held.push(take(&slots, "::ffff:10.1.2.3").await.unwrap());
        }
        let _unlimited =
            take(&super::Slots::new(1, None, TrustedProxies::default()), "192.0.2.1").await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_who_has_gone_or_was_refused() {
        let slots = slots(1);
        let held = take(&slots, "192.0.2.1").await;
        assert!(take(&slots, "192.0.2.1").await.is_none());
        drop(held);
        assert!(slots.held.lock().unwrap().is_empty());
        assert_eq!(slots.all.available_permits(), 100);
    }
}
