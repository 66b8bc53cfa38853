//! Starts the binary, reads its JSON, ends what it started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary with these arguments, started in `folder`.
pub(crate) fn surety(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surety"));
    command.current_dir(folder).args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs to the end; returns the exit code and the JSON on standard output.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = surety(folder, arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
    let code = output.status.code().unwrap_or(-1);
    if value.is_null() {
        eprintln!("surety {arguments:?}: {code}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    (code, value)
}

/// Runs to the end, and it must work.
pub(crate) fn works(folder: &Path, arguments: &[&str]) -> Value {
    let (code, value) = run(folder, arguments);
    assert_eq!(code, 0, "surety {arguments:?}: {value}");
    value
}

/// A process that runs until this value is dropped.
pub(crate) struct Running {
    child: Child,
    /// What it said first.
    pub(crate) said: Value,
}

impl Running {
    /// Starts it and waits for its first line of JSON.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = surety(folder, arguments).arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("surety {arguments:?} said: {line}"));
        Self { child, said }
    }

    /// Starts it without waiting for a word.
    pub(crate) fn silent(folder: &Path, arguments: &[&str]) -> Self {
        Self { child: surety(folder, arguments).stdout(Stdio::null()).spawn().unwrap(), said: Value::Null }
    }

    /// Waits until it ends by itself, for so long.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let start = Instant::now();
        while !self.child.try_wait().is_ok_and(|status| status.is_some()) {
            assert!(start.elapsed() < limit, "a process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended is no more ours to signal: its number may be another's.
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        signal("TERM", self.child.id());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

/// The process that runs with this configuration file (Linux).
pub(crate) fn pid_of(config: &Path) -> Option<u32> {
    let wanted = config.to_str()?;
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        let named = arguments.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes());
        let running = named && arguments.split(|byte| *byte == 0).any(|part| part == b"node");
        running.then_some(pid)
    })
}

/// Tries until it holds.
pub(crate) fn eventually<T>(what: &str, seconds: u64, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A folder that is deleted at the end.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A free loopback address.
pub(crate) fn free() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Writes a file and returns its path.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The body of a plain `GET`.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {text}");
    body.to_owned()
}
