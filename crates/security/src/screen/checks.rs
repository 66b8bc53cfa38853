//! One verdict from many checks: the worst wins, and what is unknown is said.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::envelope::{Reason, raw};
use crate::rules::{Judgement, Risk, Severity};

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    #[default]
    Allow,
    /// The user should be told.
    Warn,
    /// It should wait for a second look.
    Quarantine,
    /// It should not happen.
    Block,
}

impl From<Severity> for Verdict {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Note => Self::Allow,
            Severity::Warn => Self::Warn,
            Severity::Quarantine => Self::Quarantine,
            Severity::Block => Self::Block,
        }
    }
}

impl Verdict {
    /// The status of a task that ended so: 0 ok, 3 block, 4 quarantine, 5 warn.
    pub const fn status(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Warn => 5,
            Self::Quarantine => 4,
            Self::Block => 3,
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran to its end and found nothing.
    Passed,
    /// It found something.
    Unsafe,
    /// It could not be told.
    Unknown,
    /// What it needs did not come in time.
    Timeout,
}

/// One check and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What it asks for by itself.
    pub severity: Verdict,
    /// How long it may take, in milliseconds.
    pub ms_budget: u64,
    /// The rules that apply, each with its facts.
    pub evidence: Vec<Box<RawValue>>,
    /// The rules that could not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<&'static str>,
    /// Why it could not be told, where that is one reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Weight of what was found, 0 to 10,000.
    #[serde(skip)]
    pub(crate) weight: u32,
}

/// Which rules make which check, by the first part of their ids, and the check's time in milliseconds.
pub(crate) const FAMILIES: [(&str, &[&str], u64); 3] = [
    ("decode", &["decode", "sign"], 1),
    ("rules", &["approve", "delegate", "drain", "poison", "deploy", "nonce", "fee", "chain"], 1),
    ("simulation", &["diff", "env"], 50),
];

impl Check {
    /// A check that ran: unsafe where something was found, unknown where only some of it could run.
    pub(crate) fn ran(name: &'static str, ms_budget: u64, risks: &[&Risk], unknown: Vec<&'static str>) -> Self {
        let severity = risks.iter().map(|risk| Verdict::from(risk.severity)).max().unwrap_or_default();
        let outcome = match (severity, unknown.is_empty()) {
            (Verdict::Allow, true) => Outcome::Passed,
            (Verdict::Allow, false) => Outcome::Unknown,
            _ => Outcome::Unsafe,
        };
        Self {
            name,
            outcome,
            severity,
            ms_budget,
            evidence: risks.iter().map(raw).collect(),
            unknown,
            reason: None,
            weight: risks.iter().fold(0, |score, risk| join(score, weight(risk.severity))),
        }
    }

    /// A check that could not run. That is never clean: it warns.
    pub(crate) const fn missing(name: &'static str, ms_budget: u64, reason: Reason) -> Self {
        let outcome = match reason {
            Reason::Deadline => Outcome::Timeout,
            _ => Outcome::Unknown,
        };
        Self {
            name,
            outcome,
            severity: Verdict::Warn,
            ms_budget,
            evidence: Vec::new(),
            unknown: Vec::new(),
            reason: Some(reason),
            weight: weight(Severity::Warn),
        }
    }
}

/// The checks that a judgement fills, without those that `missing` names.
pub(crate) fn of(judgement: &Judgement, simulated: Result<(), Reason>) -> Vec<Check> {
    let family = |id: &str, prefixes: &[&str]| prefixes.contains(&id.split('.').next().unwrap_or_default());
    let checks = FAMILIES.iter().map(|(name, prefixes, ms_budget)| {
        let risks: Vec<&Risk> = judgement.risks.iter().filter(|risk| family(risk.id, prefixes)).collect();
        let unknown: Vec<&str> = judgement.unknown.iter().copied().filter(|id| family(id, prefixes)).collect();
        match simulated {
            Err(reason) if *name == "simulation" => match risks.is_empty() {
                true => Check::missing(name, *ms_budget, reason),
                // Something was found in what is known, and the rest is still not known.
                false => Check { reason: Some(reason), ..Check::ran(name, *ms_budget, &risks, unknown) },
            },
            _ => Check::ran(name, *ms_budget, &risks, unknown),
        }
    });
    checks.collect()
}

/// How much one finding weighs, of 10,000.
const fn weight(severity: Severity) -> u32 {
    match severity {
        Severity::Note => 200,
        Severity::Warn => 2_000,
        Severity::Quarantine => 6_000,
        Severity::Block => 9_500,
    }
}

/// Two weights together: what the first leaves open, the second fills in its share of. Rounds down.
const fn join(one: u32, other: u32) -> u32 {
    one + (10_000 - one) * other / 10_000
}

/// Everything together.
#[derive(Clone, Debug, Serialize)]
pub struct Screened {
    /// Code of the task: 0 ok, 1 timeout, 3 block, 4 quarantine, 5 warn.
    pub status: u8,
    /// The worst check.
    pub verdict: Verdict,
    /// 0 to 10,000.
    pub risk_score: u32,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Screened {
    /// Takes the worst of the checks.
    pub fn of(checks: Vec<Check>) -> Self {
        let verdict = checks.iter().map(|check| check.severity).max().unwrap_or_default();
        let late = checks.iter().any(|check| check.outcome == Outcome::Timeout);
        let status = if late && verdict <= Verdict::Warn { 1 } else { verdict.status() };
        let risk_score = checks.iter().fold(0, |score, check| join(score, check.weight));
        Self { status, verdict, risk_score, checks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risk(severity: Severity) -> Risk {
        Risk { id: "approve.listed", severity, message: String::new(), evidence: Vec::new() }
    }

    #[test]
    fn the_worst_check_wins_and_unknown_is_never_clean() {
        let passed = || Check::ran("rules", 1, &[], Vec::new());
        let screened = Screened::of(vec![passed()]);
        assert_eq!((screened.status, screened.verdict, screened.risk_score), (0, Verdict::Allow, 0));
        let late = Screened::of(vec![passed(), Check::missing("simulation", 50, Reason::Deadline)]);
        assert_eq!((late.status, late.verdict), (1, Verdict::Warn));
        let blocked = [risk(Severity::Block), risk(Severity::Warn)];
        let blocked = Check::ran("rules", 1, &blocked.iter().collect::<Vec<_>>(), Vec::new());
        let screened = Screened::of(vec![passed(), blocked, Check::missing("simulation", 50, Reason::Deadline)]);
        assert_eq!((screened.status, screened.verdict), (3, Verdict::Block));
        assert!(screened.risk_score > 9_500 && screened.risk_score <= 10_000);
        let unknown = Screened::of(vec![Check::missing("lists", 1, Reason::ListMissing)]);
        assert_eq!((unknown.status, unknown.verdict), (5, Verdict::Warn));
    }
}
