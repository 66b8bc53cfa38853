//! The caller's log: an append-only file of what its lanes used and what it accepted.
//!
//! Each entry stands in the file before it has an effect. A torn last entry, as a crash or a full disk leaves it, is cut
//! off; anything else that cannot be read is an error, because evidence would be missing. One process at a time writes:
//! two would use the same numbers.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use borsh::{BorshDeserialize, BorshSerialize};
use surety_ledger::market::state::Shown;
use surety_primitives::access::LaneState;
use surety_primitives::answer::SignedAnswer;
use surety_primitives::answer::claims::Claims;
use surety_primitives::{Hash32, Lane, PurchaseId, codec, hash};

use crate::error::Error;

/// Numbers of a lane that are set aside at a time, so that not every call waits for the disk.
pub(super) const RESERVE: u64 = 1_024;
/// Most bytes of an entry: an Answer, its claims, and what frames them.
const MAX_ENTRY: usize = 16 * 1_024;
/// Most calls of a lane whose lost replies are asked for again.
const ASKED_MOST: usize = 4_096;
/// Bytes before an entry: its length and a checksum.
const FRAME: usize = 8;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Entry {
    /// Whose log this is: the first entry.
    Begin {
        /// The purchase.
        purchase: PurchaseId,
    },
    /// Numbers up to `ceiling` may be in use.
    Reserved {
        /// The lane.
        lane: Lane,
        /// The highest of them.
        ceiling: u64,
    },
    /// A reply with a tag was accepted.
    Tagged {
        /// The lane.
        lane: Lane,
        /// The call's number.
        seq: u64,
        /// Calls acknowledged from here on.
        cum: u64,
        /// The HTTP status.
        status: u16,
    },
    /// A signed Answer was accepted.
    Answered {
        /// Calls of its lane acknowledged from here on.
        cum: u64,
        /// The Answer with what opens it.
        answer: Box<LoggedAnswer>,
    },
    /// A call was made: its reply may be lost.
    Asked {
        /// The lane.
        lane: Lane,
        /// The call's number.
        seq: u64,
        /// Its request hash.
        request: Hash32,
    },
    /// A signed Answer whose reply was lost was handed out again and accepted, without its body and claims.
    Recovered {
        /// Calls of its lane acknowledged from here on.
        cum: u64,
        /// The Answer.
        signed: Box<SignedAnswer>,
    },
    /// A reply came and was not accepted: its call stays unacknowledged.
    Rejected {
        /// The lane.
        lane: Lane,
        /// The call's number.
        seq: u64,
    },
}

/// A signed Answer with what evidence needs besides.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LoggedAnswer {
    /// The Answer.
    pub signed: SignedAnswer,
    /// BLAKE3 of the reply's body.
    pub body: Hash32,
    /// The claims that it commits to.
    pub claims: Claims,
}

/// Calls of a lane that a provider shows and this side did not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The lane.
    pub lane: Lane,
    /// How many of the shown calls are accepted, at least the opening one.
    pub accepted: u64,
}

/// What the entries so far say.
#[derive(Debug, Default)]
struct Told {
    lanes: BTreeMap<Lane, LaneState>,
    /// Calls without an accepted reply, of each lane the newest [`ASKED_MOST`], with their request hashes.
    asked: BTreeMap<Lane, BTreeMap<u64, Hash32>>,
    /// Replies that came.
    received: u64,
    /// Replies that were lost and accepted all the same.
    recovered: u64,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Bytes that are whole entries.
    whole: u64,
    /// An entry was written in part, and could not be cut off.
    torn: bool,
    told: Told,
}

