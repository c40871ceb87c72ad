//! How much each of many callers has under way: all of them together are bounded, and so is each, so that none of them
//! takes what the others need.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Room for `all` pieces, of which one caller gets `each`.
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

/// Pieces of the room, given back when they are dropped.
pub struct Share {
    of: Arc<Shares>,
    by: Arc<str>,
    pieces: usize,
}

impl Shares {
    #[must_use]
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// One piece. `None` where there is no room, or the caller has their share.
    #[must_use]
    pub fn take(self: &Arc<Self>, by: &str) -> Option<Share> {
        self.take_many(by, 1)
    }

    /// As [`take`](Self::take), `pieces` at once or none.
    #[must_use]
    pub fn take_many(self: &Arc<Self>, by: &str, pieces: usize) -> Option<Share> {
        let mut taken = self.taken();
        let own = taken.by.get(by).copied().unwrap_or(0);
        if pieces > self.all - taken.all || pieces > self.each.saturating_sub(own) {
            return None;
        }
        let by: Arc<str> = by.into();
        taken.all += pieces;
        taken.by.insert(Arc::clone(&by), own + pieces);
        Some(Share { of: Arc::clone(self), by, pieces })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= self.pieces;
        if let Some(own) = taken.by.get_mut(&self.by) {
            *own -= self.pieces;
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

    #[test]
    fn many_pieces_come_together_or_not_at_all() {
        let shares = Shares::new(10, 6);
        let four = shares.take_many("a", 4).unwrap();
        assert!(shares.take_many("a", 3).is_none(), "its share");
        let five = shares.take_many("b", 5).unwrap();
        assert!(shares.take_many("c", 2).is_none(), "the room");
        drop(four);
        assert!(shares.take_many("a", 5).is_some());
        drop(five);
        let taken = shares.taken();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }
}
