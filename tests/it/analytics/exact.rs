//! Whatever happens in whatever order, the databases' numbers are those of looking at every line.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    analytics::{Log, Ranking, Rollup, SETTLED_AFTER, Window},
    calendar::{DAY_MS, HOUR_MS},
    clock::{Clock, ManualClock, UnixMs},
    ids::{AgentId, EventId},
    money::{Amount, Currency},
    payments::PaymentState,
    store::Books,
};

use super::model::{self, Model};
use crate::{
    conformance::{Backend, on_both},
    harness::rounds,
    settlement::random::Random,
};

on_both!(whatever_the_order_the_numbers_are_those_of_the_books);

/// Thursday, 1 October 2026, 21:50: a day, and with it a month, ends soon.
const START: UnixMs = UnixMs(1_790_891_400_000);
const OWNERS: [&str; 2] = ["shop", "other"];
/// Longest from the time that a line bears to its commit; the sums leave far more.
const LATE_MS: u64 = 60_000;

struct World {
    model: Model,
    /// Each owner's.
    agents: [Vec<AgentId>; 2],
    instances: [Books; 2],
    clock: Arc<ManualClock>,
    random: Random,
}

impl World {
    async fn act(&mut self) {
        match self.random.below(22) {
            0..8 => self.prove().await,
            8..11 => self.begin().await,
            11..14 => self.end().await,
            14..16 => self.adopt().await,
            16..19 => self.roll_a_step().await,
            19 => self.roll_all_at_once().await,
            _ => {
                let most = [1_000, 600_000, 4 * HOUR_MS.unsigned_abs()][self.random.index(3)];
                self.clock.advance(Duration::from_millis(self.random.between(1, most)));
            }
        }
    }

    fn books(&mut self) -> Books {
        self.instances[self.random.index(2)].clone()
    }