impl Log {
    /// Opens the log of a purchase, or begins it.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::LogInUse`]; [`Error::Malformed`] when it is another purchase's, or damaged before its end.
    pub fn open(path: &Path, purchase: PurchaseId) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| file_error(path, source))?;
        // The lock ends with the file, so with the process, however that ends.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::LogInUse { path: path.display().to_string() },
            TryLockError::Error(source) => file_error(path, source),
        })?;
        let mut told = Told::default();
        let mut owner = None;
        let end = read_entries(path, &mut file, |entry| match entry {
            Entry::Begin { purchase } => owner = Some(purchase),
            other => told.note(&other),
        })?;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::End(0))).map_err(|source| file_error(path, source))?;
        let mut log = Self { path: path.to_owned(), file, whole: end, torn: false, told };
        match owner {
            Some(owner) if owner != purchase => Err(malformed(path, format!("it belongs to purchase {owner}"))),
            Some(_) => Ok(log),
            None => {
                log.append(&Entry::Begin { purchase })?;
                log.sync()?;
                Ok(log)
            }
        }
    }

    /// Where a lane goes on: above every number that may have been used.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> LaneState {
        self.told.lanes.get(&lane).copied().unwrap_or_default()
    }

    /// Calls of a lane that nothing was accepted for, by number, with their request hashes.
    pub(super) fn asked(&self, lane: Lane) -> BTreeMap<u64, Hash32> {
        self.told.asked.get(&lane).cloned().unwrap_or_default()
    }

    /// Whether nothing was accepted for this call yet.
    pub(super) fn is_asked(&self, lane: Lane, seq: u64) -> bool {
        self.told.asked.get(&lane).is_some_and(|asked| asked.contains_key(&seq))
    }

    /// Replies that came, and lost ones that were accepted all the same.
    pub(super) const fn received_and_recovered(&self) -> (u64, u64) {
        (self.told.received, self.told.recovered)
    }

    /// The provider refused this call: no reply to it is lost.
    pub(super) fn forget(&mut self, lane: Lane, seq: u64) {
        self.told.answered(lane, seq);
    }

    /// Sets the next numbers of a lane aside, on disk.
    pub(super) fn reserve(&mut self, lane: Lane, from: u64) -> Result<u64, Error> {
        let ceiling = from.saturating_add(RESERVE);
        self.append(&Entry::Reserved { lane, ceiling })?;
        self.sync()?;
        Ok(ceiling)
    }

    /// Writes an entry, whole or not at all. It survives the end of this process at once, that of the machine after [`Self::sync`].
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        let bytes = codec::encode(entry);
        let mut frame = Vec::with_capacity(FRAME.saturating_add(bytes.len()));
        frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(&checksum(&bytes));
        frame.extend_from_slice(&bytes);
        self.write(&frame).map_err(|source| file_error(&self.path, source))?;
        self.told.note(entry);
        Ok(())
    }

    // What follows a torn entry could not be read: evidence would be lost.
    fn write(&mut self, frame: &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.file.set_len(self.whole)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(frame) {
            self.torn = self.file.set_len(self.whole).is_err();
            return Err(error);
        }
        self.whole = self.whole.saturating_add(frame.len() as u64);
        Ok(())
    }

    /// Waits until all entries are on disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| file_error(&self.path, source))
    }

    /// Every accepted Answer of a log, in order.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn answers(path: &Path) -> Result<Vec<LoggedAnswer>, Error> {
        let mut answers = Vec::new();
        let mut file = File::open(path).map_err(|source| file_error(path, source))?;
        read_entries(path, &mut file, |entry| {
            if let Entry::Answered { answer, .. } = entry {
                answers.push(*answer);
            }
        })?;
        Ok(answers)
    }

    /// What of the calls that a provider shows this side never accepted: to be contested within 48 h (`market.md` B6.4).
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn objections(path: &Path, shown: &Shown) -> Result<Vec<Objection>, Error> {
        let mut told = Told::default();
        let mut file = File::open(path).map_err(|source| file_error(path, source))?;
        read_entries(path, &mut file, |entry| told.note(&entry))?;
        let objection = |entry: &surety_ledger::market::state::ShownLane| {
            let ours = told.lanes.get(&entry.lane).map_or(0, |lane| lane.cum);
            // The opening call is signed, so that it counts as use whatever came back (B6).
            let accepted = ours.saturating_sub(entry.from_cum).max(1);
            (entry.accepted.is_none() && accepted < entry.count).then_some(Objection { lane: entry.lane, accepted })
        };
        Ok(shown.entries.iter().filter_map(objection).collect())
    }
}

