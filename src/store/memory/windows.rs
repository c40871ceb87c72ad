//! The windows of many subjects, in bounded memory.

use std::collections::{HashMap, VecDeque};

use crate::{
    clock::UnixMs,
    rate_limit::{Action, Decision, Subject, Window},
};

/// How many subjects are looked at for each new one: those with nothing left go, so what a crowd left behind shrinks
/// while others come.
const EXAMINED: usize = 8;

/// Each action of a subject is counted by itself.
pub(super) type Counted = (Subject, Action);

#[derive(Debug, Default)]
pub(super) struct Entry {
    pub window: Window,
    pub refusal: Option<Refusal>,
}

/// The last decision, if it was a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub retry_at: UnixMs,
    pub reset_at: UnixMs,
}

impl Entry {
    pub(super) fn refuse(&mut self, decision: &Decision, now: UnixMs) {
        self.refusal = Some(Refusal { retry_at: now + decision.retry_after, reset_at: now + decision.reset });
    }
}

/// A bounded number of windows. Past the bound a new subject takes the place of the one with the least to forget among
/// the [`EXAMINED`] that were not looked at for the longest time. So whoever wants a count forgotten, their own or
/// another's, must fill the table with subjects that have asked as often.
#[derive(Debug)]
pub(super) struct Windows {
    entries: HashMap<Counted, Entry>,
    /// Every entry's key, those looked at last at the end.
    order: VecDeque<Counted>,
    capacity: usize,
}

impl Windows {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity }
    }

    pub(super) fn get(&self, counted: &Counted) -> Option<&Entry> {
        self.entries.get(counted)
    }

    pub(super) fn get_mut(&mut self, counted: &Counted) -> Option<&mut Entry> {
        self.entries.get_mut(counted)
    }

    /// The subject's entry, made where there is none.
    pub(super) fn entry(&mut self, counted: Counted, now: UnixMs) -> &mut Entry {
        if !self.entries.contains_key(&counted) {
            self.make_room(now);
            self.order.push_back(counted.clone());
        }
        self.entries.entry(counted).or_default()
    }

    fn make_room(&mut self, now: UnixMs) {
        let mut kept = Vec::with_capacity(EXAMINED);
        for _ in 0..EXAMINED {
            let Some(counted) = self.order.pop_front() else { break };
            match self.entries.get_mut(&counted).map_or(0, |entry| entry.window.counted(now)) {
                0 => drop(self.entries.remove(&counted)),
                weight => kept.push((weight, counted)),
            }
        }
        if self.entries.len() >= self.capacity {
            let lightest = (0..kept.len()).min_by_key(|index| kept[*index].0);
            if let Some((_, counted)) = lightest.map(|index| kept.remove(index)) {
                self.entries.remove(&counted);
            }
        }
        self.order.extend(kept.into_iter().map(|(_, counted)| counted));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counted, Windows};
    use crate::{
        clock::UnixMs,
        rate_limit::{Action, Subject},
    };

    const NOW: UnixMs = UnixMs(1_000_000);

    fn subject(number: u32) -> Counted {
        (Subject::Address(std::net::IpAddr::V4(number.into())), Action::Public)
    }

    fn ask(windows: &mut Windows, number: u32, now: UnixMs) -> u32 {
        let window = &mut windows.entry(subject(number), now).window;
        window.record(now);
        window.counted(now)
    }

    #[test]
    fn a_crowd_neither_fills_the_memory_nor_makes_it_forget_who_asked_often() {
        let mut windows = Windows::new(100);
        for _ in 0..3 {
            ask(&mut windows, 7, NOW);
        }
        for stranger in 1000..11_000 {
            ask(&mut windows, stranger, NOW);
            assert!(windows.entries.len() <= 100 && windows.order.len() == windows.entries.len());
        }
        assert_eq!(ask(&mut windows, 7, NOW), 4);
    }

    #[test]
    fn what_a_crowd_left_behind_shrinks() {
        let mut windows = Windows::new(1000);
        for stranger in 0..1000 {
            ask(&mut windows, stranger, NOW);
        }
        let later = NOW + Duration::from_mins(1);
        for stranger in 2000..2200 {
            ask(&mut windows, stranger, later);
        }
        assert_eq!(windows.entries.len(), 200);
    }

    #[test]
    fn where_all_asked_as_often_one_of_them_makes_room() {
        let mut windows = Windows::new(10);
        for stranger in 0..11 {
            assert_eq!(ask(&mut windows, stranger, NOW), 1);
        }
        let kept = (0..11).filter(|stranger| windows.get(&subject(*stranger)).is_some()).count();
        assert_eq!((kept, windows.order.len()), (10, 10));
        assert!(windows.get(&subject(10)).is_some(), "the new one is counted");
    }
}
