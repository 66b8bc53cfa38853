//! The repository's own rules, read from its files.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that one file of code may have, tests apart: one concept fits.
const LONGEST_FILE: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file of the workspace with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources were not found");
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Whether Cargo finds the file by itself.
fn is_target(path: &Path) -> bool {
    path.components().any(|part| ["benches", "examples", "bin"].iter().any(|folder| part.as_os_str() == *folder))
}

#[test]
fn no_file_is_too_long_to_be_one_concept() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| !is_test(path) && text.lines().count() > LONGEST_FILE)
        .map(|(path, text)| (path, text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| !path.ends_with("tests.rs") && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    // Split, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("unimple", "mented!(")];
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)))
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_file_of_a_crate_is_a_module_of_it() {
    let sources = sources();
    let is_declared = |path: &Path| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let declaration = [format!("mod {stem};"), format!("mod {stem} {{")];
        let folder = path.parent().unwrap();
        let parents =
            [folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs"), folder.with_extension("rs")];
        let near = sources.iter().filter(|(other, _)| parents.contains(other));
        near.into_iter().any(|(_, text)| declaration.iter().any(|words| text.contains(words)))
    };
    let roots = ["lib.rs", "main.rs", "mod.rs", "build.rs"];
    let dead: Vec<_> = sources
        .iter()
        .map(|(path, _)| path)
        .filter(|path| !roots.iter().any(|name| path.ends_with(name)) && !is_target(path))
        .filter(|path| !is_declared(path))
        .collect();
    assert!(dead.is_empty(), "{dead:?}");
}

#[test]
fn the_ledger_has_no_clock_no_hash_order_and_no_engine() {
    let banned = [
        "HashMap",
        "HashSet",
        "SystemTime",
        "Instant",
        "commonware",
        "tokio",
        "f64",
        "f32",
        "println!",
        "rand",
        "fs",
        "TcpStream",
        "async",
        "tracing",
        "log",
    ];
    let names = |text: &str, word: &str| {
        text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
            line.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '!')
                .any(|name| name == word)
        })
    };
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.to_str().unwrap().contains("crates/ledger/src"))
        .filter_map(|(path, text)| banned.iter().find(|word| names(&text, word)).map(|word| (path, *word)))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_crate_says_one_sentence_in_its_manifest_and_in_its_code() {
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let sentence =
            manifest.lines().find_map(|line| line.strip_prefix("description = \"")).unwrap().trim_end_matches('"');
        let code =
            ["src/lib.rs", "src/main.rs"].iter().find_map(|file| fs::read_to_string(folder.join(file)).ok()).unwrap();
        assert_eq!(code.lines().next().unwrap(), format!("//! {sentence}"), "{}", folder.display());
        let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        assert!(map.contains(sentence), "ARCHITECTURE.md does not say: {sentence}");
    }
}
