//! Whether a log is whole: every line follows from the one before.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use surety_primitives::Hash32;

use super::record::{self, Line};
use super::writer::{MOST_LINE, files};
use super::{AuditError, Head};

/// A log that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intact {
    /// The number of its first line: 1, unless old files were archived.
    pub first: u64,
    /// Its lines.
    pub lines: u64,
    /// Its last line.
    pub head: Head,
    /// Bytes after the last whole line: a record that a crash cut in half.
    pub torn: u64,
}

/// Reads the whole log of a folder. Files taken away from the front are no fault; the chain then begins with the first line
/// that is there.
///
/// # Errors
/// [`AuditError::Broken`] with the first line that does not follow, [`AuditError::File`].
pub fn verify(folder: &Path) -> Result<Intact, AuditError> {
    let files = files(folder)?;
    let mut intact = Intact { first: 1, lines: 0, head: Head::default(), torn: 0 };
    let last = files.len().saturating_sub(1);
    for (count, (number, path)) in files.iter().enumerate() {
        if intact.lines == 0 && *number > 1 {
            intact.first = *number;
            intact.head.seq = number.saturating_sub(1);
        }
        read(path, &mut intact, count == last)?;
    }
    Ok(intact)
}

fn read(path: &Path, intact: &mut Intact, is_last: bool) -> Result<(), AuditError> {
    let failed = |source| AuditError::File { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    for number in 1.. {
        let broken = |reason: String| AuditError::Broken { path: path.to_owned(), line: number, reason };
        let mut line = Vec::new();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        if line.pop() != Some(b'\n') {
            if !is_last || read as u64 == MOST_LINE {
                return Err(broken("the line has no end".to_owned()));
            }
            intact.torn = read as u64;
            break;
        }
        let parsed: Line =
            serde_json::from_slice(&line).map_err(|error| broken(format!("this is no record: {error}")))?;
        follow(intact, &parsed).map_err(broken)?;
        intact.head = Head { seq: parsed.seq, hash: record::hash(&line) };
        intact.lines = intact.lines.saturating_add(1);
    }
    Ok(())
}

fn follow(intact: &Intact, line: &Line) -> Result<(), String> {
    let expected = intact.head.seq.saturating_add(1);
    if line.seq != expected {
        return Err(format!("number {} stands where {expected} belongs: lines are missing or moved", line.seq));
    }
    let is_archived = intact.lines == 0 && intact.first > 1;
    if !is_archived && line.prev != intact.head.hash {
        let before = if intact.head.hash == Hash32::default() { "nothing" } else { "the line before" };
        return Err(format!("it does not follow from {before}: that one was changed or replaced"));
    }
    Ok(())
}
