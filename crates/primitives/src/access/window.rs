//! The replay window of a lane: which call numbers were seen (`market.md` D3 step 10).

/// How many numbers below the highest one are remembered one by one.
pub const WINDOW_LEN: u64 = 1_024;

const WORDS: usize = WINDOW_LEN as usize / 64;

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen, and may be used.
    New,
    /// Seen within the window: the same request may be given its stored reply.
    Before,
    /// At or below the floor, which is all that is known.
    BelowFloor {
        /// The highest number that is refused in this way.
        floor: u64,
    },
}

/// High mark and a bitmap of the 1,024 numbers up to it. Each number is new at most once, in whatever order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    high: u64,
    floor: u64,
    /// Bit `n` (of word n / 64) is set when number `high - n` was seen.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window that refuses everything up to `floor`: 0 for a new lane, the reserved ceiling after a restart or a move.
    #[must_use]
    pub const fn above(floor: u64) -> Self {
        Self { high: floor, floor, seen: [0; WORDS] }
    }

    /// The highest number seen, or the floor that it began with.
    #[must_use]
    pub const fn high(&self) -> u64 {
        self.high
    }

    /// The highest number that is refused without a look at the bitmap.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        let below = self.high.saturating_sub(WINDOW_LEN);
        if below > self.floor { below } else { self.floor }
    }

    /// What is known of a number. Changes nothing.
    #[must_use]
    pub fn look(&self, seq: u64) -> Seen {
        let floor = self.floor();
        if seq <= floor {
            Seen::BelowFloor { floor }
        } else if seq > self.high || !self.bit(self.high - seq) {
            Seen::New
        } else {
            Seen::Before
        }
    }

    /// Marks a number as seen and says what was known of it before. Numbers at or below the floor change nothing.
    pub fn mark(&mut self, seq: u64) -> Seen {
        let before = self.look(seq);
        if before == Seen::New {
            if seq > self.high {
                self.shift(seq - self.high);
                self.high = seq;
            }
            let age = self.high - seq;
            if let Some(word) = self.seen.get_mut((age / 64) as usize) {
                *word |= 1 << (age % 64);
            }
        }
        before
    }

    fn bit(&self, age: u64) -> bool {
        self.seen.get((age / 64) as usize).is_some_and(|word| word >> (age % 64) & 1 == 1)
    }

    /// Every number grows older by `by`.
    fn shift(&mut self, by: u64) {
        if by >= WINDOW_LEN {
            self.seen = [0; WORDS];
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        self.seen.copy_within(..WORDS - words, words);
        self.seen[..words].fill(0);
        if bits > 0 {
            let mut carry = 0;
            for word in &mut self.seen {
                let next = *word >> (64 - bits);
                *word = *word << bits | carry;
                carry = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_is_new_once_even_out_of_order() {
        let mut window = ReplayWindow::above(0);
        assert_eq!(window.mark(0), Seen::BelowFloor { floor: 0 });
        for seq in [1, 5, 3, 2, 4, 1_024] {
            assert_eq!(window.mark(seq), Seen::New, "{seq}");
            assert_eq!(window.mark(seq), Seen::Before, "{seq}");
        }
        // 1 is 1,023 below the high mark and still remembered; one further and it falls out.
        assert_eq!(window.look(1), Seen::Before);
        assert_eq!(window.mark(1_025), Seen::New);
        assert_eq!(window.look(1), Seen::BelowFloor { floor: 1 });
        assert_eq!(window.look(6), Seen::New);
    }

    #[test]
    fn after_a_restart_nothing_up_to_the_ceiling_is_new() {
        let mut window = ReplayWindow::above(2_048);
        assert_eq!(window.look(2_048), Seen::BelowFloor { floor: 2_048 });
        assert_eq!(window.mark(2_049), Seen::New);
        assert_eq!(window.look(2_048), Seen::BelowFloor { floor: 2_048 });
        assert_eq!(window.mark(u64::MAX), Seen::New);
        assert_eq!(window.look(2_050), Seen::BelowFloor { floor: u64::MAX - WINDOW_LEN });
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_numbers(
            floor in 0..100u64,
            steps in proptest::collection::vec((0..3u8, 0..1_500u64), 1..300),
        ) {
            let mut window = ReplayWindow::above(floor);
            let (mut all, mut high) = (BTreeSet::new(), floor);
            for (kind, by) in steps {
                let seq = if kind == 0 { high.saturating_add(by) } else { high.saturating_sub(by) };
                let expected = if seq <= floor.max(high.saturating_sub(WINDOW_LEN)) {
                    None
                } else {
                    Some(all.insert(seq))
                };
                high = high.max(if expected.is_some() { seq } else { 0 });
                match window.mark(seq) {
                    Seen::New => prop_assert_eq!(expected, Some(true)),
                    Seen::Before => prop_assert_eq!(expected, Some(false)),
                    Seen::BelowFloor { .. } => prop_assert_eq!(expected, None),
                }
                prop_assert_eq!(window.high(), high);
            }
        }
    }
}
