//! The process's limit of open files, which connections share with databases and RPC endpoints.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not the clients' connections: databases, Redis, RPC endpoints, and a sandbox chain.
const RESERVE: u64 = 512;

/// How many of the connections that are `wanted` the limit has room for. Raises the soft limit as far as they need it;
/// nothing here uses `select`, which is what keeps soft limits low.
#[must_use]
pub fn room_for_connections(wanted: usize) -> usize {
    let limit = raised(wanted as u64 + RESERVE);
    let room = usize::try_from(room_within(limit)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(limit, room, wanted, "the limit of open files (ulimit -n) allows fewer connections");
    }
    room.min(wanted)
}

/// Half of a small limit is left to the rest. There is always room for one.
fn room_within(limit: u64) -> u64 {
    (limit - RESERVE.min(limit / 2)).max(1)
}

/// The soft limit, after it was raised to `needed` or as far as it can be.
fn raised(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else { return u64::MAX };
    let most = limit.maximum.map_or(needed, |hard| hard.min(needed));
    if most <= soft {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }) {
        Ok(()) => most,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the limit of open files cannot be raised"
            );
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RESERVE, room_within};

    #[test]
    fn something_is_left_to_the_rest() {
        assert_eq!(room_within(10_000 + RESERVE), 10_000);
        assert_eq!(room_within(1024), 512);
        assert_eq!(room_within(256), 128);
        assert_eq!(room_within(0), 1);
    }
}
