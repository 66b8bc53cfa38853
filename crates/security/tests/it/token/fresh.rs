//! The committed artifacts are what the sources give.

use std::process::Command;

use crate::js;

#[test]
fn artifacts_are_what_the_sources_give() {
    if js::package("solc").is_none() {
        return;
    }
    let output = Command::new("node").args(["compile.cjs", "--check"]).current_dir(js::folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
