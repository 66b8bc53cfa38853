//! What a command says: text for people or one JSON object, and an exit code.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;

/// How a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

/// Something needed is missing, or the command was used wrongly: exit code 2 instead of 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    /// An error with exit code 2.
    pub(crate) fn environment(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

/// The command did what it should and found something bad: exit code 1, and everything was said already.
#[derive(Debug, thiserror::Error)]
#[error("something bad was found")]
pub(crate) struct Found;

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// The result: `value` as JSON, or `text`.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let line = if self.json { serde_json::to_string(value)? } else { text() };
        line_out(line.trim_end());
        Ok(())
    }

    /// Progress, for people only; on standard error, so that output can be piped.
    pub(crate) fn progress(&self, text: impl Display) {
        if !self.json {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A bar on a terminal; hidden elsewhere.
    pub(crate) fn bar(&self, length: u64, title: &str) -> indicatif::ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let style = indicatif::ProgressStyle::with_template("  {msg} {bar:32} {pos}/{len} {per_sec}");
        let bar = indicatif::ProgressBar::new(length).with_message(title.to_owned());
        style.map_or(bar.clone(), |style| bar.with_style(style))
    }

    /// Says why a command failed.
    pub(crate) fn fail(&self, error: &anyhow::Error) -> ExitCode {
        if error.downcast_ref::<Found>().is_some() {
            return ExitCode::from(1);
        }
        let code: u8 = if is_environment(error) { 2 } else { 1 };
        if self.json {
            failed_json(&reason(error), code);
        } else {
            let _ = writeln!(std::io::stderr(), "surety: {}", reason(error));
        }
        ExitCode::from(code)
    }
}

/// What a command says under --json when it failed.
pub(crate) fn failed_json(reason: &str, code: u8) {
    line_out(&serde_json::json!({"error": reason, "exit_code": code}).to_string());
}

/// Whether something is missing here, rather than refused elsewhere.
fn is_environment(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    error.downcast_ref::<Failure>().is_some()
        || error.chain().any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| matches!(error.kind(), NotFound | PermissionDenied))
        })
}

/// All causes in one line, each once: many a library's text repeats that of its cause.
fn reason(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

// A closed pipe is the reader's choice, not an error.
fn line_out(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Starts the log on standard error.
pub(crate) fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only the first start counts.
    let _ = format.try_init();
}
