//! Calls a second: a bucket that holds one second's worth.

use std::collections::HashMap;

use surety_primitives::Hash32;

/// A bucket of tokens. Nothing waits here: there is room or there is not.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Calls a second, 0 for no limit.
    rate: u32,
    /// Thousandths of a call.
    level: u64,
    filled_ms: u64,
}

impl Bucket {
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate, level: u64::from(rate) * 1_000, filled_ms: 0 }
    }

    /// Fills up for the time that passed, and says whether one more call fits.
    pub(crate) fn has_room(&mut self, now_ms: u64) -> bool {
        if self.rate == 0 {
            return true;
        }
        let passed = now_ms.saturating_sub(self.filled_ms);
        let full = u64::from(self.rate) * 1_000;
        self.level = self.level.saturating_add(passed.saturating_mul(u64::from(self.rate))).min(full);
        self.filled_ms = self.filled_ms.max(now_ms);
        self.level >= 1_000
    }

    /// Takes the call that [`Self::has_room`] promised.
    pub(crate) const fn take(&mut self) {
        self.level = self.level.saturating_sub(1_000);
    }

    fn is_full(&mut self, now_ms: u64) -> bool {
        self.has_room(now_ms);
        self.level >= u64::from(self.rate) * 1_000
    }

    /// Limit and what is left now, where there is a limit.
    pub(crate) const fn state(&self) -> Option<(u32, u64)> {
        if self.rate == 0 { None } else { Some((self.rate, self.level / 1_000)) }
    }
}

/// Most links with a rate that are remembered a purchase.
const MAX_LINKS: usize = 4_096;

/// A link of a chain, and the calls a second that it grants.
pub(crate) type LinkRate = (Hash32, u32);

/// A bucket for each link that grants a rate, whatever the lane and however often it is opened.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<Hash32, Bucket>);

impl Rates {
    /// Whether one more call fits under every link.
    pub(crate) fn have_room(&mut self, links: &[LinkRate], now_ms: u64) -> bool {
        links.iter().all(|(link, rate)| {
            if !self.0.contains_key(link) {
                if self.0.len() >= MAX_LINKS {
                    // A full bucket says no more than one that is not there.
                    self.0.retain(|_, bucket| !bucket.is_full(now_ms));
                }
                if self.0.len() >= MAX_LINKS {
                    return false;
                }
            }
            self.0.entry(*link).or_insert_with(|| Bucket::new(*rate)).has_room(now_ms)
        })
    }

    /// Takes the call that [`Self::have_room`] promised.
    pub(crate) fn take(&mut self, links: &[LinkRate]) {
        for (link, _) in links {
            self.0.get_mut(link).map(Bucket::take);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_share_no_bucket_and_only_full_ones_are_forgotten() {
        let link = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            (Hash32(bytes), 2)
        };
        let mut rates = Rates::default();
        for n in 0..MAX_LINKS {
            assert!(rates.have_room(&[link(n)], 1));
            rates.take(&[link(n)]);
        }
        assert!(!rates.have_room(&[link(MAX_LINKS)], 1), "none of the others is full yet");
        assert!(rates.have_room(&[link(0)], 1));
        rates.take(&[link(0)]);
        assert!(!rates.have_room(&[link(1), link(0)], 1), "every link must have room");
        assert!(rates.have_room(&[link(MAX_LINKS)], 2_000));
        assert!(rates.0.len() <= MAX_LINKS);
    }

    #[test]
    fn a_bucket_gives_its_rate_a_second_and_no_burst_above_it() {
        let mut bucket = Bucket::new(10);
        let mut served = 0;
        for ms in 0..5_000 {
            if bucket.has_room(ms) {
                bucket.take();
                served += 1;
            }
        }
        assert_eq!(served, 10 + 49, "a full bucket, then 10 a second");
        assert!(Bucket::new(0).has_room(0));
        // A clock that goes back fills nothing.
        while bucket.has_room(5_000) {
            bucket.take();
        }
        assert!(!bucket.has_room(0));
    }
}
