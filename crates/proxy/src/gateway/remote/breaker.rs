//! How quick a service is, and whether it is asked at all: after failures in a row it is left alone for a while.

use surety_primitives::Amount;

/// Failures in a row after which a service is paused.
const FAILURES: u32 = 3;
/// Milliseconds of the first pause; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 1_000;
/// Milliseconds of the longest pause.
const LONGEST_PAUSE_MS: u64 = 60_000;
/// Microseconds that a service is thought to need before it answered once.
const FIRST_MICROS: u64 = 5_000;
/// A new latency has one part in so many of the average.
const WEIGHT: u64 = 8;

/// What is known of one service's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    micros: u64,
    failures: u32,
    pauses: u32,
    open_until_ms: u64,
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self { micros: FIRST_MICROS, failures: 0, pauses: 0, open_until_ms: 0 }
    }

    /// Whether the service may be asked. After a pause one question goes through; the pause begins again meanwhile.
    pub(super) fn is_closed(&mut self, now_ms: u64) -> bool {
        if self.pauses == 0 {
            return true;
        }
        if now_ms < self.open_until_ms {
            return false;
        }
        self.open_until_ms = now_ms.saturating_add(self.pause_ms());
        true
    }

    /// It answered in time.
    pub(super) fn answered(&mut self, micros: u64) {
        self.learn(micros);
        self.failures = 0;
        self.pauses = 0;
    }

    /// It did not, within so many microseconds.
    pub(super) fn failed(&mut self, now_ms: u64, micros: u64) {
        self.learn(micros.saturating_mul(2));
        self.failures = self.failures.saturating_add(1);
        if self.pauses > 0 || self.failures >= FAILURES {
            self.pauses = self.pauses.saturating_add(1);
            self.open_until_ms = now_ms.saturating_add(self.pause_ms());
        }
    }

    /// What a question costs in money and time: the cheaper of two equally quick services is asked first, and the quicker
    /// of two equally cheap ones.
    pub(super) fn cost(&self, price: Amount) -> u128 {
        price.0.saturating_add(1).saturating_mul(u128::from(self.micros))
    }

    fn learn(&mut self, micros: u64) {
        let kept = self.micros.saturating_mul(WEIGHT - 1);
        self.micros = kept.saturating_add(micros) / WEIGHT;
    }

    fn pause_ms(&self) -> u64 {
        FIRST_PAUSE_MS.saturating_mul(1 << self.pauses.saturating_sub(1).min(16)).min(LONGEST_PAUSE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_pause_a_service_longer_each_time_and_an_answer_ends_it() {
        let mut breaker = Breaker::new();
        breaker.failed(0, 20_000);
        breaker.failed(0, 20_000);
        assert!(breaker.is_closed(0));
        breaker.failed(0, 20_000);
        assert!(!breaker.is_closed(999));
        assert!(breaker.is_closed(1_000) && !breaker.is_closed(1_001), "one question goes through");
        breaker.failed(1_000, 20_000);
        assert!(!breaker.is_closed(2_999) && breaker.is_closed(3_000));
        breaker.answered(1_000);
        assert!(breaker.is_closed(3_000) && breaker.is_closed(3_000));
        for _ in 0..100 {
            breaker.failed(0, 20_000);
        }
        assert!(!breaker.is_closed(LONGEST_PAUSE_MS - 1) && breaker.is_closed(LONGEST_PAUSE_MS));
    }

    #[test]
    fn the_cheaper_and_the_quicker_service_cost_less() {
        let (mut quick, slow) = (Breaker::new(), Breaker::new());
        for _ in 0..20 {
            quick.answered(500);
        }
        assert!(quick.cost(Amount(10)) < slow.cost(Amount(10)));
        assert!(slow.cost(Amount(1)) < slow.cost(Amount(2)));
        assert!(quick.cost(Amount(2)) < slow.cost(Amount(1)), "quick enough to be worth twice the price");
    }
}
