//! The lanes of a caller: each is used by one call at a time.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use surety_primitives::Lane;
use surety_primitives::access::{CallSigner, LaneClient};
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::log::Log;
use crate::error::Error;

/// A tag is not taken while an older call waits for its acknowledgement for 5 s (`market.md` D3.11); one second for the way.
const SIGN_EVERY: Duration = Duration::from_secs(4);

/// A lane and what this side remembers of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) client: LaneClient,
    pub(super) lane: Lane,
    /// Numbers up to here are set aside in the log.
    pub(super) ceiling: u64,
    /// When the provider last got an acknowledgement.
    pub(super) signed: Instant,
}

#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Mutex<Slot>>,
    free: StdMutex<Vec<usize>>,
    permits: Semaphore,
    /// Each lane's part of the purchase's window.
    share: u32,
}

/// A lane in use; free again when dropped.
pub(super) struct Taken<'a> {
    pool: &'a Pool,
    index: usize,
    pub(super) slot: MutexGuard<'a, Slot>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

impl Pool {
    pub(super) fn new(signer: Arc<CallSigner>, lanes: u16, window: u32, log: &Log) -> Result<Self, Error> {
        let (first, last) = (signer.authority().first_lane.0, signer.authority().last_lane.0);
        let slots: Vec<Mutex<Slot>> = (first..=last)
            .take(usize::from(lanes))
            .map(|number| {
                let lane = Lane(number);
                let state = log.lane(lane);
                let client = LaneClient::new(Arc::clone(&signer), lane, state)?;
                Ok(Mutex::new(Slot { client, lane, ceiling: state.seq, signed: Instant::now() }))
            })
            .collect::<Result<_, Error>>()?;
        let count = slots.len();
        let share = window / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        // The last of the list is taken first: lanes are used in order.
        let free = StdMutex::new((0..count).rev().collect());
        Ok(Self { slots, free, permits: Semaphore::new(count), share })
    }

    /// A free lane, when there is one.
    pub(super) async fn take(&self) -> Result<Taken<'_>, Error> {
        let permit = self.permits.acquire().await.map_err(|_| closed())?;
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(closed)?;
        let slot = self.slots.get(index).ok_or_else(closed)?.lock().await;
        Ok(Taken { pool: self, index, slot, _permit: permit })
    }

    /// Whether the next call of this lane must acknowledge.
    pub(super) fn must_sign(&self, slot: &Slot) -> bool {
        slot.client.should_sign(self.share) || slot.signed.elapsed() >= SIGN_EVERY
    }

    /// Ends all calling and acknowledging.
    pub(super) fn close(&self) {
        self.permits.close();
    }

    /// The lanes that are not in use now.
    pub(super) fn idle(&self) -> impl Iterator<Item = MutexGuard<'_, Slot>> {
        self.slots.iter().filter_map(|slot| slot.try_lock().ok())
    }

    pub(super) async fn acknowledged(&self) -> u64 {
        let mut sum = 0_u64;
        for slot in &self.slots {
            sum = sum.saturating_add(slot.lock().await.client.state().cum);
        }
        sum
    }

    /// The acknowledgement of every lane that accepted something; lanes in use are waited for, or left out.
    pub(super) async fn vouchers(&self, deadline: u32, wait: bool) -> Result<Vec<Vec<u8>>, Error> {
        if self.permits.is_closed() {
            return Err(closed());
        }
        let mut calls = Vec::new();
        for slot in &self.slots {
            let mut slot = match slot.try_lock() {
                Ok(slot) => slot,
                Err(_) if wait => slot.lock().await,
                Err(_) => continue,
            };
            if let Some(call) = slot.client.voucher(deadline)? {
                slot.signed = Instant::now();
                calls.push(call.to_bytes());
            }
        }
        Ok(calls)
    }
}

fn closed() -> Error {
    Error::BadReply("the log cannot be written, so that nothing more may be called or acknowledged".to_owned())
}
