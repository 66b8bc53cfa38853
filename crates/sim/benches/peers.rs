//! Ratios against other programs, both measured in one run on one machine.
//!
//! `cargo xtask bench-peers`, or `cargo bench -p surety-sim --bench peers`. Needs node and the packages of `tests/js`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use surety_security::phishing::compat::{Configs, Detector};

/// Names that no list has: the case that costs most.
fn unknown() -> Vec<String> {
    (0..3_000_u64)
        .map(|i| format!("{}-{i}.example-{}.org", ["shop", "news", "mail", "forum"][(i % 4) as usize], i % 97))
        .collect()
}

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js");
    let package = folder.join("node_modules/eth-phishing-detect/src/config.json");
    ensure!(package.is_file(), "the JavaScript packages are missing: run `cargo xtask js` first");
    let configs = Configs::from_json(&std::fs::read(&package)?)?;
    let detector = Detector::new(configs.clone());
    let listed: Vec<String> = configs.list.iter().flat_map(|config| config.block.iter().step_by(5).cloned()).collect();
    println!("{:<28} {:>14} {:>14} {:>8}", "phishing check", "surety", "javascript", "ratio");
    for (name, hosts) in [("unknown names", unknown()), ("listed names", listed)] {
        let (ours, theirs) = (surety(&detector, &hosts), javascript(&folder, &hosts)?);
        println!("{name:<28} {:>11.0} ns {:>11.0} ns {:>8.0}", ours, theirs, theirs / ours);
    }
    Ok(())
}

/// Nanoseconds a check, in this process.
fn surety(detector: &Detector, hosts: &[String]) -> f64 {
    let mut found = 0_usize;
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed().as_millis() < 500 {
        found += hosts.iter().filter(|host| detector.check(host).is_phishing()).count();
        rounds += 1;
    }
    std::hint::black_box(found);
    start.elapsed().as_nanos() as f64 / (f64::from(rounds) * hosts.len() as f64)
}

/// Nanoseconds a check, in node, of the calls alone.
fn javascript(folder: &Path, hosts: &[String]) -> Result<f64> {
    let mut child = Command::new("node")
        .args(["phishing.cjs", "time"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node cannot be started")?;
    let mut input = child.stdin.take().context("node reads its input")?;
    let lines: String = hosts.iter().map(|host| format!("{}\n", serde_json::json!(host))).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    let written = writer.join();
    ensure!(output.status.success() && matches!(written, Ok(Ok(()))), "node failed");
    let timed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| timed[name].as_f64().with_context(|| format!("node did not say {name}"));
    Ok(number("nanoseconds")? / number("checks")?)
}
