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

    pub(super) fn crash(&mut self, index: usize) {
        self.seen.crashes += 1;
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
