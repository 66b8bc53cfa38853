//! What stands beside the gateway in its measurement: a node that answers at once, and nginx before it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{Bytes, keccak256};
use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// A node that takes every transaction at once, so that the time of a request is the time of the way to it.
pub(super) struct Node {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    pub(super) async fn start(chain_id: u64) -> Result<Self> {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        let answer = move |State(chain_id): State<u64>, Json(request): Json<Value>| async move {
            Json(answer(&request, chain_id, &counter))
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/", post(answer)).with_state(chain_id);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the bench's node ended");
            }
        });
        Ok(Self { address, taken, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Transactions that arrived.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(request: &Value, chain_id: u64, taken: &AtomicU64) -> Value {
    let result = match request["method"].as_str() {
        Some("eth_sendRawTransaction") => {
            taken.fetch_add(1, Ordering::Relaxed);
            let raw: Bytes = request["params"][0].as_str().and_then(|raw| raw.parse().ok()).unwrap_or_default();
            keccak256(&raw).to_string()
        }
        Some("net_version") => chain_id.to_string(),
        _ => format!("{chain_id:#x}"),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

/// nginx as a plain proxy with connections kept open.
pub(super) struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// Nothing where it is not installed.
    pub(super) fn start(upstream: SocketAddr, folder: &Path) -> Result<Option<Self>> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration(upstream, address, folder))?;
        let run = |also: &[&str]| {
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(&file).arg("-e").arg(folder.join("nginx.log")).args(also);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if !run(&["-t"]).status().is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let child = run(&[]).spawn().context("cannot start nginx")?;
        let nginx = Self { child, address };
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Ok(Some(nginx));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        anyhow::bail!("nginx does not listen on {address}")
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed hard its one process ends at once; there is nothing to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(upstream: SocketAddr, address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n\
         {temporary}  access_log off;\n  keepalive_requests 1000000;\n\
         \x20 upstream node {{ server {upstream}; keepalive 64; }}\n\
         \x20 server {{\n    listen {address};\n    location / {{\n      proxy_pass http://node;\n\
         \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n"
    )
}

/// A wallet's one connection, without a scheduler: what it takes itself is hardly to be seen.
pub(super) struct Wallet {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Wallet {
    pub(super) fn connect(host: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("nobody listens on {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Posts JSON and gives the reply's body.
    pub(super) fn post(&mut self, body: &str) -> Result<String> {
        let (host, length) = (self.host, body.len());
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        );
        self.stream.get_mut().write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        while self.stream.read_line(&mut line)? > 2 {
            let field = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = field.map_or(Ok(length), |(_, value)| value.trim().parse())?;
            line.clear();
        }
        let mut reply = vec![0; length];
        self.stream.read_exact(&mut reply)?;
        String::from_utf8(reply).context("the reply is no text")
    }
}