impl Told {
    /// What an entry says of its lane.
    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Begin { .. } => {}
            Entry::Reserved { lane, ceiling } => self.reach(*lane, *ceiling, 0),
            Entry::Asked { lane, seq, request } => self.ask(*lane, *seq, *request),
            Entry::Rejected { lane, seq } => self.answered(*lane, *seq),
            Entry::Tagged { lane, seq, cum, .. } => {
                self.received = self.received.saturating_add(1);
                self.accept(*lane, *seq, *cum);
            }
            Entry::Answered { cum, answer } => {
                self.received = self.received.saturating_add(1);
                self.accept_answer(&answer.signed, *cum);
            }
            Entry::Recovered { cum, signed } => {
                self.recovered = self.recovered.saturating_add(1);
                self.accept_answer(signed, *cum);
            }
        }
    }

    fn reach(&mut self, lane: Lane, seq: u64, cum: u64) {
        let state = self.lanes.entry(lane).or_default();
        state.seq = state.seq.max(seq);
        state.cum = state.cum.max(cum);
        // Whether the last acknowledgement arrived is not known: the next call is signed again.
        state.signed_seq = 0;
    }

    fn ask(&mut self, lane: Lane, seq: u64, request: Hash32) {
        let asked = self.asked.entry(lane).or_default();
        asked.insert(seq, request);
        if asked.len() > ASKED_MOST {
            asked.pop_first();
        }
    }

    fn answered(&mut self, lane: Lane, seq: u64) {
        self.asked.get_mut(&lane).map(|asked| asked.remove(&seq));
    }

    fn accept(&mut self, lane: Lane, seq: u64, cum: u64) {
        self.answered(lane, seq);
        self.reach(lane, seq, cum);
    }

    fn accept_answer(&mut self, signed: &SignedAnswer, cum: u64) {
        if let Some(call) = signed.answer.call {
            self.accept(call.lane, call.seq, cum);
        }
    }
}

