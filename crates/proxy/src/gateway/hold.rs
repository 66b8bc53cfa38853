//! Quarantine: transactions that wait on disk until something releases them (section 7.4).
//!
//! A transaction is held, then releasing, then released or dropped; each step is on disk before the next one begins. It is
//! sent only while it is releasing, and only after it was judged, each time. It leaves when a node is known to have it or
//! will never take it; while neither is known, the same bytes are sent again, which a node answers as the same transaction:
//! so it is released once and never lost, whatever fails or is killed when.
//!
//! Every method waits for the disk: call them where a thread may wait.

mod index;
mod release;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, Bytes};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::policy::{Decision, HoldLimits, PolicyHash};
use index::Index;

pub use release::{Look, Released, Sent, release};

/// Name of the file within the gateway's folder.
pub const HOLD_FILE: &str = "held.redb";
/// Bytes of redb's page cache.
const CACHE: usize = 8 << 20;
/// Seconds that a row stays after its transaction has left, for who asks what became of it.
const KEEP_S: u64 = 86_400;
/// Rows that have left and stay, at most.
const KEEP_MOST: usize = 10_000;
/// Longest answer of a node that is kept.
const MOST_ANSWER: usize = 1_024;
/// Seconds between two looks at one whose time has come and that does not pass: others' turn is in between.
const LOOK_AGAIN_S: u64 = 30;

const HELD: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("held");

/// Names one held transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HoldId(pub u64);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold-{}", self.0)
    }
}

impl From<HoldId> for String {
    fn from(id: HoldId) -> Self {
        id.to_string()
    }
}

impl FromStr for HoldId {
    type Err = HoldError;

    fn from_str(text: &str) -> Result<Self, HoldError> {
        let number = text.strip_prefix("hold-").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        number.and_then(|digits| digits.parse().ok()).map(Self).ok_or(HoldError::NoId)
    }
}

impl TryFrom<String> for HoldId {
    type Error = HoldError;

    fn try_from(text: String) -> Result<Self, HoldError> {
        text.parse()
    }
}

/// Who or what lets a transaction go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Releaser {
    /// The time that its rule states.
    Time,
    /// Its sender, with the override token.
    Token,
    /// The administrator.
    Admin,
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// It waits.
    Held,
    /// It is being sent, or was when the process died or no node took it.
    Releasing {
        /// Who let it go.
        by: Releaser,
    },
    /// The node has it.
    Released {
        /// Who let it go.
        by: Releaser,
        /// When, Unix seconds.
        at_s: u64,
        /// What the node answered.
        answer: String,
    },
    /// It will not be sent.
    Dropped {
        /// When, Unix seconds.
        at_s: u64,
        /// Why.
        reason: String,
    },
}

/// A transaction that is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// Who sent it.
    pub client: String,
    /// By which method.
    pub method: String,
    /// Its hash.
    pub hash: B256,
    /// Its bytes, encoded from what was screened.
    pub raw: Bytes,
    /// Why it is held and how it may leave.
    pub decision: Decision,
    /// The policy that decided.
    pub policy: PolicyHash,
}

/// A held transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub id: HoldId,
    /// Who sent it.
    pub client: String,
    /// By which method.
    pub method: String,
    /// Its hash.
    pub hash: B256,
    /// Its bytes. They never go into a log, a metric or an answer.
    pub raw: Bytes,
    /// Why it is held and how it may leave.
    pub decision: Decision,
    /// The policy that decided.
    pub policy: PolicyHash,
    /// Since when, Unix seconds.
    pub held_at_s: u64,
    /// From when on it leaves by itself, Unix seconds.
    pub release_at_s: Option<u64>,
    /// When it is dropped, Unix seconds.
    pub expires_at_s: u64,
    /// Where it stands.
    #[serde(flatten)]
    pub stage: Stage,
}

/// What is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Transactions that wait or are being sent.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why something was not held or not released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The client holds as many as it may.
    #[error("this client has {0} transactions in quarantine, which is the limit")]
    ClientFull(usize),
    /// Nothing more can be held.
    #[error("the quarantine is full")]
    Full,
    /// Nothing of this name is held.
    #[error("nothing is held as {0}")]
    Unknown(HoldId),
    /// The text names no held transaction.
    #[error("this is no name of a held transaction: hold- and a number")]
    NoId,
    /// It has left, or is about to.
    #[error("{0} has left the quarantine already")]
    Left(HoldId),
    /// Its rule does not let it go in this way, or not yet.
    #[error("{0} does not leave in this way, or not yet")]
    NotThisWay(HoldId),
    /// The file cannot be read or written.
    #[error("the quarantine failed: {0}")]
    Unavailable(String),
}

