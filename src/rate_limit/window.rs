//! One subject's sliding window.
//!
//! Admitted requests are counted in buckets of one second. A bucket counts until its last request is a whole window
//! old, so requests may count for up to a second too long, and none too short.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use super::Decision;
use crate::clock::UnixMs;

/// No more than the limit is admitted in any span as long as this.
pub const WINDOW: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When its last request was admitted. Its second is the bucket's.
    last: UnixMs,
    count: u32,
}

/// What was admitted lately, oldest first: at most 61 buckets, and no more than there were requests.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Bucket>);

impl Window {
    /// Decides about a request, and counts it if it is admitted.
    pub fn admit(&mut self, limit: NonZeroU32, now: UnixMs) -> Decision {
        self.refusal(limit, now).unwrap_or_else(|| {
            self.record(now);
            Decision::admitted(limit, self.counted(now), self.reset(now))
        })
    }

    /// What a request would be told now, if it were refused. Counts nothing.
    pub fn refusal(&mut self, limit: NonZeroU32, now: UnixMs) -> Option<Decision> {
        let counted = self.counted(now);
        let full = counted >= limit.get();
        full.then(|| Decision::refused(limit, self.reset(now), self.retry_after(counted, limit, now)))
    }

    /// Counts a request, whatever the limit.
    pub fn record(&mut self, now: UnixMs) {
        self.forget(now);
        // The clock may have been set back a little. Then it stands still here, until it has caught up.
        let now = self.0.back().map_or(now, |bucket| bucket.last.max(now));
        match self.0.back_mut() {
            Some(bucket) if bucket.last.as_secs() == now.as_secs() => {
                bucket.last = now;
                bucket.count = bucket.count.saturating_add(1);
            }
            _ => self.0.push_back(Bucket { last: now, count: 1 }),
        }
    }

    /// How many requests count now.
    pub fn counted(&mut self, now: UnixMs) -> u32 {
        self.forget(now);
        self.0.iter().fold(0, |sum, bucket| sum.saturating_add(bucket.count))
    }

    fn forget(&mut self, now: UnixMs) {
        if self.0.back().is_some_and(|bucket| bucket.last > now + WINDOW) {
            // The clock was set back by more than a window: nobody knows when this was.
            self.0.clear();
        }
        while self.0.front().is_some_and(|bucket| bucket.last + WINDOW <= now) {
            self.0.pop_front();
        }
    }

    fn reset(&self, now: UnixMs) -> Duration {
        self.0.back().map_or(Duration::ZERO, |bucket| until(bucket.last + WINDOW, now))
    }

    /// When so many buckets are out that less than the limit counts.
    fn retry_after(&self, counted: u32, limit: NonZeroU32, now: UnixMs) -> Duration {
        let mut left = counted;
        let out = self.0.iter().find(|bucket| {
            left = left.saturating_sub(bucket.count);
            left < limit.get()
        });
        out.map_or(Duration::ZERO, |bucket| until(bucket.last + WINDOW, now))
    }
}

