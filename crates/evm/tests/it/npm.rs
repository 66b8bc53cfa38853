//! Contracts and the second EVM from the npm packages of `tests/js`; used by tests, never part of a build.

use std::path::{Path, PathBuf};
use std::process::Command;

use alloy_primitives::{Bytes, hex};
use serde_json::Value;

/// `tests/js` at the root of the repository.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js")
}

/// The folder of an installed package, or nothing (with a word why) when it is not there.
///
/// With `SURETY_REQUIRE_NPM=1` a missing one is a failure and not a reason to skip.
pub(crate) fn package(name: &str) -> Option<PathBuf> {
    let path = folder().join("node_modules").join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("SURETY_REQUIRE_NPM").is_some_and(|value| value == "1");
    assert!(!required, "{name} is not installed in tests/js");
    eprintln!("SKIPPED: {name} is not installed in tests/js");
    None
}

/// The init code in an artifact, such as `@uniswap/v2-core/build/ERC20.json`.
pub(crate) fn init_code(path: &str) -> Option<Vec<u8>> {
    let artifact = std::fs::read(package(path)?).unwrap();
    let artifact: Value = serde_json::from_slice(&artifact).unwrap();
    let code = artifact["bytecode"].as_str().or_else(|| artifact["evm"]["bytecode"]["object"].as_str()).unwrap();
    Some(hex::decode(code).unwrap())
}

/// What a script of `tests/js` writes.
pub(crate) fn run(script: &str) -> Bytes {
    let output = Command::new("node").arg(script).current_dir(folder()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout.into()
}
