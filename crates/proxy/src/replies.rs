//! What was answered lately where no Answer is written down: a caller whose reply was lost finds it here and can
//! acknowledge the call, which otherwise would hold its part of W for good.

use std::collections::VecDeque;

use surety_primitives::Lane;
use surety_primitives::answer::Answer;

use crate::package::Room;

/// What a reply costs that is kept here, about.
pub(crate) const BYTES: usize = 512;

#[derive(Debug)]
struct Given {
    lane: Lane,
    seq: u64,
    answer: Answer,
    /// Gives its bytes back to the cache's budget.
    _room: Room,
}

/// The last replies of one purchase, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Replies(VecDeque<Given>);

impl Replies {
    /// Keeps an Answer, and of all no more than the last `most`. No more than W can be unacknowledged.
    pub(crate) fn keep(&mut self, lane: Lane, seq: u64, answer: Answer, room: Room, most: u32) {
        while self.0.len() >= most.max(1) as usize {
            self.0.pop_front();
        }
        self.0.push_back(Given { lane, seq, answer, _room: room });
    }

    /// Those of a lane from a number on.
    pub(crate) fn of(&self, lane: Lane, from: u64) -> Vec<(u64, Answer)> {
        let wanted = self.0.iter().filter(|given| given.lane == lane && given.seq >= from);
        wanted.map(|given| (given.seq, given.answer.clone())).collect()
    }

    /// Everything is acknowledged.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
