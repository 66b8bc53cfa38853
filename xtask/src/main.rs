//! Run the project's chores: tests, soak, vectors and benches.

mod step;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use step::{Step, has, root};

const HELP: &str = "\
The project's chores: cargo xtask <command>

  test [--strict]   everything that must hold; --strict also refuses warnings, bad formatting and dead doc links
  soak              what takes longer: 100 kill -9 rounds, 20 seeds for each simulated fault, a million calls, OpenAPI
                    fuzzing, the fuzz targets' types; needs cargo-nextest, schemathesis and a C++ compiler
  bench             the figures of docs/benchmarks.md that need no other program
  bench-peers       the figures that are ratios against other programs, in one run
  vectors           write the golden files in vectors/ anew (a change of a wire format)
  js                install the npm packages that tests and the demo compare with

Needs: Rust. Tests that compare with JavaScript libraries need Node and npm, and say so when these are missing.
The build folder is target/, or CARGO_TARGET_DIR.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test(false),
        ["test", "--strict"] => test(true),
        ["soak"] => soak(),
        ["bench"] => bench(),
        ["bench-peers"] => bench_peers(),
        ["vectors"] => vectors(),
        ["js"] => javascript(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("unknown command '{}'; `cargo xtask help` lists them", other.join(" ")),
    }
}

fn test(strict: bool) -> Result<()> {
    javascript()?;
    if strict {
        cargo("formatting").args(["fmt", "--all", "--check"]).run()?;
    }
    tests()?;
    if strict {
        cargo("lints").args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
        cargo("documentation").args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    }
    Ok(())
}

fn tests() -> Result<()> {
    if has("cargo-nextest") {
        return cargo("tests").args(["nextest", "run", "--workspace", "--no-fail-fast"]).run();
    }
    println!("cargo-nextest is not installed: running the same tests with cargo test");
    cargo("tests").args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]).run()
}

fn soak() -> Result<()> {
    // Said before the long tests, and not after them.
    for (tool, install) in
        [("cargo-nextest", "cargo install --locked cargo-nextest"), ("schemathesis", "pip install 'schemathesis==4.*'")]
    {
        if !has(tool) {
            bail!("the soak needs {tool}: `{install}`");
        }
    }
    fuzz_targets()?;
    javascript()?;
    cargo("release build").args(["build", "--release", "--bin", "surety"]).run()?;
    let nextest = ["nextest", "run", "--release", "--workspace", "--run-ignored", "all", "--no-fail-fast"];
    cargo("long tests").args(nextest).env("SURETY_SOAK", "1").env("SURETY_SEEDS", "20").run()?;
    schemathesis()
}

/// Checks the types of the fuzz targets, which no other step compiles: they are a workspace of their own, and take the versions
/// that everything else has.
fn fuzz_targets() -> Result<()> {
    let copied = std::fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"));
    copied.context("cannot copy Cargo.lock to fuzz/")?;
    cargo("fuzz targets").args(["check", "--manifest-path", "fuzz/Cargo.toml", "--all-targets"]).run()
}

/// Fuzzes a devnet's API from its OpenAPI document; any 5xx fails.
fn schemathesis() -> Result<()> {
    let network = step::Devnet::start(&root().join("target/soak-devnet"))?;
    let document = format!("{}/openapi.json", network.url());
    let checks = "not_a_server_error";
    Step::new("OpenAPI fuzzing", "schemathesis")
        .args(["--config-file", "tests/schemathesis.toml"])
        .dir(&root())
        .args(["run", &document, "--checks", checks, "--max-examples", "200", "--phases", "examples,coverage,fuzzing"])
        // A stream without an end is never an answer to the tool.
        .args(["--exclude-path", "/v1/events"])
        .run()
}

fn bench() -> Result<()> {
    for package in ["surety-primitives", "surety-evm", "surety-security", "surety-proxy"] {
        cargo(package).args(["bench", "--package", package]).run()?;
    }
    cargo("whole system").args(["run", "--release", "--bin", "surety", "--", "bench"]).run()
}

fn bench_peers() -> Result<()> {
    javascript()?;
    cargo("peers").args(["bench", "--package", "surety-sim", "--bench", "peers"]).run()
}

fn vectors() -> Result<()> {
    cargo("vectors").args(["test", "--workspace", "--lib", "--tests", "vectors"]).env("SURETY_WRITE_VECTORS", "1").run()
}

/// Installs the pinned npm packages once; without npm the tests that need them skip and say so.
fn javascript() -> Result<()> {
    let folder = root().join("tests/js");
    if !has("npm") || !has("node") {
        println!("Node and npm are not installed: tests that compare with JavaScript libraries will be skipped");
        return Ok(());
    }
    if is_fresh(&folder) {
        return Ok(());
    }
    Step::new("npm packages", "npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).dir(&folder).run()
}

/// Whether what is installed is what the lock file says.
fn is_fresh(folder: &Path) -> bool {
    let changed = |name: &str| folder.join(name).metadata().and_then(|data| data.modified()).ok();
    match (changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        (Some(installed), Some(locked)) => installed >= locked,
        _ => false,
    }
}

fn cargo(title: &str) -> Step {
    Step::new(title, &std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())).dir(&root())
}

/// Adds what was tried to an error.
fn trying<T>(result: std::io::Result<T>, what: &str) -> Result<T> {
    result.with_context(|| format!("cannot run {what}"))
}
