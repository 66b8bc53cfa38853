//! How long a node needs to be back over a large state, and what memory it takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Figure, network};
use crate::output::Output;

/// Rows that a purchase adds to the state: itself and its sale.
const ROWS: u64 = 2;
/// Buyers at the same time.
const BUYERS: u64 = 500;
/// What a node is given to be back.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn measure(rows: u64, output: &Output) -> Result<Vec<Figure>> {
    let small = node(BUYERS, output).await?;
    let large = node(rows / ROWS, output).await?;
    let base = format!("the same node over {} rows", BUYERS * ROWS);
    let seconds = |node: &Restarted| node.ready.as_secs_f64();
    Ok(vec![
        Figure::new(
            &format!("restart over {rows} rows"),
            format!("{:.1} s", seconds(&large)),
            &base,
            seconds(&large) / seconds(&small),
        ),
        Figure::new(
            &format!("memory after it, {rows} rows"),
            format!("{} MB", large.resident_kb / 1_024),
            &base,
            large.resident_kb as f64 / small.resident_kb.max(1) as f64,
        ),
    ])
}

struct Restarted {
    ready: Duration,
    resident_kb: u64,
}

/// One operator on whose ledger so many packages were bought: killed, and started again.
async fn node(purchases: u64, output: &Output) -> Result<Restarted> {
    output.progress(format_args!("one operator, {purchases} purchases"));
    let mut operator = network::start("bench-restart", 1, BUYERS).await?;
    let urls = operator.layout().urls.clone();
    network::load(&urls, purchases.max(BUYERS), BUYERS, output).await?;
    operator.kill(0).await?;
    let start = Instant::now();
    operator.spawn(0)?;
    operator.ready(LIMIT).await?;
    let ready = start.elapsed();
    let resident_kb = resident(operator.pid(0).context("the operator runs")?)?;
    operator.stop().await?;
    Ok(Restarted { ready, resident_kb })
}

/// Resident memory of a process in kB (Linux).
pub(super) fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("memory can be read on Linux only")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")
}
