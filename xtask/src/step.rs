//! One external command, with its title and how long it took.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Whether a program can be started.
pub(crate) fn has(program: &str) -> bool {
    let quiet = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok()
}

/// One command to run to its end.
pub(crate) struct Step {
    title: String,
    command: Command,
}

impl Step {
    pub(crate) fn new(title: &str, program: &str) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self { title: title.to_owned(), command }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn run(mut self) -> Result<()> {
        println!("== {}", self.title);
        let start = Instant::now();
        let status = crate::trying(self.command.status(), &self.title)?;
        println!(
            "== {}: {} after {} s",
            self.title,
            if status.success() { "done" } else { "failed" },
            start.elapsed().as_secs()
        );
        if !status.success() {
            bail!("{} failed", self.title);
        }
        Ok(())
    }
}

/// A devnet that ends with this value.
pub(crate) struct Devnet {
    process: Child,
    url: String,
}

impl Devnet {
    /// Starts four operators in `folder` and waits until they answer.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = target().join("release/surety");
        let mut process = Command::new(program)
            .args(["devnet", "--reset", "--json", "--folder"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the devnet")?;
        let output = process.stdout.take().context("the devnet prints nothing")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let url = line.split('"').find(|word| word.starts_with("http://")).map(str::to_owned);
        let url = url.with_context(|| format!("the devnet did not say where it is: {line}"))?;
        Ok(Self { process, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // The supervisor ends its operators when it is asked to stop; a kill would leave them.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