/// Reads entries up to the end or a torn last one; returns the bytes that are whole.
fn read_entries(path: &Path, file: &mut File, mut each: impl FnMut(Entry)) -> Result<u64, Error> {
    let length = file.metadata().map_err(|source| file_error(path, source))?.len();
    file.seek(SeekFrom::Start(0)).map_err(|source| file_error(path, source))?;
    let mut reader = BufReader::new(file);
    let mut whole = 0_u64;
    loop {
        let mut frame = [0; FRAME];
        if length.saturating_sub(whole) < FRAME as u64 {
            return Ok(whole);
        }
        reader.read_exact(&mut frame).map_err(|source| file_error(path, source))?;
        let [a, b, c, d, sum @ ..] = frame;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let next = whole.saturating_add((FRAME as u64).saturating_add(size as u64));
        if next > length {
            // The file ends inside this entry: it was being written when the process ended.
            return if size <= MAX_ENTRY {
                Ok(whole)
            } else {
                Err(malformed(path, format!("damaged at byte {whole}")))
            };
        }
        let mut bytes = vec![0; size];
        reader.read_exact(&mut bytes).map_err(|source| file_error(path, source))?;
        let entry = codec::decode::<Entry>(&bytes, MAX_ENTRY).ok().filter(|_| checksum(&bytes) == sum);
        match entry {
            Some(entry) => each(entry),
            None if next == length => return Ok(whole),
            None => return Err(malformed(path, format!("damaged at byte {whole}"))),
        }
        whole = next;
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let sum = hash::h("surety/caller/log/v1", &[bytes]);
    [sum.0[0], sum.0[1], sum.0[2], sum.0[3]]
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Malformed { url: path.display().to_string(), reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use surety_ledger::market::state::ShownLane;

    use super::*;

    const ID: PurchaseId = PurchaseId([7; 16]);

    fn tagged(seq: u64, cum: u64) -> Entry {
        Entry::Tagged { lane: Lane(3), seq, cum, status: 200 }
    }

    fn path() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.log");
        (folder, path)
    }

    #[test]
    fn a_lane_goes_on_above_every_number_that_may_have_been_used() {
        let (_folder, path) = path();
        let mut log = Log::open(&path, ID).unwrap();
        assert_eq!(log.lane(Lane(3)), LaneState::default());
        log.reserve(Lane(3), 0).unwrap();
        log.append(&tagged(1, 1)).unwrap();
        drop(log);
        let log = Log::open(&path, ID).unwrap();
        assert_eq!(log.lane(Lane(3)), LaneState { seq: RESERVE, cum: 1, signed_seq: 0 });
        assert_eq!(log.lane(Lane(4)), LaneState::default());
        drop(log);
        assert!(matches!(Log::open(&path, PurchaseId([8; 16])), Err(Error::Malformed { .. })));
    }

    #[test]
    fn a_torn_last_entry_is_cut_off_wherever_it_is_torn() {
        let (_folder, path) = path();
        let mut log = Log::open(&path, ID).unwrap();
        log.append(&tagged(1, 1)).unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        let mut log = Log::open(&path, ID).unwrap();
        log.append(&tagged(2, 2)).unwrap();
        drop(log);
        let full = std::fs::read(&path).unwrap();
        for cut in whole.len()..full.len() {
            std::fs::write(&path, &full[..cut]).unwrap();
            assert_eq!(Log::open(&path, ID).unwrap().lane(Lane(3)).cum, 1, "cut at {cut}");
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn what_follows_a_failed_write_can_be_read() {
        let (_folder, path) = path();
        let mut log = Log::open(&path, ID).unwrap();
        log.append(&tagged(1, 1)).unwrap();
        // A disk that is full in the middle of an entry: some bytes are there, and nothing can be written or cut off.
        let writable = std::mem::replace(&mut log.file, File::open(&path).unwrap());
        (&writable).write_all(&[0, 0, 0, 40, 1, 2, 3, 4, 5, 6]).unwrap();
        assert!(matches!(log.append(&tagged(2, 2)), Err(Error::File { .. })));
        log.file = writable;
        log.append(&tagged(3, 2)).unwrap();
        log.append(&tagged(4, 3)).unwrap();
        drop(log);
        let log = Log::open(&path, ID).unwrap();
        assert_eq!(log.lane(Lane(3)), LaneState { seq: 4, cum: 3, signed_seq: 0 });
    }

    #[test]
    fn a_log_has_one_writer() {
        let (_folder, path) = path();
        let log = Log::open(&path, ID).unwrap();
        let error = Log::open(&path, ID).unwrap_err();
        assert_eq!(error.code(), "client-log-in-use", "{error}");
        assert_eq!(Log::answers(&path).unwrap(), []);
        drop(log);
        Log::open(&path, ID).unwrap();
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let (_folder, path) = path();
        let mut log = Log::open(&path, ID).unwrap();
        log.append(&tagged(1, 1)).unwrap();
        log.append(&tagged(2, 2)).unwrap();
        drop(log);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Log::open(&path, ID), Err(Error::Malformed { .. })));
    }

    #[test]
    fn what_was_shown_and_never_accepted_is_contested() {
        let (_folder, path) = path();
        let mut log = Log::open(&path, ID).unwrap();
        log.append(&tagged(5, 5)).unwrap();
        let shown = |from_cum, count, accepted| Shown {
            entries: vec![ShownLane {
                lane: Lane(3),
                from_cum,
                count,
                root: Hash32::default(),
                lane_key: surety_primitives::typed_data::Bytes32::default(),
                accepted,
            }],
        };
        let objections = |shown| Log::objections(&path, &shown).unwrap();
        assert_eq!(objections(shown(3, 2, None)), []);
        assert_eq!(objections(shown(3, 8, None)), [Objection { lane: Lane(3), accepted: 2 }]);
        assert_eq!(objections(shown(5, 4, None)), [Objection { lane: Lane(3), accepted: 1 }]);
        assert_eq!(objections(shown(3, 8, Some(2))), []);
    }
}
