//! How much each of many callers has under way: all of them together are bounded, and so is each, so that none of them
//! takes what the others need.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Room for `all`, of which one caller gets `each`.
pub struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

/// No more entries than `all`.
#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Arc<str>, usize>,
}

/// A piece of the room, given back when it is dropped.
pub struct Share {
    of: Arc<Shares>,
    by: Arc<str>,
}

impl Shares {
    #[must_use]
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// `None` where there is no room, or the caller has their share.
    #[must_use]
    pub fn take(self: &Arc<Self>, by: &str) -> Option<Share> {
        let mut taken = self.taken();
        let own = taken.by.get(by).copied().unwrap_or(0);
        if taken.all >= self.all || own >= self.each {
            return None;
        }
        let by: Arc<str> = by.into();
        taken.all += 1;
        taken.by.insert(Arc::clone(&by), own + 1);
        Some(Share { of: Arc::clone(self), by })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        if let Some(own) = taken.by.get_mut(&self.by) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}

/// Silent about whose they are.
impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("all", &self.all).field("each", &self.each).finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Shares;

    #[test]
    fn each_gets_a_share_and_all_together_the_room() {
        let shares = Shares::new(3, 2);
        let (first, _second) = (shares.take("a").unwrap(), shares.take("a").unwrap());
        assert!(shares.take("a").is_none(), "its share");
        let third = shares.take("b").unwrap();
        assert!(shares.take("c").is_none(), "the room");
        drop(first);
        assert!(shares.take("a").is_some());
        drop(third);
        assert!(shares.taken().by.len() == 1, "nothing is kept of those who have nothing");
        let _two = [shares.take("b").unwrap(), shares.take("c").unwrap()];
        let taken = shares.taken();
        assert_eq!((taken.all, taken.by.len()), (3, 3));
    }
}
