//! Faults a test injects into the node's answers.
//!
//! They are the network's and the node's, not the ledger's: what has landed has landed, whatever a client is told.
//! (For a ledger that changes its mind see [`Sandbox::drop_by_fork`](super::Sandbox::drop_by_fork).)

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    dice::Dice,
    hold::{Gate, Held, Hold},
};

/// Stands for every method.
pub const ANY: &str = "*";

/// For as long as the fault is not cleared.
pub const ALWAYS: u32 = u32::MAX;

/// Rewrites a result.
pub type Lie = Box<dyn Fn(Value) -> Value + Send + Sync>;

/// When the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The request took no effect.
    Before,
    /// The request took effect, and its answer is lost.
    After,
}

/// Faults in force. Each names a method or [`ANY`], and how many calls it strikes ([`ALWAYS`] for all).
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
    /// Changes when every WebSocket is to be closed.
    sockets: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    latency: HashMap<String, Duration>,
    errors: Vec<Rule<Failure>>,
    disconnects: Vec<Rule<Disconnect>>,
    holds: Vec<Rule<(Hold, Arc<Gate>)>>,
    lies: HashMap<String, Arc<Lie>>,
    dropped_sends: u32,
    unreliable: Option<Unreliable>,
    lag: u64,
    calls: HashMap<&'static str, u64>,
}

/// Code, message and data of a JSON-RPC error.
type Failure = (i64, String, Option<Value>);

/// How often what fails, in percent.
struct Unreliable {
    dice: Dice,
    lost_sends: u64,
    failures: u64,
}

struct Rule<T> {
    method: String,
    left: u32,
    what: T,
}

/// What happens to one call.
pub(super) struct Plan {
    pub latency: Duration,
    pub error: Option<Failure>,
    pub disconnect: Option<Disconnect>,
    pub lie: Option<Arc<Lie>>,
    pub hold: Option<(Hold, Arc<Gate>)>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delays answers.
    pub fn latency(&self, method: &str, latency: Duration) {
        self.state().latency.insert(method.to_owned(), latency);
    }

    /// Answers the next `times` calls with an error, without doing anything.
    pub fn error(&self, method: &str, code: i64, message: &str, times: u32) {
        let what = (code, message.to_owned(), None);
        self.state().errors.push(Rule { method: method.to_owned(), left: times, what });
    }

    /// As [`error`](Self::error), with the error's data.
    pub fn error_with(&self, method: &str, code: i64, message: &str, data: Value, times: u32) {
        let what = (code, message.to_owned(), Some(data));
        self.state().errors.push(Rule { method: method.to_owned(), left: times, what });
    }

    /// Breaks the connection of the next `times` calls.
    pub fn disconnect(&self, method: &str, when: Disconnect, times: u32) {
        self.state().disconnects.push(Rule { method: method.to_owned(), left: times, what: when });
    }

    /// Holds the next `times` calls until the test lets them go.
    #[must_use = "dropped, it holds nothing"]
    pub fn hold(&self, method: &str, when: Hold, times: u32) -> Held {
        let gate = Gate::new();
        let what = (when, Arc::clone(&gate));
        self.state().holds.push(Rule { method: method.to_owned(), left: times, what });
        Held::of(gate)
    }

    /// From now on so many percent of the sends never land, and so many percent of all calls fail: with an error, or with
    /// a connection that breaks before or after the effect. The seed decides which.
    pub fn unreliable(&self, seed: u64, lost_sends: u64, failures: u64) {
        self.state().unreliable = Some(Unreliable { dice: Dice::new(seed), lost_sends, failures });
    }

    /// Closes every WebSocket there is.
    pub fn disconnect_websockets(&self) {
        self.sockets.send_modify(|generation| *generation += 1);
    }

    /// Answers the next `times` `sendTransaction` calls with a signature, and lets the transaction never land.
    pub fn drop_sends(&self, times: u32) {
        self.state().dropped_sends = times;
    }

    /// Lets the node answer as of so many slots ago; at most [`MAX_LAG_SLOTS`](super::MAX_LAG_SLOTS). What it is sent
    /// still reaches the leader.
    pub fn lag(&self, slots: u64) {
        self.state().lag = slots;
    }

    /// Rewrites the results of a method.
    pub fn lie(&self, method: &str, lie: Lie) {
        self.state().lies.insert(method.to_owned(), Arc::new(lie));
    }

    /// Ends all faults. The counts of [`calls`](Self::calls) stay.
    pub fn clear(&self) {
        let mut state = self.state();
        for hold in &state.holds {
            hold.what.1.open();
        }
        *state = State { calls: std::mem::take(&mut state.calls), ..State::default() };
    }

    /// How often a method has been called, faults included.
    #[must_use]
    pub fn calls(&self, method: &str) -> u64 {
        let state = self.state();
        if method == ANY { state.calls.values().sum() } else { state.calls.get(method).copied().unwrap_or(0) }
    }

    /// Takes what is due to one call of a known method.
    pub(super) fn plan(&self, method: &'static str) -> Plan {
        let mut state = self.state();
        *state.calls.entry(method).or_default() += 1;
        state.holds.retain(|hold| !hold.what.1.is_open());
        let by_method = [method, ANY];
        let mut plan = Plan {
            latency: by_method.iter().filter_map(|key| state.latency.get(*key)).sum(),
            lie: by_method.iter().find_map(|key| state.lies.get(*key)).cloned(),
            error: strike(&mut state.errors, method),
            disconnect: strike(&mut state.disconnects, method),
            hold: strike(&mut state.holds, method),
        };
        if let Some(unreliable) = &mut state.unreliable {
            unreliable.befall(&mut plan);
        }
        plan
    }

    /// Counts a call that no fault strikes.
    pub(super) fn count(&self, method: &'static str) {
        *self.state().calls.entry(method).or_default() += 1;
    }

    pub(super) fn lag_slots(&self) -> u64 {
        self.state().lag
    }

    /// Whether this send is one to be dropped.
    pub(super) fn takes_send(&self) -> bool {
        let mut state = self.state();
        if let Some(Unreliable { dice, lost_sends, .. }) = &mut state.unreliable
            && dice.percent(*lost_sends)
        {
            return true;
        }
        let due = state.dropped_sends > 0;
        if due && state.dropped_sends != ALWAYS {
            state.dropped_sends -= 1;
        }
        due
    }

    pub(super) fn sockets(&self) -> watch::Receiver<u64> {
        self.sockets.subscribe()
    }
}

impl Unreliable {
    fn befall(&mut self, plan: &mut Plan) {
        if !self.dice.percent(self.failures) {
            return;
        }
        match self.dice.below(3) {
            0 => plan.error = Some((-32603, "Internal error".to_owned(), None)),
            1 => plan.disconnect = Some(Disconnect::Before),
            _ => plan.disconnect = Some(Disconnect::After),
        }
    }
}

fn strike<T: Clone>(rules: &mut Vec<Rule<T>>, method: &str) -> Option<T> {
    rules.retain(|rule| rule.left > 0);
    let rule = rules.iter_mut().find(|rule| rule.method == method || rule.method == ANY)?;
    if rule.left != ALWAYS {
        rule.left -= 1;
    }
    Some(rule.what.clone())
}
