//! Operator processes: started, watched, ended.
//!
//! A child ends by itself when its standard input closes, so that nothing is left when the supervisor is killed.

use std::fs::{File, OpenOptions};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use surety_client::{Client, Options};
use tokio::process::{Child, Command};

use super::layout::Layout;

/// How long a node may take to end before it is killed.
const STOPPING: Duration = Duration::from_secs(15);

/// One that ends sooner than this after its start has a trouble that another start alone may not end.
const SOON: Duration = Duration::from_secs(5);
/// One that ran for so long is well again.
const WELL: Duration = Duration::from_secs(30);
/// So often is such a one started again.
const PATIENCE: u32 = 10;
/// The pause before another start: doubled with each such end, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The processes of a devnet.
pub(crate) struct Supervisor {
    layout: Layout,
    operators: Vec<Operator>,
    _lock: File,
}

#[derive(Default)]
struct Operator {
    child: Option<Child>,
    started: Option<Instant>,
    /// How often it ended soon since it was last well.
    failures: u32,
    /// When it is started again, having ended by itself.
    due: Option<Instant>,
}

impl Supervisor {
    /// Starts every operator.
    pub(crate) fn start(layout: Layout) -> Result<Self> {
        let lock = Layout::lock(&layout.folder)?;
        let operators = layout.configs.iter().map(|_| Operator::default()).collect();
        let mut network = Self { operators, layout, _lock: lock };
        for i in 0..network.operators.len() {
            network.spawn(i)?;
        }
        Ok(network)
    }

    /// Where everything is.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts operator `i`; its log is appended to.
    pub(crate) fn spawn(&mut self, i: usize) -> Result<()> {
        let program = std::env::current_exe().context("this program's own file is unknown")?;
        let path = self.layout.log(i);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let child = Command::new(program)
            .args(["node", "--supervised", "--config"])
            .arg(&self.layout.configs[i])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start an operator")?;
        let operator = &mut self.operators[i];
        (operator.child, operator.started, operator.due) = (Some(child), Some(Instant::now()), None);
        Ok(())
    }

    /// The process id of operator `i`, if it runs.
    pub(crate) fn pid(&self, i: usize) -> Option<u32> {
        self.operators.get(i)?.child.as_ref()?.id()
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self, i: usize) -> Result<()> {
        let Some(mut child) = self.operators[i].child.take() else { bail!("operator {i} does not run") };
        child.kill().await.context("cannot kill an operator")
    }

    /// Starts again whoever ended, later and later if it ends again and again; returns who was started.
    pub(crate) fn revive(&mut self) -> Result<Vec<usize>> {
        let mut started = Vec::new();
        for i in 0..self.operators.len() {
            self.bury(i)?;
            if self.operators[i].due.is_some_and(|due| due <= Instant::now()) {
                self.spawn(i)?;
                started.push(i);
            }
        }
        Ok(started)
    }

    /// Notes that operator `i` has ended, and when it is to be started again.
    fn bury(&mut self, i: usize) -> Result<()> {
        let log = self.layout.log(i);
        let operator = &mut self.operators[i];
        let Some(child) = operator.child.as_mut() else { return Ok(()) };
        if child.try_wait().context("cannot watch an operator")?.is_none() {
            return Ok(());
        }
        operator.child = None;
        operator.failures = match operator.started.map(|started| started.elapsed()) {
            Some(ran) if ran < SOON => operator.failures + 1,
            Some(ran) if ran < WELL => operator.failures,
            _ => 0,
        };
        if operator.failures > PATIENCE {
            bail!("operator {i} ends again and again: see {}", log.display());
        }
        operator.due = Some(Instant::now() + LONGEST_PAUSE.min(PAUSE * (1 << operator.failures)));
        Ok(())
    }

    /// Waits until every operator answers and a block after the genesis is final.
    pub(crate) async fn ready(&mut self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        for i in 0..self.operators.len() {
            while !self.answers(i).await {
                self.still_runs(i)?;
                if start.elapsed() > limit {
                    bail!("operator {i} did not answer in {} s: see {}", limit.as_secs(), self.layout.log(i).display());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // Whoever answered there, it was to be this one.
            self.still_runs(i)?;
        }
        Ok(())
    }

    async fn answers(&self, i: usize) -> bool {
        let url = [self.layout.urls[i].as_str()];
        let Ok(client) = Client::new(&url, Options { rounds: 1, ..Options::default() }) else { return false };
        client.finalized().await.is_ok_and(|latest| latest.header.height.0 >= 1)
    }

    fn still_runs(&mut self, i: usize) -> Result<()> {
        let Some(child) = self.operators[i].child.as_mut() else { return Ok(()) };
        if let Some(status) = child.try_wait().context("cannot watch an operator")? {
            bail!("operator {i} ended ({status}): see {}", self.layout.log(i).display());
        }
        Ok(())
    }

    /// Asks every operator to end, and waits.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let mut children: Vec<Child> = self.operators.iter_mut().filter_map(|operator| operator.child.take()).collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        for mut child in children {
            if tokio::time::timeout(STOPPING, child.wait()).await.is_err() {
                child.kill().await.context("cannot end an operator")?;
            }
        }
        Ok(())
    }
}