fn until(then: UnixMs, now: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(then.0 - now.0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

    use super::{WINDOW, Window};
    use crate::clock::UnixMs;

    const WINDOW_MS: i64 = 60_000;

    fn limit(limit: u32) -> NonZeroU32 {
        NonZeroU32::new(limit).unwrap()
    }

    /// How many of `count` requests at once are admitted.
    fn burst(window: &mut Window, allowed: u32, now_ms: i64, count: u32) -> u32 {
        (0..count).map(|_| u32::from(window.admit(limit(allowed), UnixMs(now_ms)).admitted)).sum()
    }

    #[test]
    fn the_minutes_edge_doubles_nothing() {
        let mut window = Window::default();
        assert_eq!(burst(&mut window, 60, 59_000, 100), 60);
        for second in 60..119 {
            assert_eq!(burst(&mut window, 60, second * 1000, 100), 0, "second {second}");
        }
        assert_eq!(burst(&mut window, 60, 118_999, 100), 0);
        assert_eq!(burst(&mut window, 60, 119_000, 100), 60);
    }

    #[test]
    fn reset_and_retry_are_exact() {
        let mut window = Window::default();
        let at = |window: &mut Window, ms| {
            let told = window.admit(limit(3), UnixMs(ms));
            (told.admitted, told.remaining, told.reset.as_millis(), told.retry_after.as_millis())
        };
        assert_eq!(at(&mut window, 500), (true, 2, 60_000, 0));
        assert_eq!(at(&mut window, 900), (true, 1, 60_000, 0));
        assert_eq!(at(&mut window, 30_000), (true, 0, 60_000, 0));
        assert_eq!(at(&mut window, 30_001), (false, 0, 59_999, 30_899));
        assert_eq!(at(&mut window, 60_899), (false, 0, 29_101, 1));
        assert_eq!(at(&mut window, 60_900), (true, 1, 60_000, 0), "the first second's two are out");
    }

    #[test]
    fn a_clock_set_back_neither_locks_out_nor_gives_away() {
        let mut window = Window::default();
        assert_eq!(burst(&mut window, 5, 100_000, 5), 5);
        assert_eq!(burst(&mut window, 5, 70_000, 5), 0, "set back by half a minute");
        assert_eq!(burst(&mut window, 5, 160_000, 3), 3);
        assert_eq!(burst(&mut window, 5, 150_000, 5), 2);
        assert_eq!(burst(&mut window, 5, 10_000, 9), 5, "set back by minutes");
    }

    #[test]
    fn a_lower_limit_waits_for_all_that_is_too_much() {
        let mut window = Window::default();
        for second in 0..10 {
            assert_eq!(burst(&mut window, 10, second * 1000, 1), 1);
        }
        let told = window.admit(limit(3), UnixMs(9000));
        // The requests of the seconds 0 to 7 must be out, which leaves two.
        assert_eq!((told.admitted, told.retry_after.as_millis()), (false, 58_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// In no span of a window more than the limit is admitted, and few buckets are kept.
        #[test]
        fn no_span_has_more_than_the_limit(
            allowed in 1_u32..20,
            pauses_ms in prop::collection::vec(prop::strategy::Union::new([0_i64..3, 0..1500, 0..40_000]), 1..400),
        ) {
            let mut window = Window::default();
            let mut admitted = Vec::new();
            let mut now = 0;
            for pause in pauses_ms {
                now += pause;
                let told = window.admit(limit(allowed), UnixMs(now));
                if told.admitted {
                    admitted.push(now);
                } else {
                    // What it says about the next one is so, to the millisecond.
                    let wait = i64::try_from(told.retry_after.as_millis()).unwrap();
                    prop_assert!((1..=WINDOW_MS).contains(&wait));
                    prop_assert!(window.counted(UnixMs(now + wait - 1)) >= allowed || wait == 1);
                }
                prop_assert!(window.0.len() <= 61);
            }
            for (index, first) in admitted.iter().enumerate() {
                let within = admitted[index..].iter().take_while(|time| **time - first < WINDOW_MS).count();
                prop_assert!(within <= allowed as usize, "{within} from {first} ms on");
            }
        }

        /// Whoever asks all the time gets the whole limit in every window, and again in the next.
        #[test]
        fn sustained_use_reaches_the_limit(allowed in 1_u32..100, pause_ms in 1_i64..600, windows in 1_i64..5) {
            let mut window = Window::default();
            let mut admitted = 0;
            let asks_per_window = u32::try_from(WINDOW_MS / pause_ms).unwrap();
            let mut now = 0;
            // A second for the buckets' width, each time.
            while now < windows * (WINDOW_MS + 1000) {
                admitted += i64::from(u32::from(window.admit(limit(allowed), UnixMs(now)).admitted));
                now += pause_ms;
            }
            prop_assert!(admitted >= windows * i64::from(allowed.min(asks_per_window)), "{admitted}");
        }

        #[test]
        fn retry_after_is_when_it_is_admitted(allowed in 1_u32..20, pauses_ms in prop::collection::vec(0_i64..3000, 20..60)) {
            let mut window = Window::default();
            let mut now = 0;
            for pause in pauses_ms {
                now += pause;
                let told = window.admit(limit(allowed), UnixMs(now));
                if !told.admitted {
                    let wait = i64::try_from(told.retry_after.as_millis()).unwrap();
                    if wait > 1 {
                        prop_assert!(!window.admit(limit(allowed), UnixMs(now + wait - 1)).admitted);
                    }
                    now += wait;
                    prop_assert!(window.admit(limit(allowed), UnixMs(now)).admitted);
                }
            }
            let told = window.admit(limit(allowed), UnixMs(now));
            prop_assert_eq!(window.counted(UnixMs(now) + told.reset), 0);
            prop_assert!(told.reset <= WINDOW);
        }
    }
}