    /// Whose payment comes next, and by which agent of theirs.
    fn owner(&mut self) -> Option<&'static str> {
        let owner = [Some(0), Some(0), Some(1), None][self.random.index(4)];
        let agents = owner.map_or(&[][..], |owner| &self.agents[owner]);
        self.model.agent = agents.get(self.random.index(4)).cloned();
        owner.map(|owner| OWNERS[owner])
    }

    fn units(&mut self) -> u64 {
        [1, 50_000, u64::from(u32::MAX), 1 << 32, Amount::MAX][self.random.index(5)]
    }

    /// A moment ago, as a commit may be late.
    fn at(&mut self) -> UnixMs {
        self.clock.now() - Duration::from_millis(self.random.below(LATE_MS))
    }

    async fn prove(&mut self) {
        let (books, owner, at) = (self.books(), self.owner(), self.at());
        let paid = (Currency::ALL[self.random.index(4)], self.units());
        self.model.prove(&books, owner, paid, at).await;
    }

    async fn begin(&mut self) {
        let (books, owner, at) = (self.books(), self.owner(), self.at());
        // What is held of all that is under way has to fit.
        let units = self.units().min(1 << 32);
        let paid = (Currency::ALL.get(self.random.index(5)).copied(), units);
        self.model.begin(&books, owner, paid, at).await;
    }

    async fn end(&mut self) {
        let pending = self.model.pending();
        if !pending.is_empty() {
            let place = pending[self.random.index(pending.len())];
            let state = [PaymentState::Settled, PaymentState::Failed, PaymentState::Expired];
            let (books, at, state) = (self.books(), self.at(), state[self.random.index(3)]);
            self.model.end(&books, place, state, at).await;
        }
    }

    /// However long ago it was.
    async fn adopt(&mut self) {
        let unowned = self.model.unowned();
        if !unowned.is_empty() {
            let place = unowned[self.random.index(unowned.len())];
            let (books, owner) = (self.books(), OWNERS[self.random.index(2)]);
            self.model.adopt(&books, place, owner).await;
        }
    }

    async fn roll_a_step(&mut self) {
        let log = Log::ALL[self.random.index(Log::ALL.len())];
        let limit = u32::try_from(self.random.between(1, 5)).unwrap();
        self.books().analytics.roll(log, self.clock.now() - SETTLED_AFTER, limit).await.unwrap();
    }

    /// Both instances, several times over.
    async fn roll_all_at_once(&self) {
        let rolling = (0..6).map(|number| {
            let store = Arc::clone(&self.instances[number % 2].analytics);
            let rollup = Rollup::new(store, Arc::<ManualClock>::clone(&self.clock));
            tokio::spawn(async move { rollup.round().await.unwrap() })
        });
        assert!(join_all(rolling).await.into_iter().all(Result::unwrap), "everything is summed up");
    }

    fn window(&mut self, unit_ms: i64) -> Window {
        // From before on, since sums are of up to eight days.
        let units = 40 * DAY_MS / unit_ms;
        let first = (START.0 - 9 * DAY_MS) / unit_ms;
        let from = first + i64::try_from(self.random.below(units.unsigned_abs())).unwrap();
        let length = 1 + i64::try_from(self.random.below(units.unsigned_abs())).unwrap();
        Window { from: UnixMs(from * unit_ms), to: UnixMs((from + length) * unit_ms) }
    }

    async fn compare(&mut self) {
        let books = self.books();
        for owner in OWNERS {
            for window in [Window::ALL, self.window(HOUR_MS), self.window(HOUR_MS)] {
                let found = books.analytics.payments(owner, window).await.unwrap();
                assert_eq!(model::sums(&found), self.model.payments(owner, window), "{window:?}");
                self.compare_events(&books, owner, window).await;
                self.compare_agents(&books, owner, window).await;
            }
            for span_ms in [HOUR_MS, DAY_MS] {
                let window = self.window(span_ms);
                let found = books.analytics.revenue(owner, span_ms, window).await.unwrap();
                assert_eq!(model::revenue(&found), self.model.revenue(owner, span_ms, window), "{window:?}");
            }
        }
        assert_eq!(books.analytics.payments("nobody", Window::ALL).await.unwrap(), []);
    }

    async fn compare_agents(&mut self, books: &Books, owner: &str, window: Window) {
        for ranking in Ranking::ALL {
            let all = self.model.agents(owner, window, ranking);
            let (limit, offset) = (1 + self.random.index(4), self.random.index(4));
            let (limit_32, offset_32) = (u32::try_from(limit).unwrap(), u32::try_from(offset).unwrap());
            let found = books.analytics.agents(owner, window, ranking, limit_32, offset_32).await.unwrap();
            let page: Vec<_> = all.iter().skip(offset).take(limit).cloned().collect();
            assert_eq!(
                (model::ranked(&found), found.total),
                (page, all.len() as u64),
                "{ranking:?} {window:?}"
            );
        }
    }

    async fn compare_events(&mut self, books: &Books, owner: &str, window: Window) {
        let all = self.model.events(owner, window);
        let (limit, offset) = (self.random.between(1, 20), self.random.below(all.len() as u64 + 2));
        let mut types = BTreeMap::<String, u64>::new();
        for (_, kind) in &all {
            *types.entry(kind.clone()).or_default() += 1;
        }
        let kinds = types.keys().map(|kind| Some(kind.as_str())).chain([None, Some("nothing")]);
        for kind in kinds {
            let (limit_32, offset_32) = (u32::try_from(limit).unwrap(), u32::try_from(offset).unwrap());
            let found = books.analytics.events(owner, kind, window, None, limit_32, offset_32).await.unwrap();
            let own = all.iter().filter(|(_, of)| kind.is_none_or(|kind| kind == of));
            let page = own.skip(usize::try_from(offset).unwrap()).take(usize::try_from(limit).unwrap());
            assert_eq!(model::events(&found), page.cloned().collect::<Vec<_>>(), "{kind:?} {window:?}");
            // And from any of them on.
            let before = all.get(self.random.index(all.len() + 1)).map(|(id, _)| id.clone());
            let before_id = before.clone().map(EventId::from_stored);
            let later =
                books.analytics.events(owner, kind, window, before_id.as_ref(), limit_32, 0).await.unwrap();
            let own = all.iter().filter(|(id, of)| {
                kind.is_none_or(|kind| kind == of) && before.as_ref().is_none_or(|before| id < before)
            });
            let page = own.take(usize::try_from(limit).unwrap());
            assert_eq!(model::events(&later), page.cloned().collect::<Vec<_>>(), "{kind:?} {before:?}");
            let counted = found.types.into_iter().map(|count| (count.kind, count.events));
            assert!(counted.eq(types.clone()), "{window:?}");
        }
    }
}

async fn whatever_the_order_the_numbers_are_those_of_the_books(backend: Backend) {
    let (mut model, books) = (Model::default(), backend.books().await);
    let mut agents = [vec![], vec![]];
    for (number, owner) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        agents[owner].push(model.register(&books, OWNERS[owner], number).await.id);
    }
    let mut world = World {
        model,
        agents,
        instances: [books, backend.books().await],
        clock: Arc::new(ManualClock::new(START)),
        random: Random::new(402),
    };
    for number in 1..=rounds(300) {
        world.act().await;
        if number % 15 == 0 {
            world.compare().await;
        }
    }
    // Everything is summed up, and nothing is left to be counted but what is under way.
    world.clock.advance(SETTLED_AFTER + Duration::from_secs(61));
    world.roll_all_at_once().await;
    world.compare().await;
    let ended = world.model.lines.len() - world.model.pending().len();
    assert!(ended > 50, "{:?}", world.model);
}
