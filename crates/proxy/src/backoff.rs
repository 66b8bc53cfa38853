//! When a duty that the ledger refused is tried again. A refused action has paid its fee all the same.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use surety_primitives::Seconds;

/// Milliseconds after the first refusal; each further one doubles them.
const FIRST_MS: u64 = 10_000;
/// Most milliseconds between two tries.
const MOST_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
struct Wait {
    refusals: u32,
    until_ms: u64,
}

/// The refused duties of one purchase.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<&'static str, Wait>>);

impl Backoff {
    /// Whether a duty may be tried now.
    pub(crate) fn is_due(&self, duty: &'static str, now_ms: u64) -> bool {
        self.waits().get(duty).is_none_or(|wait| now_ms >= wait.until_ms)
    }

    /// How often a duty was refused in a row.
    pub(crate) fn refusals(&self, duty: &'static str) -> u32 {
        self.waits().get(duty).map_or(0, |wait| wait.refusals)
    }

    /// A duty was refused, or nothing could be done for it: it rests, for a quarter of the time that is `left` for it at most.
    pub(crate) fn refused(&self, duty: &'static str, now_ms: u64, left: Seconds) {
        let mut waits = self.waits();
        let wait = waits.entry(duty).or_insert(Wait { refusals: 0, until_ms: 0 });
        let delay = FIRST_MS.saturating_mul(1 << wait.refusals.min(20)).min(MOST_MS).min(left.0.saturating_mul(250));
        *wait = Wait { refusals: wait.refusals.saturating_add(1), until_ms: now_ms.saturating_add(delay) };
    }

    /// A duty was done.
    pub(crate) fn done(&self, duty: &'static str) {
        self.waits().remove(duty);
    }

    /// The purchase's row has changed: whatever was refused may succeed now.
    pub(crate) fn reset(&self) {
        self.waits().clear();
    }

    fn waits(&self) -> MutexGuard<'_, HashMap<&'static str, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Seconds = Seconds(1_000_000);

    #[test]
    fn no_wait_is_longer_than_a_quarter_of_the_time_that_is_left() {
        let backoff = Backoff::default();
        backoff.refused("claim", 0, Seconds(8));
        assert!(!backoff.is_due("claim", 1_999) && backoff.is_due("claim", 2_000));
    }

    #[test]
    fn each_refusal_doubles_the_wait_up_to_an_hour_and_a_change_ends_it() {
        let backoff = Backoff::default();
        assert!(backoff.is_due("claim", 0));
        let mut now_ms = 0;
        for delay in [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, MOST_MS, MOST_MS]
        {
            backoff.refused("claim", now_ms, LONG);
            assert!(!backoff.is_due("claim", now_ms + delay - 1), "{delay}");
            assert!(backoff.is_due("claim", now_ms + delay), "{delay}");
            now_ms += delay;
        }
        assert_eq!((backoff.refusals("claim"), backoff.refusals("show")), (11, 0));
        backoff.refused("show", now_ms, LONG);
        backoff.done("claim");
        assert!(backoff.is_due("claim", 0) && !backoff.is_due("show", now_ms));
        backoff.reset();
        assert!(backoff.is_due("show", now_ms));
    }
}
