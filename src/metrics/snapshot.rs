//! One text for many readers.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::Metrics;

/// How old a text may be that is given to another reader.
const LIFETIME: Duration = Duration::from_secs(1);

/// The text made last, for as long as somebody is being sent it.
#[derive(Debug)]
pub(super) struct LastText(Mutex<(Instant, Weak<String>)>);

impl Default for LastText {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), Weak::new())))
    }
}

impl Metrics {
    /// [`render`](Self::render), for the network: while a text is being sent, no other is made for a second, so that many
    /// who ask and do not read hold few copies. Once it was sent, the next is new.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<Arc<String>, prometheus::Error> {
        let mut last = self.last_text.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = last.1.upgrade().filter(|_| last.0.elapsed() < LIFETIME) {
            return Ok(text);
        }
        let text = Arc::new(self.render()?);
        *last = (Instant::now(), Arc::downgrade(&text));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LIFETIME, Metrics};

    #[test]
    fn those_who_have_not_read_share_a_copy() {
        let metrics = Metrics::new();
        let held: Vec<_> = (0..100).map(|_| metrics.text().unwrap()).collect();
        let copies = held.windows(2).filter(|pair| !Arc::ptr_eq(&pair[0], &pair[1])).count();
        assert!(copies < 10, "{copies} copies");
    }

    #[test]
    fn what_was_read_is_made_anew_and_so_is_what_is_old() {
        let metrics = Metrics::new();
        let one = "connections_refused_total 1\n";
        drop(metrics.text().unwrap());
        metrics.connection_refused();
        let held = metrics.text().unwrap();
        assert!(held.contains(one));
        metrics.last_text.0.lock().unwrap().0 -= LIFETIME;
        assert!(!Arc::ptr_eq(&held, &metrics.text().unwrap()));
    }
}