/// Wall seconds.
type Clock = fn() -> u64;

/// The quarantine of one gateway.
pub struct Hold {
    database: Database,
    clock: Clock,
    /// Locked from a change's first look to its commit: what it says is what is on disk.
    index: Mutex<Index>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Hold {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`HoldError::Unavailable`], also when another process has it open.
    pub fn open(path: &Path, limits: HoldLimits) -> Result<Self, HoldError> {
        Self::with_clock(path, limits, wall)
    }

    /// The same with a clock of the caller's, in Unix seconds.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_clock(path: &Path, limits: HoldLimits, clock: fn() -> u64) -> Result<Self, HoldError> {
        let database = Database::builder().set_cache_size(CACHE).create(path).map_err(failed)?;
        restrict(path)?;
        let transaction = database.begin_write().map_err(failed)?;
        let mut index = Index::new(limits);
        for row in transaction.open_table(HELD).map_err(failed)?.iter().map_err(failed)? {
            let (_, value) = row.map_err(failed)?;
            index.add(&decode(value.value())?);
        }
        transaction.commit().map_err(failed)?;
        Ok(Self { database, clock, index: Mutex::new(index) })
    }

    /// Other limits, of a policy that has changed. What is held already stays.
    pub fn set_limits(&self, limits: HoldLimits) {
        self.index().limits = limits;
    }

    /// Holds a transaction. One that this client has in quarantine already stays as it is.
    ///
    /// # Errors
    /// [`HoldError::ClientFull`], [`HoldError::Full`], [`HoldError::Unavailable`]: it is not held then, and must not be
    /// forwarded either.
    pub fn hold(&self, new: NewHold) -> Result<Held, HoldError> {
        let mut index = self.index();
        if let Some(id) = index.find(&new.client, new.hash) {
            return self.read(id);
        }
        index.admit(&new.client, new.raw.len())?;
        let now = (self.clock)();
        let held = Held {
            id: index.next(),
            client: new.client,
            method: new.method,
            hash: new.hash,
            raw: new.raw,
            release_at_s: new.decision.release.after_s.map(|after_s| now.saturating_add(after_s)),
            decision: new.decision,
            policy: new.policy,
            held_at_s: now,
            expires_at_s: now.saturating_add(index.limits.expire_s),
            stage: Stage::Held,
        };
        self.write(&held)?;
        index.add(&held);
        Ok(held)
    }

    /// A transaction that is or was held.
    ///
    /// # Errors
    /// [`HoldError::Unknown`], [`HoldError::Unavailable`].
    pub fn get(&self, id: HoldId) -> Result<Held, HoldError> {
        self.read(id)
    }

    /// What a client, or everybody, has in quarantine, the oldest first, at most `most`.
    ///
    /// # Errors
    /// [`HoldError::Unavailable`].
    pub fn list(&self, client: Option<&str>, most: usize) -> Result<Vec<Held>, HoldError> {
        let ids = self.index().waiting(client, most);
        ids.into_iter().map(|id| self.read(id)).collect()
    }

    /// What is held now.
    #[must_use]
    pub fn count(&self) -> Count {
        self.index().count()
    }

    /// Those whose time has come, the longest due first, at most `most`.
    #[must_use]
    pub fn due(&self, most: usize) -> Vec<HoldId> {
        let now = (self.clock)();
        self.index().due(now, most)
    }

    /// Those that were being sent when a process died, or that no node took so far and whose pause is over, at most `most`.
    /// They are to be judged and sent again.
    #[must_use]
    pub fn interrupted(&self, most: usize) -> Vec<HoldId> {
        let now = (self.clock)();
        self.index().interrupted(now, most)
    }

    /// Drops what has expired and forgets what left long ago. Gives what was dropped now.
    ///
    /// # Errors
    /// [`HoldError::Unavailable`].
    pub fn sweep(&self) -> Result<Vec<Held>, HoldError> {
        let now = (self.clock)();
        let mut index = self.index();
        let mut dropped = Vec::new();
        for id in index.expired(now) {
            let stage = Stage::Dropped { at_s: now, reason: "it was not released in time".to_owned() };
            dropped.push(self.step(&mut index, id, stage)?);
        }
        let old = index.forgettable(now.saturating_sub(KEEP_S), KEEP_MOST);
        if !old.is_empty() {
            let transaction = self.database.begin_write().map_err(failed)?;
            {
                let mut table = transaction.open_table(HELD).map_err(failed)?;
                for id in &old {
                    table.remove(id.0).map_err(failed)?;
                }
            }
            transaction.commit().map_err(failed)?;
            index.forget(&old);
        }
        Ok(dropped)
    }

    /// Drops a transaction that waits.
    ///
    /// # Errors
    /// [`HoldError::Unknown`], [`HoldError::Left`], [`HoldError::Unavailable`].
    pub fn drop_held(&self, id: HoldId, reason: &str) -> Result<Held, HoldError> {
        let mut index = self.index();
        if self.read(id)?.stage != Stage::Held {
            return Err(HoldError::Left(id));
        }
        let reason = reason.chars().take(MOST_ANSWER).collect();
        self.step(&mut index, id, Stage::Dropped { at_s: (self.clock)(), reason })
    }

    /// From held to releasing: of all who try, one gets it.
    fn begin(&self, id: HoldId, by: Releaser) -> Result<Held, HoldError> {
        let mut index = self.index();
        let held = self.read(id)?;
        if held.stage != Stage::Held {
            return Err(HoldError::Left(id));
        }
        self.may_leave(&held, by)?;
        let held = self.step(&mut index, id, Stage::Releasing { by })?;
        index.fly(id);
        Ok(held)
    }

    /// Takes up one whose sending was interrupted: of all who try, one gets it.
    fn resume(&self, id: HoldId) -> Result<Held, HoldError> {
        let mut index = self.index();
        let held = self.read(id)?;
        if !matches!(held.stage, Stage::Releasing { .. }) || !index.fly(id) {
            return Err(HoldError::Left(id));
        }
        Ok(held)
    }

    /// Whether its rule lets a transaction go in this way, now.
    fn may_leave(&self, held: &Held, by: Releaser) -> Result<(), HoldError> {
        let now = (self.clock)();
        let release = held.decision.release;
        let may = match by {
            Releaser::Time => held.release_at_s.is_some_and(|at| now >= at),
            Releaser::Token => release.token,
            Releaser::Admin => release.admin,
        };
        if may && now < held.expires_at_s { Ok(()) } else { Err(HoldError::NotThisWay(held.id)) }
    }

    /// From releasing to released or dropped.
    fn finish(&self, id: HoldId, stage: Stage) -> Result<Held, HoldError> {
        self.step(&mut self.index(), id, stage)
    }

    /// It is not known to be taken, and does not pass any more: it waits again.
    fn take_back(&self, id: HoldId) -> Result<Held, HoldError> {
        self.step(&mut self.index(), id, Stage::Held)
    }

    /// Nobody knows whether the node has it: it stays releasing, and is sent again later.
    fn suspend(&self, id: HoldId) {
        let now = (self.clock)();
        self.index().land(id, now);
    }

    /// One that was looked at waits on, with another decision or the one before.
    fn hold_on(&self, id: HoldId, other: Option<(Decision, PolicyHash)>) -> Result<Held, HoldError> {
        let mut index = self.index();
        let before = self.read(id)?;
        if before.stage != Stage::Held {
            return Err(HoldError::Left(id));
        }
        let (decision, policy) = other.unwrap_or_else(|| (before.decision.clone(), before.policy));
        // A rule that lets go after a time counts from the first day: waiting must not begin again at each look.
        let next_look = (self.clock)().saturating_add(LOOK_AGAIN_S);
        let release_at_s =
            decision.release.after_s.map(|after_s| before.held_at_s.saturating_add(after_s).max(next_look));
        let held = Held { decision, policy, release_at_s, ..before.clone() };
        self.write(&held)?;
        index.replace(&before, &held);
        Ok(held)
    }

    fn step(&self, index: &mut Index, id: HoldId, stage: Stage) -> Result<Held, HoldError> {
        let before = self.read(id)?;
        let held = Held { stage, ..before.clone() };
        self.write(&held)?;
        index.replace(&before, &held);
        Ok(held)
    }

    fn read(&self, id: HoldId) -> Result<Held, HoldError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(HELD).map_err(failed)?;
        let row = table.get(id.0).map_err(failed)?.ok_or(HoldError::Unknown(id))?;
        decode(row.value())
    }

    /// Durable when it returns.
    fn write(&self, held: &Held) -> Result<(), HoldError> {
        let bytes = serde_json::to_vec(held).map_err(failed)?;
        let transaction = self.database.begin_write().map_err(failed)?;
        transaction.open_table(HELD).map_err(failed)?.insert(held.id.0, bytes.as_slice()).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(bytes: &[u8]) -> Result<Held, HoldError> {
    serde_json::from_slice(bytes).map_err(|error| HoldError::Unavailable(format!("a row is damaged: {error}")))
}

fn failed(error: impl fmt::Display) -> HoldError {
    HoldError::Unavailable(error.to_string())
}

/// What waits is nobody's business but the gateway's.
#[cfg(unix)]
fn restrict(path: &Path) -> Result<(), HoldError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> Result<(), HoldError> {
    Ok(())
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
