//! What is in quarantine, in memory: counts for the caps, times for releases and expiry.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;

use super::super::policy::HoldLimits;
use super::{Count, Held, HoldError, HoldId, Stage};

/// Seconds between the first two tries of one that no node took, and the longest that they become.
const FIRST_REST_S: u64 = 5;
const LONGEST_REST_S: u64 = 300;

/// Made from the rows at the start, and kept beside them.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) limits: HoldLimits,
    next: u64,
    clients: BTreeMap<String, BTreeMap<B256, HoldId>>,
    owners: BTreeMap<HoldId, String>,
    bytes: u64,
    due: BTreeSet<(u64, HoldId)>,
    expiring: BTreeSet<(u64, HoldId)>,
    releasing: BTreeSet<HoldId>,
    /// Those of `releasing` that this process is sending.
    flying: BTreeSet<HoldId>,
    /// Those of `releasing` that no node took: until when they rest, and how often they were sent.
    resting: BTreeMap<HoldId, (u64, u32)>,
    /// Rows whose transaction has left, by when it did.
    left: BTreeSet<(u64, HoldId)>,
}

impl Index {
    pub(super) const fn new(limits: HoldLimits) -> Self {
        Self {
            limits,
            next: 1,
            clients: BTreeMap::new(),
            owners: BTreeMap::new(),
            bytes: 0,
            due: BTreeSet::new(),
            expiring: BTreeSet::new(),
            releasing: BTreeSet::new(),
            flying: BTreeSet::new(),
            resting: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }

    /// A name that no row has.
    pub(super) const fn next(&self) -> HoldId {
        HoldId(self.next)
    }

    pub(super) fn find(&self, client: &str, hash: B256) -> Option<HoldId> {
        self.clients.get(client)?.get(&hash).copied()
    }

    /// Whether one more fits.
    pub(super) fn admit(&self, client: &str, bytes: usize) -> Result<(), HoldError> {
        let of_client = self.clients.get(client).map_or(0, BTreeMap::len);
        if of_client >= self.limits.per_client {
            return Err(HoldError::ClientFull(of_client));
        }
        let bytes = self.bytes.saturating_add(bytes as u64);
        if self.owners.len() >= self.limits.total || bytes > self.limits.bytes {
            return Err(HoldError::Full);
        }
        Ok(())
    }

    pub(super) fn add(&mut self, held: &Held) {
        let id = held.id;
        self.next = self.next.max(id.0.saturating_add(1));
        match &held.stage {
            Stage::Released { at_s, .. } | Stage::Dropped { at_s, .. } => {
                self.left.insert((*at_s, id));
                return;
            }
            Stage::Releasing { .. } => {
                self.releasing.insert(id);
            }
            Stage::Held => {
                self.due.extend(held.release_at_s.map(|at| (at, id)));
                self.expiring.insert((held.expires_at_s, id));
            }
        }
        self.clients.entry(held.client.clone()).or_default().insert(held.hash, id);
        self.owners.insert(id, held.client.clone());
        self.bytes = self.bytes.saturating_add(held.raw.len() as u64);
    }

    fn remove(&mut self, held: &Held) {
        let id = held.id;
        self.due.retain(|(_, other)| *other != id);
        self.expiring.remove(&(held.expires_at_s, id));
        self.releasing.remove(&id);
        self.resting.remove(&id);
        if self.owners.remove(&id).is_some() {
            self.bytes = self.bytes.saturating_sub(held.raw.len() as u64);
        }
        if let Some(of_client) = self.clients.get_mut(&held.client) {
            of_client.remove(&held.hash);
            if of_client.is_empty() {
                self.clients.remove(&held.client);
            }
        }
    }

    pub(super) fn replace(&mut self, before: &Held, now: &Held) {
        self.remove(before);
        self.add(now);
    }

    pub(super) fn waiting(&self, client: Option<&str>, most: usize) -> Vec<HoldId> {
        let of = |owner: &String| client.is_none_or(|client| client == owner);
        self.owners.iter().filter(|(_, owner)| of(owner)).map(|(id, _)| *id).take(most).collect()
    }

    pub(super) fn count(&self) -> Count {
        Count { transactions: self.owners.len(), bytes: self.bytes }
    }

    pub(super) fn due(&self, now: u64, most: usize) -> Vec<HoldId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).take(most).collect()
    }

    pub(super) fn expired(&self, now: u64) -> Vec<HoldId> {
        self.expiring.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    pub(super) fn interrupted(&self, now: u64, most: usize) -> Vec<HoldId> {
        let rests = |id: &HoldId| self.resting.get(id).is_some_and(|(until, _)| *until > now);
        self.releasing.difference(&self.flying).filter(|id| !rests(id)).take(most).copied().collect()
    }

    /// This process sends it from now on; false when it does already.
    pub(super) fn fly(&mut self, id: HoldId) -> bool {
        self.flying.insert(id)
    }

    /// This process sends it no more. If it is still to be sent it rests, longer each time: each try costs a judgement.
    pub(super) fn land(&mut self, id: HoldId, now: u64) {
        self.flying.remove(&id);
        if self.releasing.contains(&id) {
            let (until, tries) = self.resting.entry(id).or_insert((0, 0));
            *until = now.saturating_add(FIRST_REST_S.saturating_mul(1 << *tries).min(LONGEST_REST_S));
            *tries = tries.saturating_add(1).min(16);
        }
    }

    /// Rows that left before a time, and the oldest beyond so many.
    pub(super) fn forgettable(&self, before: u64, most: usize) -> Vec<HoldId> {
        let surplus = self.left.len().saturating_sub(most);
        let old = self.left.iter().enumerate().take_while(|(count, (at, _))| *count < surplus || *at < before);
        old.map(|(_, (_, id))| *id).collect()
    }

    pub(super) fn forget(&mut self, ids: &[HoldId]) {
        let ids: BTreeSet<_> = ids.iter().collect();
        self.left.retain(|(_, id)| !ids.contains(id));
    }
}
