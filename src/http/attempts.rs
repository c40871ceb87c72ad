//! Room for requests with an `Idempotency-Key`. Each writes to the database twice besides what it is for, and goes on when
//! its caller has hung up.
//!
//! Requests with a key, those without and those that make keys have rooms of their own, so that none of these keeps
//! the others out, and in each of them one caller has a share only. Callers with keys are counted by user: whoever may
//! make keys would have as many shares as they like.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use crate::{
    rate_limit::Subject,
    shares::{Share, Shares},
};

/// Requests with a key: all, and of one user.
const KEYED: (usize, usize) = (512, 128);
/// Requests that make keys, or replace them. Few of them run at a time.
const MANAGING: (usize, usize) = (64, 8);
/// Requests without a key: all, and of one client address.
const ANONYMOUS: (usize, usize) = (256, 32);
/// How many requests without a key may have the same body, under different keys: one is handled, the others wait for it.
const TWINS: usize = 4;

/// The rooms.
#[derive(Debug)]
pub struct Attempts {
    keyed: Arc<Shares>,
    managing: Arc<Shares>,
    anonymous: Arc<Shares>,
    twins: Arc<Shares>,
}

/// A request's place in a room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _share: Share,
    _twin: Option<Share>,
}

impl Default for Attempts {
    fn default() -> Self {
        let room = |(all, each)| Shares::new(all, each);
        Self {
            keyed: room(KEYED),
            managing: room(MANAGING),
            anonymous: room(ANONYMOUS),
            twins: room((ANONYMOUS.0, TWINS)),
        }
    }
}

impl Attempts {
    pub(super) fn of_user(&self, user: &str) -> Option<Place> {
        Some(Place { _share: self.keyed.take(user)?, _twin: None })
    }

    pub(super) fn of_manager(&self, user: &str) -> Option<Place> {
        Some(Place { _share: self.managing.take(user)?, _twin: None })
    }

    /// `fingerprint` is that of the request.
    pub(super) fn of_stranger(&self, address: IpAddr, fingerprint: &[u8; 32]) -> Option<Place> {
        let share = self.anonymous.take(&Subject::address(address).to_string())?;
        let request = fingerprint.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Some(Place { _share: share, _twin: Some(self.twins.take(&request)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::{ANONYMOUS, Attempts, KEYED, TWINS};

    #[test]
    fn rooms_are_apart() {
        let attempts = Attempts::default();
        let users: Vec<String> = (0..KEYED.0 / KEYED.1).map(|user| user.to_string()).collect();
        let keyed: Vec<_> =
            users.iter().flat_map(|user| (0..KEYED.1).map(|_| attempts.of_user(user).unwrap())).collect();
        assert!(attempts.of_user("another").is_none());
        let address = |number: u32| std::net::IpAddr::V4(number.into());
        let strangers: Vec<_> = (0..u32::try_from(ANONYMOUS.0).unwrap())
            .map(|number| {
                let mut fingerprint = [0; 32];
                fingerprint[..4].copy_from_slice(&number.to_be_bytes());
                attempts.of_stranger(address(number), &fingerprint).unwrap()
            })
            .collect();
        assert!(attempts.of_stranger(address(1 << 20), &[9; 32]).is_none());
        assert!(attempts.of_manager("another").is_some());
        drop((keyed, strangers));
        assert!(attempts.of_user("another").is_some());
        // The whole network of an IPv6 client is one.
        let client = |number: usize| format!("2001:db8::{number:x}").parse().unwrap();
        let places: Vec<_> = (0..ANONYMOUS.1)
            .map(|number| attempts.of_stranger(client(number), &[u8::try_from(number).unwrap(); 32]).unwrap())
            .collect();
        assert!(attempts.of_stranger(client(1000), &[200; 32]).is_none());
        drop(places);
        let twins: Vec<_> =
            (0..=TWINS).map(|number| attempts.of_stranger(client(number), &[1; 32])).collect();
        assert_eq!(twins.iter().filter(|place| place.is_some()).count(), TWINS);
    }
}
