//! The newest state of the guarded chain: looked for all the time, so that no transaction waits for it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use surety_evm::{Chain, Snapshot};
use surety_security::envelope::Reason;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// A state that was the newest longer ago says nothing any more.
const STALE: Duration = Duration::from_secs(30);

/// The newest state.
pub(crate) struct Head {
    newest: Mutex<Option<(Snapshot, Instant)>>,
}

impl Head {
    /// Looks at the chain from now on, until the value is dropped.
    pub(crate) fn follow(chain: impl Chain + 'static) -> Arc<Self> {
        let head = Arc::new(Self { newest: Mutex::new(None) });
        head.look(&chain);
        let weak = Arc::downgrade(&head);
        // Reading a node blocks: a thread of its own.
        std::thread::spawn(move || follow(&weak, &chain));
        head
    }

    /// The newest state.
    ///
    /// # Errors
    /// When the node has given none for a while.
    pub(crate) fn newest(&self) -> Result<Snapshot, Reason> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((snapshot, seen)) if seen.elapsed() < STALE => Ok(snapshot.clone()),
            Some(_) => Err(Reason::Deadline),
            None => Err(Reason::NoState),
        }
    }

    fn look(&self, chain: &impl Chain) {
        match chain.snapshot(None) {
            Ok(snapshot) => {
                *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((snapshot, Instant::now()));
            }
            Err(error) => tracing::warn!(%error, "the newest state could not be read"),
        }
    }
}

fn follow(head: &Weak<Head>, chain: &impl Chain) {
    loop {
        std::thread::sleep(LOOK);
        let Some(head) = head.upgrade() else { return };
        head.look(chain);
    }
}
