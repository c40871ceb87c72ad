//! What befalls whole instances, and what nobody expects any more.

use pay402::payments::settlement::Event;

use super::World;

impl World {
    pub(super) fn hint(&mut self, index: usize) {
        if !self.payments.is_empty() && self.is_awake(index) {
            let payment = self.random.index(self.payments.len());
            let signature = self.payments[payment].transaction.signature;
            self.step(index, Event::Hint(signature));
        }
    }

    /// What somebody has given up on takes place.
    pub(super) fn haunt(&mut self) {
        if !self.ghosts.is_empty() {
            let chosen = self.random.index(self.ghosts.len());
            let ghost = self.ghosts.swap_remove(chosen);
            self.log(|| format!("nobody does {ghost:?}"));
            self.apply(0, &ghost);
        }
    }

    /// As a process that is not scheduled, or collects its garbage: the leases run on.
    pub(super) fn stall(&mut self, index: usize) {
        let millis = self.random.between(500, 20_000);
        let number = self.instances[index].number;
        self.instances[index].stalled_until_ms = self.now_ms + millis;
        for ((of, _), request) in &mut self.requests {
            if *of == number {
                request.due_ms += millis;
            }
        }
    }

    pub(super) fn lose_store(&mut self) {
        self.store_away_until_ms = self.now_ms + self.random.between(500, 15_000);
    }

    /// An instance's wall clock is set. Where nodes lie as well, nothing is left to go by.
    pub(super) fn set_clock(&mut self, index: usize) {
        if !self.chain.lies {
            self.instances[index].skew_ms = i64::try_from(self.random.below(16_000)).unwrap() - 8_000;
        }
    }

    /// Told to end, it begins nothing more.
    pub(super) fn leave(&mut self, index: usize) {
        let patience = self.random.below(8_000);
        let leaving = &mut self.instances[index];
        if leaving.leaves_at_ms.is_none() {
            leaving.engine.drain();
            leaving.leaves_at_ms = Some(self.now_ms + patience);
        }
    }

    pub(super) fn leave_in_time(&mut self, index: usize) {
        let leaving = &self.instances[index];
        if leaving.leaves_at_ms.is_some_and(|at| at <= self.now_ms || leaving.engine.is_idle()) {
            self.hand_over(index);
        }
    }

    /// Everybody is answered, the leases are given up, and another instance takes its place.
    pub(super) fn hand_over(&mut self, index: usize) {
        self.seen.left += 1;
        for effect in self.instances[index].engine.end() {
            self.take_note(index, effect);
        }
        let number = self.instances[index].number;
        assert!(self.requests.keys().all(|(of, _)| *of != number), "everybody is answered at the end");
        let (left, wall) = (self.instances[index].engine.in_flight(), self.wall(index));
        if self.calm || self.random.percent(80) {
            let holder = self.instances[index].engine.holder().to_owned();
            self.model.renew(&holder, &left, wall);
        }
        self.replace(index);
    }

    pub(super) fn crash(&mut self, index: usize) {
        self.seen.crashes += 1;
        self.replace(index);
    }

    fn replace(&mut self, index: usize) {
        let reborn = self.instance();
        let dead = std::mem::replace(&mut self.instances[index], reborn);
        self.log(|| format!("instance {} dies", dead.number));
        for effect in dead.outstanding {
            // On the wire already, or not.
            if self.random.percent(50) {
                self.ghosts.push(effect);
            }
        }
        self.requests.retain(|(instance, _), _| *instance != dead.number);
    }
}
