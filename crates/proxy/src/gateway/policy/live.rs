//! The policy in force, and its change while the gateway runs.
//!
//! Always true: a decision sees one whole policy, the old or the new one; a file that does not compile changes nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::error::PolicyErrors;
use super::vocabulary::Vocabulary;
use super::{MOST_BYTES, Policy, PolicyHash};

/// What a look at the file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The file says what it said.
    Same,
    /// Another policy is in force.
    Changed {
        /// The one before.
        before: PolicyHash,
        /// The one now.
        now: PolicyHash,
    },
}

/// A policy that follows its file.
#[derive(Debug)]
pub struct LivePolicy {
    path: PathBuf,
    vocabulary: Vocabulary,
    current: ArcSwap<Policy>,
    failures: AtomicU64,
    looks: AtomicU64,
    seen: Mutex<Seen>,
}

/// What the file looked like at the last look.
#[derive(Debug, Default)]
struct Seen {
    stamp: Option<(SystemTime, u64)>,
    /// What was wrong with it, if something was.
    wrong: Option<PolicyErrors>,
}

impl LivePolicy {
    /// Compiles the file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: impl Into<PathBuf>, vocabulary: Vocabulary) -> Result<Self, PolicyErrors> {
        let path = path.into();
        let stamp = stamp(&path);
        let policy = Policy::load_with(&read(&path)?, &vocabulary)?;
        Ok(Self {
            path,
            vocabulary,
            current: ArcSwap::from_pointee(policy),
            failures: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            seen: Mutex::new(Seen { stamp, wrong: None }),
        })
    }

    /// The policy in force. Decide by one of them from the first question to the record.
    #[must_use]
    pub fn get(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// Files that did not compile so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What is wrong with the file as it is now; nothing when it is in force.
    #[must_use]
    pub fn wrong(&self) -> Option<PolicyErrors> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).wrong.clone()
    }

    /// Reads the file now, whether it looks changed or not.
    ///
    /// # Errors
    /// Everything that is wrong with it; the policy in force stays.
    pub fn reload(&self) -> Result<Reloaded, PolicyErrors> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The stamp comes first: a change while the file is read shows at the next look.
        seen.stamp = stamp(&self.path);
        let outcome = read(&self.path).and_then(|text| self.swap(&text));
        match &outcome {
            Ok(Reloaded::Changed { before, now }) => info!(%before, %now, "another policy is in force"),
            Ok(Reloaded::Same) => {}
            Err(errors) => {
                // One complaint a text, not one a second.
                if seen.wrong.as_ref() != Some(errors) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    warn!(path = %self.path.display(), %errors, "the policy does not compile; the one before stays in force");
                }
            }
        }
        seen.wrong = outcome.as_ref().err().cloned();
        outcome
    }

    fn swap(&self, text: &str) -> Result<Reloaded, PolicyErrors> {
        let before = self.current.load().hash();
        if PolicyHash::of(text) == before {
            return Ok(Reloaded::Same);
        }
        let policy = Policy::load_with(text, &self.vocabulary)?;
        let now = policy.hash();
        self.current.store(Arc::new(policy));
        Ok(Reloaded::Changed { before, now })
    }

    /// Reads the file if it looks changed. A file may change within the clock's grain, or with its time set back: every tenth
    /// look reads it anyway.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn look(&self) -> Result<Reloaded, PolicyErrors> {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).stamp != stamp(&self.path);
        if is_new || looks % 10 == 9 { self.reload() } else { Ok(Reloaded::Same) }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<String, PolicyErrors> {
    let failed =
        |error: std::io::Error| PolicyErrors::unreadable(format!("{} cannot be read: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES as u64 {
        return Err(PolicyErrors::unreadable(format!("a policy has at most {MOST_BYTES} bytes, and this has {size}")));
    }
    std::fs::read_to_string(path).map_err(failed)
}
