//! Calls a second: a bucket that holds one second's worth.

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

    /// Limit and what is left now, where there is a limit.
    pub(crate) const fn state(&self) -> Option<(u32, u64)> {
        if self.rate == 0 { None } else { Some((self.rate, self.level / 1_000)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
