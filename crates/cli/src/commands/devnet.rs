//! `surety devnet`: four operators under a supervisor.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use surety_ledger::params::Params;

use crate::devnet::{ACCOUNTS, DEFAULT_FOLDER, Layout, NETWORK, Plan, Supervisor};
use crate::output::{Failure, Output};

/// Starts operators as processes of their own and keeps them running: one that ends is started again.
///
/// Everything lies in one folder; started again, the network goes on where it was. The accounts `provider`, `consumer`,
/// `reporter` and `faucet` hold 1,000,000 CALL each; name them `dev:provider` and so on wherever an account is asked for.
/// Their keys are public: use nothing of a devnet elsewhere.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  surety devnet --port 8600        # API at http://127.0.0.1:8600 to :8603\n  surety services                  # in another terminal, the same folder"
)]
pub(crate) struct Arguments {
    /// Where the network lies.
    #[arg(long, default_value = DEFAULT_FOLDER)]
    folder: PathBuf,
    /// How many operators, 1 to 64.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    operators: u64,
    /// First port of the HTTP APIs, one an operator [default: free ones].
    #[arg(long)]
    port: Option<u16>,
    /// Delete what is in the folder and begin anew.
    #[arg(long)]
    reset: bool,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let start = Instant::now();
    let layout = prepare(&arguments)?;
    let mut network = Supervisor::start(layout)?;
    network.ready(Duration::from_secs(60)).await?;
    let layout = network.layout().clone();
    let seconds = start.elapsed().as_secs_f32();
    let value = json!({"urls": layout.urls, "folder": layout.folder, "network": NETWORK, "accounts": ACCOUNTS});
    output.result(&value, || {
        let apis: Vec<String> = layout.urls.iter().map(|url| format!("  {url}")).collect();
        format!(
            "{} operators are ready after {seconds:.1} s:\n{}\nEnd with Ctrl-C.",
            layout.urls.len(),
            apis.join("\n")
        )
    })?;
    watch(&mut network, output).await?;
    network.stop().await
}

fn prepare(arguments: &Arguments) -> Result<Layout> {
    let folder = &arguments.folder;
    if arguments.reset && Layout::is_begun(folder) {
        drop(Layout::lock(folder)?);
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    if Layout::exists(folder) {
        return Layout::load(folder);
    }
    let occupied = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        let reason = format!("{} is not empty and holds no devnet: name another folder", folder.display());
        return Err(Failure::environment(reason).into());
    }
    let operators = usize::try_from(arguments.operators).context("too many operators")?;
    Layout::create(&Plan {
        folder: folder.clone(),
        operators,
        port: arguments.port,
        accounts: Vec::new(),
        params: Params::default(),
    })
}

/// Starts again whoever ends, until somebody asks to stop.
async fn watch(network: &mut Supervisor, output: &Output) -> Result<()> {
    let stop = stopped();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                for operator in network.revive()? {
                    output.progress(format_args!("operator {operator} ended and was started again"));
                }
            }
        }
    }
}

/// Resolves at Ctrl-C or SIGTERM.
pub(crate) async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
