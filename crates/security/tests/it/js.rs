//! The original libraries, from `tests/js`, run by node. Installed from npm when first needed; never part of a build.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// `tests/js` at the root of the repository.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js")
}

/// The folder of the installed package, or nothing (with a word why) when node or npm is missing.
///
/// With `SURETY_REQUIRE_NPM=1` a missing one is a failure and not a reason to skip.
pub(crate) fn package(name: &str) -> Option<PathBuf> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    if let Err(reason) = INSTALLED.get_or_init(install) {
        assert!(std::env::var_os("SURETY_REQUIRE_NPM").is_none_or(|value| value != "1"), "{reason}");
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    Some(folder().join("node_modules").join(name))
}

/// `npm ci` where the pinned packages are not there yet.
fn install() -> Result<(), String> {
    let lock = folder().join("package-lock.json");
    let installed = folder().join("node_modules/.package-lock.json");
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    if changed(&installed).is_some_and(|installed| Some(installed) >= changed(&lock)) {
        return Ok(());
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder())
        .output()
        .map_err(|error| format!("npm does not run: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("npm ci failed in tests/js: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Runs `node phishing.cjs` with these arguments and input; returns what it wrote.
pub(crate) fn phishing(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("node")
        .arg("phishing.cjs")
        .args(arguments)
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "phishing.cjs {arguments:?} failed");
    String::from_utf8(output.stdout).unwrap()
}
