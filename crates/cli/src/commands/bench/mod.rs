//! `surety bench`: what this machine can do, as ratios against a baseline measured in the same run.

mod access;
mod gateway;
mod ledger;
mod lists;
mod network;
mod restart;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use surety_primitives::hash::keccak;
use surety_primitives::wallet::AccountKey;

use super::lists::FOLDER;
use crate::output::Output;

/// Measures this machine. Run it in a release build, on an idle machine, and compare ratios rather than numbers.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure; everything if absent.
    #[arg(value_enum)]
    what: Option<What>,
    /// Rows of the state that the ledger runs on.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_600_000))]
    rows: u64,
    /// Transactions to run, or to send to the network.
    #[arg(long, default_value_t = 50_000)]
    transactions: u64,
    /// Buyers of the network's measurement: each sends the next purchase when the last is final.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=3_000))]
    buyers: u64,
    /// The folder of the lists that are measured.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Purchases that the ledger executes, signatures cached.
    Ledger,
    /// Checks of calls in process.
    Access,
    /// Purchases that four operators make final.
    Network,
    /// Restart time and memory of a node over a large state.
    Restart,
    /// Verdicts of the node gateway with local checks.
    Gateway,
    /// Memory of the lists in a folder, and checks of them; not part of everything.
    Lists,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: String,
    value: String,
    baseline: String,
    ratio: String,
}

impl Figure {
    fn new(name: &str, value: String, baseline: &str, ratio: f64) -> Self {
        Self { name: name.to_owned(), value, baseline: baseline.to_owned(), ratio: format!("{ratio:.2}") }
    }
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    if cfg!(debug_assertions) {
        output.progress("this is no release build: the figures mean little");
    }
    let asked = |what| arguments.what.is_none_or(|only| only == what);
    let mut figures = Vec::new();
    if asked(What::Access) {
        figures.extend(access::measure()?);
    }
    if asked(What::Gateway) {
        figures.extend(gateway::measure(output).await?);
    }
    if arguments.what == Some(What::Lists) {
        figures.extend(lists::measure(&arguments.folder, output)?);
    }
    if asked(What::Ledger) {
        output.progress(format_args!("building a state of {} rows", arguments.rows));
        figures.extend(ledger::measure(arguments.rows, arguments.transactions, output)?);
    }
    if asked(What::Network) {
        figures.extend(network::measure(arguments.transactions.max(arguments.buyers), arguments.buyers, output).await?);
    }
    if asked(What::Restart) {
        figures.extend(restart::measure(arguments.rows, output).await?);
    }
    let value: Value =
        json!({"figures": figures, "cores": std::thread::available_parallelism().map_or(1, usize::from)});
    output.result(&value, || table(&figures))
}

fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<52} {:>18} {:>8}  baseline\n", "figure", "value", "ratio");
    for figure in figures {
        text.push_str(&format!("{:<52} {:>18} {:>8}  {}\n", figure.name, figure.value, figure.ratio, figure.baseline));
    }
    text
}

/// Seconds that one signature recovery takes on one core: the baseline of most figures here.
fn recovery() -> f64 {
    let key = AccountKey::from_label("bench");
    let signed: Vec<_> = (0..2_000_u64)
        .map(|i| {
            let digest = keccak(&[&i.to_be_bytes()]);
            (digest, key.sign(&digest))
        })
        .collect();
    let start = Instant::now();
    let recovered = signed.iter().filter(|(digest, signature)| signature.recover(digest).is_ok()).count();
    start.elapsed().as_secs_f64() / recovered.max(1) as f64
}

/// The same with so many cores at work at once, per core.
fn recovery_on(cores: usize) -> f64 {
    let seconds: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(recovery)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| recovery())).sum()
    });
    seconds / cores as f64
}

/// Times `work` until it has run for a while; returns seconds per round.
fn time_rounds(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut rounds = 0_u32;
    while start.elapsed() < Duration::from_millis(800) {
        for _ in 0..64 {
            work();
        }
        rounds += 64;
    }
    start.elapsed().as_secs_f64() / f64::from(rounds)
}

fn rate(seconds: f64) -> String {
    let a_second = 1.0 / seconds;
    if a_second >= 1e6 { format!("{:.2} M/s", a_second / 1e6) } else { format!("{:.1} k/s", a_second / 1e3) }
}
