//! What a connection is doing, and since when: who does nothing, or does not read, is found here.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    pin,
    time::{Instant, sleep_until},
};

use crate::http::load::AnswerRoom;

/// How long the connection may take for what, not counting what was before `from`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub from: Instant,
    pub head: Duration,
    pub idle: Duration,
    pub stall: Duration,
    pub answer: Duration,
}

impl Patience {
    /// The shortest time in which anything can become overdue.
    fn shortest(&self) -> Duration {
        self.head.min(self.idle).min(self.stall).min(self.answer)
    }
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Overdue {
    #[error("the service is ending")]
    Shutdown,
    #[error("it is old")]
    Age,
    #[error("no request was in flight for too long")]
    Idle,
    #[error("a head did not arrive in time")]
    Head,
    #[error("nothing of what was sent was taken for too long")]
    Stall,
    #[error("an answer was not taken in time")]
    Answer,
}

#[derive(Debug)]
struct Doing {
    /// Requests, each from its head to the end of its answer.
    in_flight: usize,
    /// Since when there has been none.
    quiet_since: Instant,
    /// Since when a head has been arriving, over HTTP/1. A new connection owes one.
    head_since: Option<Instant>,
    /// Since when the socket has taken nothing, though there is something for it.
    blocked_since: Option<Instant>,
    /// When each answer that has not been taken whole began, in this order.
    answers: BTreeMap<u64, Instant>,
    answers_begun: u64,
    /// When part of any of them was last taken.
    taken_at: Instant,
}

/// Shared by the connection, its stream and its answers.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Doing>);

impl Activity {
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Doing {
            in_flight: 0,
            quiet_since: now,
            head_since: Some(now),
            blocked_since: None,
            answers: BTreeMap::new(),
            answers_begun: 0,
            taken_at: now,
        }))
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Over HTTP/2 heads are not told from other frames; idleness bounds them too.
    pub fn is_http2(&self) {
        self.doing().head_since = None;
    }

    /// Something came over HTTP/1: between requests it begins a head.
    pub fn arrived(&self) {
        let mut doing = self.doing();
        if doing.in_flight == 0 {
            doing.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// Whether the socket keeps us waiting.
    pub fn blocked(&self, blocked: bool) {
        self.doing().blocked_since = blocked.then(Instant::now);
    }

    /// Part of an answer was taken.
    pub fn taken(&self) {
        self.doing().taken_at = Instant::now();
    }

    /// Returns once something took too long. To be polled in the connection's own task: what changes is seen there.
    pub async fn overdue(&self, patience: &Patience) -> Overdue {
        let timer = sleep_until(Instant::now());
        pin!(timer);
        poll_fn(|cx| {
            loop {
                let now = Instant::now();
                let (at, why) =
                    self.doing().due(patience).unwrap_or((now + patience.shortest(), Overdue::Idle));
                if at <= now {
                    return Poll::Ready(why);
                }
                // One that fires early only looks again, which is cheaper than moving it at every request.
                if timer.is_elapsed() || at < timer.deadline() {
                    timer.as_mut().reset(at);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl Doing {
    /// What would be overdue first, and when.
    fn due(&self, patience: &Patience) -> Option<(Instant, Overdue)> {
        let after = |since: Instant, limit: Duration| since.max(patience.from) + limit;
        let quiet = self.in_flight == 0;
        let idle = (quiet && self.blocked_since.is_none()).then_some(self.quiet_since);
        let untaken = (!self.answers.is_empty()).then_some(self.taken_at);
        let oldest = self.answers.values().next();
        [
            self.head_since.filter(|_| quiet).map(|since| (after(since, patience.head), Overdue::Head)),
            idle.map(|since| (after(since, patience.idle), Overdue::Idle)),
            self.blocked_since.map(|since| (after(since, patience.stall), Overdue::Stall)),
            untaken.map(|since| (after(since, patience.stall), Overdue::Stall)),
            oldest.map(|since| (after(*since, patience.answer), Overdue::Answer)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }
}

/// A request in flight, from its head to the end of its answer's body: until that was sent, or is not wanted any more.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    answer: Option<u64>,
    /// It was too many: asking too often keeps no connection open.
    turned_away: bool,
    room: Option<AnswerRoom>,
}

impl InFlight {
    pub fn new(activity: &Arc<Activity>) -> Self {
        let mut doing = activity.doing();
        doing.in_flight += 1;
        doing.head_since = None;
        drop(doing);
        Self { activity: Arc::clone(activity), answer: None, turned_away: false, room: None }
    }

    /// From now on the client has to take the answer, which takes `room` until then.
    pub fn answered(mut self, turned_away: bool, room: Option<AnswerRoom>) -> Self {
        let mut doing = self.activity.doing();
        if doing.answers.is_empty() {
            doing.taken_at = Instant::now();
        }
        let number = doing.answers_begun;
        doing.answers_begun += 1;
        doing.answers.insert(number, Instant::now());
        drop(doing);
        self.answer = Some(number);
        self.turned_away = turned_away;
        self.room = room;
        self
    }

    pub fn taken(&self) {
        self.activity.taken();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut doing = self.activity.doing();
        doing.in_flight -= 1;
        if let Some(number) = self.answer {
            doing.answers.remove(&number);
        }
        if !self.turned_away {
            doing.quiet_since = Instant::now();
        }
    }
}
