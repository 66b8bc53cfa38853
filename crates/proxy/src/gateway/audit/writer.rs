//! The thread that brings lines to the disk, and the files that they are in.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use surety_primitives::Hash32;
use tokio::sync::watch;
use tracing::error;

use super::record::{self, Line};
use super::{AuditError, Head, Shared};

/// Most bytes of a line: twice what a record has, for its escapes.
pub(super) const MOST_LINE: u64 = 1 << 20;

/// The file that is being written.
pub(super) struct Current {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    bytes: u64,
    file_bytes: u64,
}

/// The files of a log in their order: each is named by the number of its first line.
pub(super) fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let failed = |source| AuditError::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(number) = number.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn file_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("audit-{first:020}.jsonl"))
}

/// The head of a folder's log, and its last file opened for more.
pub(super) fn resume(folder: &Path, file_bytes: u64) -> Result<(Head, Current), AuditError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AuditError::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let (head, path) = match files(folder)?.pop() {
        None => (Head::default(), file_of(folder, 1)),
        Some((first, path)) => {
            let (head, whole) = last_line(&path, first)?;
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(whole).and_then(|()| file.sync_all()))
                .map_err(failed(&path))?;
            (head, path)
        }
    };
    let current = Current::open(folder.to_owned(), path, file_bytes)?;
    Ok((head, current))
}

/// The last whole line of a file as a head, and the bytes up to its end. A file that a crash left without a whole line names
/// the line before it only by its first number: the chain then goes on from the file before.
fn last_line(path: &Path, first: u64) -> Result<(Head, u64), AuditError> {
    let failed = |source| AuditError::File { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut whole, mut count) = (0_u64, 0_usize);
    let mut last = None;
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if line.pop() != Some(b'\n') {
            break;
        }
        whole += read as u64;
        count += 1;
        last = Some(line);
    }
    let Some(line) = last else { return Ok((before(path, first)?, 0)) };
    let seq = serde_json::from_slice::<Line>(&line).map(|line| line.seq).map_err(|error| AuditError::Broken {
        path: path.to_owned(),
        line: count,
        reason: format!("this is no record: {error}"),
    })?;
    Ok((Head { seq, hash: record::hash(&line) }, whole))
}

/// The head at the end of the file before this one.
fn before(path: &Path, first: u64) -> Result<Head, AuditError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    match files(folder)?.into_iter().rev().find(|(number, _)| *number < first) {
        Some((number, path)) => last_line(&path, number).map(|(head, _)| head),
        None => Ok(Head { seq: first.saturating_sub(1), hash: Hash32::default() }),
    }
}

impl Current {
    fn open(folder: PathBuf, path: PathBuf, file_bytes: u64) -> Result<Self, AuditError> {
        let failed = |source| AuditError::File { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        // The file's name must outlive a crash, too.
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(Self { folder, path, file, bytes, file_bytes })
    }

    /// Appends whole lines, the first of which has this number, and syncs.
    fn append(&mut self, first: u64, lines: &[u8]) -> Result<(), AuditError> {
        if self.bytes > 0 && self.bytes.saturating_add(lines.len() as u64) > self.file_bytes {
            let path = file_of(&self.folder, first);
            *self = Self::open(self.folder.clone(), path, self.file_bytes)?;
        }
        self.file
            .write_all(lines)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| AuditError::File { path: self.path.clone(), source })?;
        self.bytes = self.bytes.saturating_add(lines.len() as u64);
        Ok(())
    }
}

/// Writes what was recorded until the log is dropped.
pub(super) fn run(shared: &Shared, mut current: Current, tell: &watch::Sender<u64>) {
    let mut written = *tell.borrow();
    loop {
        let mut state = shared.state();
        while state.waiting.is_empty() && !state.stop {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.waiting.is_empty() {
            return;
        }
        // What comes while the disk works on these shares the next sync.
        let (lines, head) = (std::mem::take(&mut state.waiting), state.head);
        drop(state);
        if let Err(failure) = current.append(written.saturating_add(1), &lines) {
            error!(%failure, "the audit log cannot be written: nothing more is forwarded");
            shared.state().failed = Some(failure.to_string());
            return;
        }
        written = head.seq;
        tell.send_replace(written);
    }
}
