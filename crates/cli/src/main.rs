//! The one binary: every role of Surety from the command line.

mod commands;
mod devnet;
mod files;
mod gather;
mod guard;
mod output;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Failure, Output};

/// Nodes and sidecars make many short-lived objects on several threads: that is what this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signed answers with money behind them.
///
/// A network of operators on which API providers sell guaranteed answers. Try `surety demo` first: the whole story in
/// under a minute. `surety devnet` starts a network to play with; every other command then finds it by itself.
#[derive(Debug, Parser)]
#[command(name = "surety", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 refused or not as it should be; 2 used wrongly, or something needed is missing."
)]
struct Cli {
    /// Print one JSON object instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    /// Say more on standard error; twice for everything. RUST_LOG is honoured as well.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole story on an embedded network: sell, call, kill, prove, pay, check.
    Demo(commands::demo::Arguments),
    /// Four operators on this machine, to play with.
    Devnet(commands::devnet::Arguments),
    /// One operator's node.
    Node(commands::node::Arguments),
    /// Account keys in an encrypted keystore.
    #[command(subcommand)]
    Keys(commands::keys::Command),
    /// Search what is on offer.
    Services(commands::services::Arguments),
    /// A provider's side: register, stake, list services, serve the built-in ones.
    #[command(subcommand)]
    Provider(commands::provider::Command),
    /// Buy a package of calls.
    Buy(commands::buy::Arguments),
    /// Make paid calls, and acknowledge the answers.
    Call(commands::call::Arguments),
    /// A reverse proxy before any HTTP API that checks, meters, signs and claims.
    Sidecar(commands::sidecar::Arguments),
    /// Claim what consumers signed for, release what is mature, settle what has ended.
    #[command(subcommand)]
    Claim(commands::claim::Command),
    /// Build, publish and show lists.
    #[command(subcommand)]
    Lists(commands::lists::Command),
    /// Prove a wrong answer.
    #[command(subcommand)]
    Evidence(commands::evidence::Command),
    /// Check a receipt, an answer or a grant offline, with the reason when it fails.
    #[command(subcommand)]
    Verify(commands::verify::Command),
    /// Ask the security services here and now: a token, an address, a URL, a transaction, an owner's approvals.
    #[command(subcommand)]
    Check(commands::check::Command),
    /// A firewall before an Ethereum node.
    Gateway(Box<commands::gateway::Arguments>),
    /// A small EVM chain, to try things on.
    Devchain(commands::devchain::Arguments),
    /// Why a purchase was refused, how a fee was split.
    #[command(subcommand)]
    Explain(commands::explain::Command),
    /// Measure this machine.
    Bench(commands::bench::Arguments),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            if code != 0 && std::env::args().any(|argument| argument == "--json") {
                output::failed_json(error.to_string().trim_end(), code);
            } else {
                // Nobody is left to tell when standard error is closed.
                let _ = error.print();
            }
            return ExitCode::from(code);
        }
    };
    output::start_log(cli.verbose);
    let output = Output::new(cli.json);
    match run(cli.command, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}

fn run(command: Command, output: &Output) -> anyhow::Result<()> {
    // The node brings its own runtime.
    if let Command::Node(arguments) = command {
        return commands::node::run(arguments);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::environment)?;
    runtime.block_on(async {
        match command {
            Command::Demo(arguments) => commands::demo::run(arguments, output).await,
            Command::Devnet(arguments) => commands::devnet::run(arguments, output).await,
            Command::Node(_) => unreachable!("handled above"),
            Command::Keys(command) => commands::keys::run(command, output),
            Command::Services(arguments) => commands::services::run(arguments, output).await,
            Command::Provider(command) => commands::provider::run(command, output).await,
            Command::Buy(arguments) => commands::buy::run(arguments, output).await,
            Command::Call(arguments) => commands::call::run(arguments, output).await,
            Command::Sidecar(arguments) => commands::sidecar::run(arguments, output).await,
            Command::Claim(command) => commands::claim::run(command, output).await,
            Command::Lists(command) => commands::lists::run(command, output).await,
            Command::Evidence(command) => commands::evidence::run(command, output).await,
            Command::Verify(command) => commands::verify::run(command, output),
            Command::Check(command) => commands::check::run(command, output).await,
            Command::Gateway(arguments) => commands::gateway::run(*arguments, output).await,
            Command::Devchain(arguments) => commands::devchain::run(arguments, output).await,
            Command::Explain(command) => commands::explain::run(command, output).await,
            Command::Bench(arguments) => commands::bench::run(arguments, output).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_command_contradicts_itself() {
        super::Cli::command().debug_assert();
    }
}
