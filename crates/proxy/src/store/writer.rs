//! One thread writes; everything that waits is committed together, with one flush to the disk.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::redb::Database;
use surety_primitives::access::Flags;
use surety_primitives::{Lane, PurchaseId};
use tokio::sync::oneshot;

use super::rows::{Tables, failed};
use super::{StoreError, StoredVoucher, Ticket};

/// How long a voucher may wait for company.
const VOUCHER_DELAY: Duration = Duration::from_millis(50);
/// Most requests in one commit.
const MAX_BATCH: usize = 4_096;

/// Tells the one who asked, once it is known whether the commit holds.
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Done, StoreError> + Send>;
/// Per lane: the highest voucher that waits, and the last opening call. The flag tells them apart.
type Waiting = BTreeMap<(PurchaseId, Lane, bool), (u64, StoredVoucher)>;

enum Message {
    /// With whether it writes.
    Job(Job, bool),
    Voucher((PurchaseId, Lane), u64, Box<StoredVoucher>),
}

/// What goes into one commit.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    /// Whether any of them writes.
    writes: bool,
}

/// How kept vouchers enter the tables.
pub(super) type KeepVoucher =
    Box<dyn Fn(&mut Tables<'_>, (PurchaseId, Lane), u64, &StoredVoucher) -> Result<(), StoreError> + Send>;

/// The handle of the writing thread; it ends, all written, when the handle is dropped.
pub(super) struct Writer {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Database, keep: KeepVoucher) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("surety-store".to_owned())
            .spawn(move || Loop { database, keep, waiting: Waiting::new(), since: None }.run(&receiver))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Runs `job` in the next commit. What it says comes after the commit; if it fails, it must not have written.
    pub(super) fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Ticket<T> {
        self.submit(true, job)
    }

    /// Runs `job`, which only reads. Everything handed in before is durable when it answers.
    pub(super) fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Ticket<T> {
        self.submit(false, job)
    }

    fn submit<T: Send + 'static>(
        &self,
        writes: bool,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Ticket<T> {
        let (sender, ticket) = Ticket::new();
        let job: Job = Box::new(move |tables| match job(tables) {
            // Nobody's fault but the disk's: the whole batch is given up.
            Err(error @ StoreError::Unavailable(_)) => {
                redeem(sender, Err(error.clone()));
                Err(error)
            }
            result => Ok(Box::new(move |commit: Result<(), StoreError>| redeem(sender, commit.and(result)))),
        });
        self.send(Message::Job(job, writes));
        ticket
    }

    pub(super) fn put_voucher(&self, at: (PurchaseId, Lane), fence: u64, voucher: StoredVoucher) {
        self.send(Message::Voucher(at, fence, Box::new(voucher)));
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // A dead thread drops the message, and with it the ticket's other half: the asker learns of it there.
            let _ = sender.send(message);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn redeem<T>(sender: oneshot::Sender<Result<T, StoreError>>, result: Result<T, StoreError>) {
    // Whoever no longer waits needs no answer.
    let _ = sender.send(result);
}

struct Loop {
    database: Database,
    keep: KeepVoucher,
    /// Vouchers that wait, and since when.
    waiting: Waiting,
    since: Option<Instant>,
}

impl Loop {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let (jobs, open) = self.gather(receiver);
            let due = self.since.is_some_and(|since| since.elapsed() >= VOUCHER_DELAY);
            if !jobs.jobs.is_empty() || due || (!open && !self.waiting.is_empty()) {
                self.commit(jobs);
            }
            if !open {
                return;
            }
        }
    }

    /// Waits for the first message, or for the vouchers' time, and takes along all that is there.
    fn gather(&mut self, receiver: &Receiver<Message>) -> (Batch, bool) {
        let mut jobs = Batch::default();
        let first = match self.since {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => receiver.recv_timeout(VOUCHER_DELAY.saturating_sub(since.elapsed())),
        };
        match first {
            Ok(message) => self.take(message, &mut jobs),
            Err(RecvTimeoutError::Timeout) => return (jobs, true),
            Err(RecvTimeoutError::Disconnected) => return (jobs, false),
        }
        while jobs.jobs.len() < MAX_BATCH {
            match receiver.try_recv() {
                Ok(message) => self.take(message, &mut jobs),
                Err(_) => break,
            }
        }
        (jobs, true)
    }

    fn take(&mut self, message: Message, jobs: &mut Batch) {
        match message {
            Message::Job(job, writes) => {
                jobs.jobs.push(job);
                jobs.writes |= writes;
            }
            Message::Voucher(at, fence, voucher) => {
                self.since.get_or_insert_with(Instant::now);
                let cum = |stored: &StoredVoucher| stored.voucher.head().cum;
                let opens = voucher.voucher.head().flags.has(Flags::OPEN);
                match self.waiting.get_mut(&(at.0, at.1, opens)) {
                    Some(kept) if !opens && cum(&kept.1) > cum(&voucher) => kept.0 = kept.0.max(fence),
                    _ => {
                        self.waiting.insert((at.0, at.1, opens), (fence, *voucher));
                    }
                }
            }
        }
    }

    fn commit(&mut self, jobs: Batch) {
        let mut done = Vec::with_capacity(jobs.jobs.len());
        let result = self.write(jobs, &mut done);
        match &result {
            Ok(()) => {
                self.waiting.clear();
                self.since = None;
            }
            Err(error) => {
                tracing::error!(%error, "the counters could not be written");
                // The vouchers stay and are tried again with the next commit.
                self.since = (!self.waiting.is_empty()).then(Instant::now);
            }
        }
        for done in done {
            done(result.clone());
        }
    }

    fn write(&self, batch: Batch, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        {
            let mut tables = Tables::open(&transaction)?;
            for ((purchase, lane, _), (fence, voucher)) in &self.waiting {
                (self.keep)(&mut tables, (*purchase, *lane), *fence, voucher)?;
            }
            let mut broken = None;
            for job in batch.jobs {
                match job(&mut tables) {
                    Ok(tell) => done.push(tell),
                    Err(error) => broken = Some(error),
                }
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
        if !batch.writes && self.waiting.is_empty() {
            return transaction.abort().map_err(failed);
        }
        // Durable is the default of redb: the commit returns when the disk has it.
        transaction.commit().map_err(failed)
    }
}
