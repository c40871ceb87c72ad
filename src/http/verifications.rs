//! Room for verifications, which may wait long for the chain.
//!
//! Those with a key and those without have rooms of their own, and in each of them one caller has a share only: however many
//! wait while the chain is slow, others are judged meanwhile.

use std::{net::IpAddr, sync::Arc};

use crate::{
    rate_limit::Subject,
    shares::{Share, Shares},
};

/// With a key: all, and of one user.
const KEYED: (usize, usize) = (1024, 256);
/// Without: all, and of one client address.
const ANONYMOUS: (usize, usize) = (512, 64);

/// The rooms.
#[derive(Debug)]
pub struct Verifications {
    keyed: Arc<Shares>,
    anonymous: Arc<Shares>,
}

impl Default for Verifications {
    fn default() -> Self {
        let room = |(all, each)| Shares::new(all, each);
        Self { keyed: room(KEYED), anonymous: room(ANONYMOUS) }
    }
}

impl Verifications {
    /// A place for one, given back when it is dropped; `None` where there is none left.
    pub(super) fn place(&self, user: Option<&str>, address: IpAddr) -> Option<Share> {
        match user {
            Some(user) => self.keyed.take(user),
            None => self.anonymous.take(&Subject::address(address).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{ANONYMOUS, KEYED, Verifications};

    #[test]
    fn crowds_of_strangers_leave_room_for_callers_with_keys() {
        let verifications = Verifications::default();
        let network = |number: usize| -> IpAddr { format!("2001:db8:0:{number:x}::1").parse().unwrap() };
        let strangers: Vec<_> = (0..ANONYMOUS.0 / ANONYMOUS.1)
            .flat_map(|number| [network(number)].repeat(ANONYMOUS.1))
            .map(|address| verifications.place(None, address).unwrap())
            .collect();
        assert!(verifications.place(None, network(1000)).is_none(), "the room");
        let keyed: Vec<_> =
            (0..KEYED.1).map(|_| verifications.place(Some("a"), network(0)).unwrap()).collect();
        assert!(verifications.place(Some("a"), network(1000)).is_none(), "its share");
        assert!(verifications.place(Some("b"), network(0)).is_some());
        drop((strangers, keyed));
        assert!(verifications.place(None, network(1000)).is_some());
        assert!(verifications.place(Some("a"), network(0)).is_some());
    }
}
