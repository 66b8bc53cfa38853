//! One lane: its numbers, its acknowledgements, and the replies that a retry gets again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use surety_primitives::Hash32;
use surety_primitives::access::{LaneKey, ProblemKind, ReplayWindow, Seen};

use crate::package::Bound;
use crate::store::LaneOwner;

/// Milliseconds for which a reply is kept.
const KEEP_MS: u64 = 60_000;
/// Most replies kept a lane.
const KEEP_MOST: usize = 1_024;

/// What a retry gets.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) content_encoding: Option<HeaderValue>,
    pub(crate) answer: HeaderValue,
    pub(crate) claims: Option<HeaderValue>,
    pub(crate) body: Bytes,
    /// Gives its bytes back to the cache's budget when the last copy goes.
    pub(crate) _room: crate::package::Room,
}

/// What is known of a number that was used.
#[derive(Clone, Debug)]
pub(crate) enum StoredReply {
    /// It is still under way.
    UnderWay,
    /// It was served.
    Served(Arc<Reply>),
    /// It failed behind, and was not counted.
    Failed(ProblemKind),
    /// It was served, and the reply was too large to keep.
    Gone,
}

/// What became of an admitted call.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Status 2xx to 4xx: served. With the reply, when it can be kept.
    Served(Option<Arc<Reply>>),
    /// 5xx, timeout, broken stream: not counted.
    Failed(ProblemKind),
}

impl Outcome {
    pub(crate) const fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// What an acknowledgement changed.
pub(super) struct News {
    pub(super) raised: bool,
    pub(super) first_after_lapse: bool,
}

struct Kept {
    seq: u64,
    request: Hash32,
    at_ms: u64,
    reply: StoredReply,
}

/// The counters of a lane.
pub(crate) struct LaneMeter {
    pub(crate) fence: u64,
    /// Under whose authority it is called, and the key for tags.
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) key: Option<Arc<LaneKey>>,
    /// Signed Answers that are written down, oldest first.
    pub(crate) logged: VecDeque<u64>,
    ceiling: u64,
    /// Nothing signed came since an earlier owner died.
    inherited: bool,
    /// Numbers up to here may have been served by an owner that died; 0 if none did.
    lapse_floor: u64,
    window: ReplayWindow,
    admitted: u64,
    failed: u64,
    best: u64,
    /// Since when something served is not acknowledged.
    waiting_ms: Option<u64>,
    kept: VecDeque<Kept>,
}

impl LaneMeter {
    pub(super) fn new(owner: &LaneOwner, ceiling: u64) -> Self {
        Self {
            fence: owner.fence,
            bound: None,
            key: None,
            logged: VecDeque::new(),
            ceiling,
            inherited: owner.inherited,
            lapse_floor: if owner.inherited { owner.seq_floor } else { 0 },
            window: ReplayWindow::above(owner.seq_floor),
            admitted: owner.best,
            failed: 0,
            best: owner.best,
            waiting_ms: None,
            kept: VecDeque::new(),
        }
    }

    pub(crate) const fn best(&self) -> u64 {
        self.best
    }

    pub(crate) const fn high(&self) -> u64 {
        self.window.high()
    }

    pub(crate) const fn floor(&self) -> u64 {
        self.window.floor()
    }

    pub(crate) const fn ceiling(&self) -> u64 {
        self.ceiling
    }

    pub(crate) fn raise_ceiling(&mut self, ceiling: u64) {
        self.ceiling = self.ceiling.max(ceiling);
    }

    /// Calls that were served or are under way.
    pub(crate) const fn counted(&self) -> u64 {
        self.admitted.saturating_sub(self.failed)
    }

    /// admitted - failed - best; below 0 where more was acknowledged than was served.
    pub(crate) fn pending(&self) -> i64 {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        signed(self.counted()).saturating_sub(signed(self.best))
    }

    /// The highest `cum` that is believed. After a lapse nobody here knows what was served, only which numbers may have been.
    pub(super) fn most_acknowledged(&self) -> u64 {
        self.counted().max(self.lapse_floor)
    }

    /// Keeps `cum` if it is the highest. The first signed call after a lapse is the truth about what was served.
    pub(super) fn acknowledge(&mut self, cum: u64, now_ms: u64) -> News {
        let first_after_lapse = self.inherited;
        if self.inherited {
            self.inherited = false;
            self.admitted = self.best.max(cum);
            self.failed = 0;
        }
        if cum > self.counted() {
            self.admitted = cum.saturating_add(self.failed);
        }
        let raised = cum > self.best;
        if raised {
            self.best = cum;
            self.waiting_ms = (self.pending() > 0).then_some(now_ms);
        }
        News { raised, first_after_lapse }
    }

    /// What is known of a number: nothing, or the reply that it got.
    pub(super) fn seen(&mut self, seq: u64, request: &Hash32, now_ms: u64) -> Result<Option<StoredReply>, ProblemKind> {
        match self.window.look(seq) {
            Seen::New => Ok(None),
            Seen::BelowFloor { .. } => Err(ProblemKind::SeqBelowFloor),
            Seen::Before => {
                self.forget_old(now_ms);
                let kept = self.kept.iter().rev().find(|kept| kept.seq == seq && kept.request == *request);
                kept.map(|kept| Some(kept.reply.clone())).ok_or(ProblemKind::Replay)
            }
        }
    }

    pub(super) fn is_stale(&self, now_ms: u64, most_ms: u64) -> bool {
        self.waiting_ms.is_some_and(|since| now_ms.saturating_sub(since) > most_ms)
    }

    pub(super) fn admit(&mut self, seq: u64, request: Hash32, now_ms: u64) {
        self.window.mark(seq);
        self.admitted += 1;
        self.forget_old(now_ms);
        self.kept.push_back(Kept { seq, request, at_ms: now_ms, reply: StoredReply::UnderWay });
    }

    pub(super) fn finish(&mut self, seq: u64, outcome: Outcome, now_ms: u64) {
        let reply = match outcome {
            Outcome::Served(reply) => {
                if self.pending() > 0 {
                    self.waiting_ms.get_or_insert(now_ms);
                }
                reply.map_or(StoredReply::Gone, StoredReply::Served)
            }
            Outcome::Failed(kind) => {
                self.failed += 1;
                StoredReply::Failed(kind)
            }
        };
        // What is under way is near the end.
        if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.seq == seq) {
            kept.reply = reply;
        }
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some(first) = self.kept.front() {
            if self.kept.len() < KEEP_MOST && now_ms.saturating_sub(first.at_ms) <= KEEP_MS {
                return;
            }
            self.kept.pop_front();
        }
    }
}
