//! The audit log: one line of JSON for each thing that the gateway decided, in the order in which it did.
//!
//! Each line has a number and the hash of the line before it: a line that was changed, moved or taken out shows
//! ([`verify()`]). Lines that were cut off at the end show to whoever kept a later head ([`Audit::head`]).
//!
//! What is on disk when: of a forwarded submission (`submitted`), of one that is held (`held`), of what becomes of that
//! (`releasing`, `released`, `kept`, `dropped`, with who let it go and by which override) and of a change of the policy
//! (`reloaded`) before anybody is told of it; a refusal (`refused`) and a node's answer (`answered`) a moment later, in the
//! order in which they happened.
//!
//! Always true: what a caller waited for ([`Audit::durable`]) is on disk; no raw transaction and no key is in it.

mod record;
mod verify;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use surety_primitives::Hash32;
use tokio::sync::watch;

pub use record::{Entry, FindingRecord, ListRoot, UpstreamAnswer};
pub use verify::{Intact, verify};

/// Bytes of lines that wait for the disk; with more of them nothing is recorded, and so nothing may be forwarded.
const MOST_WAITING: usize = 64 << 20;
/// Bytes of a file before the next one is begun, unless configured.
pub const FILE_BYTES: u64 = 64 << 20;

/// Why a record was not made, or a log does not hold.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The disk is slower than the gateway.
    #[error("the audit log is {0} bytes behind; nothing is forwarded until it has caught up")]
    Behind(usize),
    /// Writing failed earlier: this log is at its end.
    #[error("the audit log could not be written: {0}")]
    Stopped(String),
    /// A line does not follow from the one before.
    #[error("{path}, line {line}: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line within it, from 1.
        line: usize,
        /// What does not hold.
        reason: String,
    },
}

/// The last line that was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number, from 1; 0 before the first one.
    pub seq: u64,
    /// Its hash; zero before the first one.
    pub hash: Hash32,
}

/// The log of one gateway. Recording takes no time of the disk's; a thread writes and syncs in groups.
pub struct Audit {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("head", &self.head()).finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    head: Head,
    /// Lines that were recorded and not handed to the disk.
    waiting: Vec<u8>,
    stop: bool,
    failed: Option<String>,
}

impl State {
    fn check(&self) -> Result<(), AuditError> {
        match &self.failed {
            Some(reason) => Err(AuditError::Stopped(reason.clone())),
            None if self.waiting.len() >= MOST_WAITING => Err(AuditError::Behind(self.waiting.len())),
            None => Ok(()),
        }
    }
}

impl Audit {
    /// Continues the log of a folder, or begins one; a last line that a crash cut in half is taken off. `file_bytes` is how
    /// long a file grows.
    ///
    /// # Errors
    /// [`AuditError::File`]; [`AuditError::Broken`] when the last file does not hold.
    pub fn open(folder: &Path, file_bytes: u64) -> Result<Self, AuditError> {
        let (head, file) = writer::resume(folder, file_bytes)?;
        let shared = Arc::new(Shared { state: Mutex::new(State { head, ..State::default() }), wake: Condvar::new() });
        let (tell, durable) = watch::channel(head.seq);
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(&writing, file, &tell))
            .map_err(|source| AuditError::File { path: folder.to_owned(), source })?;
        Ok(Self { shared, durable, thread: Some(thread) })
    }

    /// Records. Gives the line's number; it is on disk a few milliseconds later.
    ///
    /// # Errors
    /// [`AuditError::Behind`], [`AuditError::Stopped`]: what cannot be recorded must not be forwarded.
    pub fn record(&self, entry: &Entry) -> Result<u64, AuditError> {
        // The costly part needs no lock.
        let body = entry.body();
        let mut state = self.shared.state();
        state.check()?;
        let seq = state.head.seq.saturating_add(1);
        let line = record::line(seq, &state.head.hash, &body);
        state.head = Head { seq, hash: record::hash(line.as_bytes()) };
        state.waiting.extend_from_slice(line.as_bytes());
        state.waiting.push(b'\n');
        drop(state);
        self.shared.wake.notify_one();
        Ok(seq)
    }

    /// Whether a record could be made now.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn check(&self) -> Result<(), AuditError> {
        self.shared.state().check()
    }

    /// Waits until this line and all before it are on disk.
    ///
    /// # Errors
    /// [`AuditError::Stopped`].
    pub async fn durable(&self, seq: u64) -> Result<(), AuditError> {
        let mut durable = self.durable.clone();
        let waited = durable.wait_for(|written| *written >= seq).await;
        match waited {
            Ok(_) => Ok(()),
            Err(_) => {
                let reason = self.shared.state().failed.clone();
                Err(AuditError::Stopped(reason.unwrap_or_else(|| "it has stopped".to_owned())))
            }
        }
    }

    /// The last line that was recorded. Kept elsewhere, it shows whether lines were cut off later.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.state().head
    }
}

impl Drop for Audit {
    /// Everything that was recorded reaches the disk.
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to write.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
