#![allow(clippy::unwrap_used)]

use alloy_primitives::B256;
use proptest::prelude::*;
use surety_primitives::Hash32;

use super::super::policy::{Decision, PolicyHash};
use super::super::verdict::{Finding, Verdict};
use super::*;

fn entry(n: u64) -> Entry {
    let finding = Finding::hit("decode", Verdict::Warn, "approve.unlimited", "unlimited");
    Entry {
        client: "ana".to_owned(),
        method: "eth_sendRawTransaction".to_owned(),
        tx_hash: Some(B256::repeat_byte(1)),
        decision: Some(Decision { verdict: Verdict::Warn, ..Decision::default() }),
        findings: vec![(&finding).into()],
        upstream: Some(UpstreamAnswer { upstream: "one".to_owned(), ok: true, answer: "0x01".to_owned(), micros: 9 }),
        ..Entry::new("submitted", n, PolicyHash(Hash32([5; 32])))
    }
}

fn filled(lines: u64, file_bytes: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), file_bytes).unwrap();
    for n in 1..=lines {
        assert_eq!(audit.record(&entry(n)).unwrap(), n);
    }
    folder
}

fn only_file(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn what_was_waited_for_is_on_disk_and_the_chain_holds() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), FILE_BYTES).unwrap();
    for n in 1..=20 {
        audit.record(&entry(n)).unwrap();
    }
    audit.durable(20).await.unwrap();
    let intact = verify(folder.path()).unwrap();
    assert_eq!((intact.lines, intact.head, intact.torn), (20, audit.head(), 0));
}

#[test]
fn a_removed_changed_or_moved_line_shows() {
    let folder = filled(10, FILE_BYTES);
    let path = only_file(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: Vec<String>| {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        verify(folder.path())
    };
    let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(with(own(&lines)).is_ok());
    let mut removed = own(&lines);
    removed.remove(4);
    assert!(matches!(with(removed), Err(AuditError::Broken { line: 5, .. })));
    let mut changed = own(&lines);
    changed[4] = changed[4].replace("unlimited", "harmless");
    assert!(matches!(with(changed), Err(AuditError::Broken { line: 6, .. })));
    let mut moved = own(&lines);
    moved.swap(4, 5);
    assert!(with(moved).is_err());
    let renumbered: Vec<_> = lines[1..].iter().map(|line| (*line).to_owned()).collect();
    assert!(with(renumbered).is_err(), "the first line is gone");
}

#[test]
fn a_cut_off_end_shows_to_whoever_kept_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), FILE_BYTES).unwrap();
    for n in 1..=5 {
        audit.record(&entry(n)).unwrap();
    }
    let head = audit.head();
    drop(audit);
    let path = only_file(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let cut = text.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(&path, cut).unwrap();
    assert_ne!(verify(folder.path()).unwrap().head, head);
}

#[test]
fn it_goes_on_after_a_restart_and_after_a_crash_within_a_line() {
    let folder = filled(3, FILE_BYTES);
    let path = only_file(folder.path());
    let mut text = std::fs::read(&path).unwrap();
    let torn = b"{\"seq\":4,\"prev\":\"00";
    text.extend_from_slice(torn);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(verify(folder.path()).unwrap().torn, torn.len() as u64);
    let audit = Audit::open(folder.path(), FILE_BYTES).unwrap();
    assert_eq!(audit.record(&entry(4)).unwrap(), 4);
    drop(audit);
    let intact = verify(folder.path()).unwrap();
    assert_eq!((intact.lines, intact.torn), (4, 0));
}

#[test]
fn files_are_rotated_by_size_and_the_chain_crosses_them() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..=12 {
        let audit = Audit::open(folder.path(), 1_500).unwrap();
        audit.record(&entry(n)).unwrap();
    }
    let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    assert_eq!(verify(folder.path()).unwrap().lines, 12);
    // A crash may leave a new file without a whole line.
    let next = folder.path().join(format!("audit-{:020}.jsonl", 13));
    std::fs::write(&next, "{\"seq\"").unwrap();
    assert_eq!(Audit::open(folder.path(), 1_500).unwrap().record(&entry(13)).unwrap(), 13);
    assert_eq!(verify(folder.path()).unwrap().lines, 13);
    // Old files may be archived; one in the middle may not.
    std::fs::remove_file(&files[0]).unwrap();
    let rest = verify(folder.path()).unwrap();
    assert_eq!(rest.first + rest.lines, 14);
    std::fs::remove_file(&files[2]).unwrap();
    assert!(verify(folder.path()).is_err());
}

#[test]
fn a_record_is_bounded_whatever_the_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), FILE_BYTES).unwrap();
    let mut long = entry(1);
    long.client = "x".repeat(1 << 20);
    long.findings[0].evidence = vec![serde_json::json!({ "data": "\u{1}".repeat(1 << 18) })];
    long.upstream.as_mut().unwrap().answer = "\"".repeat(1 << 20);
    audit.record(&long).unwrap();
    let talkative = FindingRecord { message: "x".repeat(1_000), evidence: Vec::new(), ..long.findings[0].clone() };
    let many = Entry { findings: vec![talkative; 1_000], ..entry(2) };
    audit.record(&many).unwrap();
    drop(audit);
    assert_eq!(verify(folder.path()).unwrap().lines, 2);
    assert!(std::fs::metadata(only_file(folder.path())).unwrap().len() < 100_000);
}

#[test]
fn a_log_that_cannot_be_written_records_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), 200).unwrap();
    audit.record(&entry(1)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    // The next line needs a new file, and its name is taken by a folder.
    std::fs::create_dir(folder.path().join(format!("audit-{:020}.jsonl", 2))).unwrap();
    audit.record(&entry(2)).unwrap();
    for _ in 0..100 {
        if let Err(error) = audit.record(&entry(3)) {
            assert!(matches!(error, AuditError::Stopped(_)), "{error}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it went on");
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("audit-{:020}.jsonl", 1)), &bytes).unwrap();
        let _ = verify(folder.path());
        let _ = Audit::open(folder.path(), FILE_BYTES);
    }
}
