//! How long a node needs to be back over a large state, and what memory it takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use surety_ledger::params::Params;

use super::Figure;
use crate::devnet::{Layout, Plan, Supervisor};
use crate::output::Output;

pub(super) async fn measure(rows: u64, output: &Output) -> Result<Vec<Figure>> {
    let small = node(100, output).await?;
    let large = node(rows, output).await?;
    let base = "the same node over 100 rows";
    let seconds = |node: &Restarted| node.ready.as_secs_f64();
    Ok(vec![
        Figure::new(
            &format!("restart over {rows} rows"),
            format!("{:.1} s", seconds(&large)),
            base,
            seconds(&large) / seconds(&small),
        ),
        Figure::new(
            &format!("memory after it, {rows} rows"),
            format!("{} MB", large.resident_kb / 1_024),
            base,
            large.resident_kb as f64 / small.resident_kb.max(1) as f64,
        ),
    ])
}

struct Restarted {
    ready: Duration,
    resident_kb: u64,
}

/// One operator whose genesis has so many accounts: killed, and started again.
async fn node(rows: u64, output: &Output) -> Result<Restarted> {
    let folder = PathBuf::from(".surety/bench-restart");
    if Layout::exists(&folder) {
        std::fs::remove_dir_all(&folder).context("cannot delete the last bench's node")?;
    }
    output.progress(format_args!("one operator with {rows} accounts at genesis"));
    let accounts = (0..rows).map(|i| format!("row-{i}")).collect();
    let plan = Plan { folder, operators: 1, port: None, accounts, params: Params::default() };
    let mut network = Supervisor::start(Layout::create(&plan)?)?;
    network.ready(Duration::from_secs(600)).await?;
    network.kill(0).await?;
    let start = Instant::now();
    network.spawn(0)?;
    network.ready(Duration::from_secs(600)).await?;
    let ready = start.elapsed();
    let resident_kb = resident(network.pid(0).context("the operator runs")?)?;
    network.stop().await?;
    Ok(Restarted { ready, resident_kb })
}

/// Resident memory of a process in kB (Linux).
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("memory can be read on Linux only")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")
}
