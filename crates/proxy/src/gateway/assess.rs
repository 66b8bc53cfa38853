//! Runs the checks on a submission: all at once, each under its deadline and all under one.
//!
//! Always true: every check leaves a finding, whatever it does; one that panics or never ends too.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::check::Check;
use super::metrics::Metrics;
use super::policy::{Policy, Vocabulary};
use super::subject::Subject;
use super::verdict::{Finding, Outcome};

/// The checks, and the threads of the heavy ones.
pub(crate) struct Assessor {
    checks: Vec<Arc<dyn Check>>,
    threads: Arc<Semaphore>,
    total: Duration,
}

/// A submission as checks see it.
#[derive(Clone, Debug)]
pub(crate) struct Assessed {
    pub(crate) subject: Arc<Subject>,
    /// What runs before it.
    pub(crate) before: Arc<Vec<Arc<Subject>>>,
}

impl Assessor {
    pub(crate) fn new(checks: Vec<Arc<dyn Check>>, heavy: usize, total: Duration) -> Self {
        Self { checks, threads: Arc::new(Semaphore::new(heavy)), total }
    }

    /// The names of the checks and what they fail by, for policies.
    pub(crate) fn vocabulary(checks: &[Arc<dyn Check>]) -> Vocabulary {
        let standard = Vocabulary::standard();
        checks.iter().fold(standard, |names, check| names.check(check.name(), check.failure()))
    }

    /// What all checks say, in their order, each within the policy's deadline.
    pub(crate) async fn assess(&self, assessed: &Assessed, metrics: &Metrics, policy: &Policy) -> Vec<Finding> {
        let began = Instant::now();
        let runs = self.checks.iter().map(|check| {
            let within = Duration::from_millis(policy.failure(check.name()).deadline_ms).min(self.total);
            self.run(check, assessed, within, metrics)
        });
        let findings = join_all(runs).await;
        metrics.assess_seconds.observe(began.elapsed().as_secs_f64());
        findings
    }

    async fn run(&self, check: &Arc<dyn Check>, assessed: &Assessed, within: Duration, metrics: &Metrics) -> Finding {
        let began = Instant::now();
        let run = async {
            if check.is_heavy() { self.on_thread(check, assessed).await } else { here(check, assessed).await }
        };
        let mut finding = match tokio::time::timeout(within, run).await {
            Ok(finding) => finding,
            Err(_) => Finding::timed_out(check.name()),
        };
        // A check cannot speak in another one's name: policies decide by names.
        check.name().clone_into(&mut finding.check);
        // A light check that computed past its deadline was late, though nobody could stop it.
        if began.elapsed() > within.saturating_mul(2) && !matches!(finding.outcome, Outcome::TimedOut) {
            tracing::warn!(check = check.name(), "a check held its thread beyond its deadline");
        }
        metrics.checked(&finding, began.elapsed());
        finding
    }

    /// On a thread of its own, so that what computes for long holds up nothing else.
    async fn on_thread(&self, check: &Arc<dyn Check>, assessed: &Assessed) -> Finding {
        let Ok(permit) = Arc::clone(&self.threads).acquire_owned().await else {
            return Finding::failed(check.name(), "the gateway ends");
        };
        let (its, seen, runtime) = (Arc::clone(check), assessed.clone(), Handle::current());
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            runtime.block_on(here(&its, &seen))
        });
        task.await.unwrap_or_else(|error| Finding::failed(check.name(), format!("the check broke: {error}")))
    }

    /// Whether everything that these findings rest on is still so.
    pub(crate) async fn still_holds(&self, findings: &[Finding]) -> bool {
        let looks = findings.iter().filter(|finding| !finding.reads.is_empty()).filter_map(|finding| {
            let check = self.checks.iter().find(|check| check.name() == finding.check)?;
            let within = Duration::from_millis(check.failure().deadline_ms).min(self.total);
            let look = AssertUnwindSafe(check.still_holds(finding)).catch_unwind();
            // What cannot be looked up in time may have changed.
            Some(async move { matches!(tokio::time::timeout(within, look).await, Ok(Ok(true))) })
        });
        join_all(looks).await.into_iter().all(|holds| holds)
    }
}

async fn here(check: &Arc<dyn Check>, assessed: &Assessed) -> Finding {
    // A panic may also come before there is a future.
    let assess = AssertUnwindSafe(async { check.assess(&assessed.subject, &assessed.before).await });
    assess.catch_unwind().await.unwrap_or_else(|_| Finding::failed(check.name(), "the check panicked"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::future::BoxFuture;

    use super::super::verdict::Failure;
    use super::*;

    struct Odd(&'static str, bool);

    impl Check for Odd {
        fn name(&self) -> &str {
            self.0
        }

        fn assess<'a>(&'a self, _: &'a Subject, _: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
            assert_ne!(self.0, "panics before", "on purpose");
            Box::pin(async {
                match self.0 {
                    "panics" => panic!("on purpose"),
                    "sleeps" => std::future::pending().await,
                    "spins" => std::thread::sleep(Duration::from_secs(3)),
                    _ => {}
                }
                Finding::passed("another")
            })
        }

        fn still_holds<'a>(&'a self, _: &'a Finding) -> BoxFuture<'a, bool> {
            Box::pin(std::future::ready(true))
        }

        fn failure(&self) -> Failure {
            Failure { deadline_ms: 1_000, ..Failure::LOCAL }
        }

        fn is_heavy(&self) -> bool {
            self.1
        }
    }

    #[tokio::test]
    async fn a_check_that_breaks_or_never_ends_leaves_a_finding_and_holds_up_nobody() {
        let odd = [Odd("fine", false), Odd("panics", false), Odd("panics before", true), Odd("sleeps", false)];
        let mut checks: Vec<Arc<dyn Check>> = odd.into_iter().map(|check| Arc::new(check) as Arc<dyn Check>).collect();
        checks.push(Arc::new(Odd("spins", true)));
        let policy = Policy::load_with("", &Assessor::vocabulary(&checks)).unwrap();
        let assessor = Assessor::new(checks, 4, Duration::from_secs(1));
        let subject = Subject::Message { signer: None, message: Default::default() };
        let assessed = Assessed { subject: Arc::new(subject), before: Arc::new(Vec::new()) };
        let began = Instant::now();
        let findings = assessor.assess(&assessed, &Metrics::new(), &policy).await;
        assert!(began.elapsed() < Duration::from_millis(2_500));
        let words: Vec<_> = findings.iter().map(|finding| (finding.check.as_str(), finding.outcome.word())).collect();
        let expected = [
            ("fine", "passed"),
            ("panics", "failed"),
            ("panics before", "failed"),
            ("sleeps", "timeout"),
            ("spins", "timeout"),
        ];
        assert_eq!(words, expected);
    }
}
