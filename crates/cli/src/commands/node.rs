//! `surety node`: one operator's process.

use std::path::PathBuf;

use anyhow::{Context, Result};
use surety_node::NodeConfig;

use crate::output::Failure;

/// Runs one node until it is told to stop (Ctrl-C, SIGTERM).
///
/// Any part that fails ends the process with code 1: start it again under a supervisor, a restart from disk is safe. A
/// seat whose folder was lost only follows, for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "A configuration to begin with is what `surety devnet` writes: .surety/devnet/node-0/node.toml")]
pub(crate) struct Arguments {
    /// The configuration file (TOML).
    #[arg(long)]
    config: PathBuf,
    /// End when standard input closes, so that nothing outlives a supervisor.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let config = NodeConfig::load(&arguments.config).map_err(Failure::environment)?;
    let supervised = arguments.supervised;
    surety_node::serve::run(config, async move { asked_to_stop(supervised).await }).context("the node ended")
}

pub(crate) async fn asked_to_stop(supervised: bool) {
    if !supervised {
        return super::devnet::stopped().await;
    }
    tokio::select! {
        () = super::devnet::stopped() => {}
        () = input_closed() => {}
    }
}

async fn input_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    // Reading a pipe blocks, and nothing may wait for that at the end: a thread of its own.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let _ = wait.await;
}
