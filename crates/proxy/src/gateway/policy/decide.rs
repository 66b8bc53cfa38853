//! From facts and findings to one decision.
//!
//! Findings come first, each with what its failure rules make of it. Then the rules in their order, down to the first one that
//! allows: the worst of all these voices counts. A rule that allows can set findings aside, by naming them in `lifts`.
//!
//! Always true: a rule that does not allow never makes a verdict better; what sanctions lists say stands above all rules.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::verdict::{Failure, Finding, Outcome, SANCTIONS, Verdict};
use super::expression::{Slot, Trouble};
use super::facts::Facts;
use super::file::Release;
use super::{Policy, Rule};

/// What stands for a check where a rule of the policy is the cause.
const POLICY: &str = "policy";

/// A finding or a rule that counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The check; `policy` for a rule of the policy.
    pub check: String,
    /// The rule that it hit, or that is the cause; empty when a check did not come to an end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// What it comes to.
    pub verdict: Verdict,
}

/// A rule on trial that would have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    /// The rule.
    pub rule: String,
    /// What it would have come to.
    pub verdict: Verdict,
}

/// What happens to a submission, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// What would happen if the whole policy were not on trial.
    pub found: Verdict,
    /// Who has the word: a rule's id, a finding's rule or `check:<name>`, `evaluation:<rule>`; empty when nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// What a wallet shows; empty when there is nothing to show.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Findings that are not plain passes and were not set aside, in the order of the checks; then rules that hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Rules on trial that held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<DryRun>,
    /// How it may leave if it is held.
    #[serde(default)]
    pub release: Release,
}

impl Decision {
    /// The checks and rules that an override must name: everything that holds it.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        let held = |cause: &&Cause| cause.verdict >= Verdict::Quarantine;
        let mut names: Vec<String> = self.causes.iter().filter(held).map(Cause::name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a check found something that blocks it and that no rule set aside.
    #[must_use]
    pub fn is_blocked_by_check(&self) -> bool {
        let blocks = |cause: &Cause| cause.verdict == Verdict::Block && cause.check != POLICY && !cause.rule.is_empty();
        self.causes.iter().any(blocks)
    }

    /// Whether something that was found blocks it, and not only a check or a rule that came to no end: these may yet pass.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.causes.iter().any(|cause| cause.verdict == Verdict::Block && !cause.rule.is_empty())
    }
}

impl Cause {
    /// Its name in overrides and records: the rule's id, or `check:<name>` of a check that hit none.
    #[must_use]
    pub fn name(&self) -> String {
        if self.rule.is_empty() { format!("check:{}", self.check) } else { self.rule.clone() }
    }
}

/// What a walk over the rules came to.
#[derive(Default)]
struct Walk<'p> {
    /// Rules that hold; an allowing one is the last.
    held: Vec<&'p Rule>,
    trouble: Option<(&'p Rule, Trouble)>,
    dry_run: Vec<DryRun>,
}

impl Policy {
    /// Decides on a submission.
    #[must_use]
    pub fn decide(&self, facts: &Facts, findings: &[Finding]) -> Decision {
        self.decide_overridden(facts, findings, &[])
    }

    /// Decides on a submission that was held and is released by somebody who took responsibility for these holders (see
    /// [`Decision::holders`]): they count as warnings. Whatever else is found counts in full, and so does every block.
    #[must_use]
    pub fn decide_overridden(&self, facts: &Facts, findings: &[Finding], overridden: &[String]) -> Decision {
        let is_below = facts.stake().is_some_and(|stake| stake < self.value_limit());
        let slots = facts.slots(&self.used, findings);
        let walk = self.walk(&slots);
        if let Some((rule, trouble)) = walk.trouble {
            return self.broken(rule, trouble, walk.dry_run, findings, is_below);
        }
        let lifts = walk.held.last().map_or(&[][..], |rule| rule.lifts.as_slice());
        let causes = self.causes(findings, is_below, lifts);
        let reduced = |name: &str, verdict: Verdict| {
            let is_overridden = verdict == Verdict::Quarantine && overridden.iter().any(|other| other == name);
            if is_overridden { Verdict::Warn } else { verdict }
        };
        let mut decision = Decision { release: Release::ANY, dry_run: walk.dry_run, ..Decision::default() };
        for (cause, release) in &causes {
            let name = cause.name();
            decision.take(&name, reduced(&name, cause.verdict), *release);
        }
        for rule in &walk.held {
            decision.take(&rule.id, reduced(&rule.id, rule.then), rule.release);
        }
        if let (Verdict::Allow, Some(rule)) = (decision.verdict, walk.held.last()) {
            decision.rule.clone_from(&rule.id);
        }
        decision.message = message(&walk.held, &decision, findings);
        decision.causes = causes.into_iter().map(|(cause, _)| cause).collect();
        let rules = walk.held.iter().filter(|rule| rule.then > Verdict::Allow);
        decision.causes.extend(rules.map(|rule| Cause {
            check: POLICY.to_owned(),
            rule: rule.id.clone(),
            verdict: rule.then,
        }));
        self.enforce(decision)
    }

    /// The rules that hold, with those on trial apart. A rule without a value ends the walk.
    fn walk(&self, slots: &[Option<Cow<'_, super::Fact>>]) -> Walk<'_> {
        let mut walk = Walk::default();
        for rule in &self.rules {
            match rule.condition.holds(slots) {
                Ok(false) => {}
                Ok(true) if rule.dry_run => walk.dry_run.push(rule.on_trial(rule.then)),
                Err(_) if rule.dry_run => walk.dry_run.push(rule.on_trial(Verdict::Block)),
                Ok(true) => {
                    walk.held.push(rule);
                    if rule.then == Verdict::Allow {
                        break;
                    }
                }
                Err(trouble) => {
                    walk.trouble = Some((rule, trouble));
                    break;
                }
            }
        }
        walk
    }

    /// Findings that are not plain passes, with what they come to and how they let go.
    fn causes(&self, findings: &[Finding], is_below: bool, lifts: &[String]) -> Vec<(Cause, Release)> {
        let mut causes = Vec::new();
        for finding in findings {
            let check = self.check(&finding.check);
            let failure = if finding.check == SANCTIONS { Failure::SANCTIONS } else { check.failure };
            let mut verdict = failure.verdict(&finding.outcome, is_below);
            if finding.check == SANCTIONS && !finding.outcome.passed() {
                verdict = Verdict::Block;
            }
            if finding.outcome.passed() || (finding.check != SANCTIONS && is_lifted(finding, lifts)) {
                continue;
            }
            let rule = if matches!(finding.outcome, Outcome::Unsafe { .. } | Outcome::Disagreed { .. }) {
                finding.rule.clone()
            } else {
                String::new()
            };
            causes.push((Cause { check: finding.check.clone(), rule, verdict }, check.release));
        }
        let is_missing = |name: &str| !findings.iter().any(|finding| finding.check == name);
        for (name, check) in self.checks.iter().filter(|(name, check)| check.required && is_missing(name)) {
            let verdict = if name == SANCTIONS { Verdict::Block } else { check.failure.on_error.verdict(is_below) };
            causes.push((Cause { check: name.clone(), rule: String::new(), verdict }, check.release));
        }
        causes
    }

    /// A rule had no value: it blocks, for nobody knows what it would have said.
    fn broken(
        &self,
        rule: &Rule,
        trouble: Trouble,
        dry_run: Vec<DryRun>,
        findings: &[Finding],
        is_below: bool,
    ) -> Decision {
        let reason = match trouble {
            Trouble::Absent(Slot(place)) => {
                let name = self.used.get(place).map_or("a fact", |(name, _)| name.as_str());
                format!("{name} is not known of this submission")
            }
            Trouble::Range => "a number does not fit".to_owned(),
            Trouble::Type => "a fact has another type than its name promises".to_owned(),
        };
        let causes = self.causes(findings, is_below, &[]).into_iter().map(|(cause, _)| cause).collect();
        self.enforce(Decision {
            verdict: Verdict::Block,
            found: Verdict::Block,
            rule: format!("evaluation:{}", rule.id),
            message: format!("rule {} could not be evaluated: {reason}", rule.id),
            causes,
            dry_run,
            release: Release::default(),
        })
    }

    /// With the whole policy on trial everything is forwarded, except what sanctions lists say.
    fn enforce(&self, mut decision: Decision) -> Decision {
        decision.found = decision.verdict;
        let is_sanctioned =
            decision.causes.iter().any(|cause| cause.check == SANCTIONS && cause.verdict == Verdict::Block);
        if self.dry_run && !is_sanctioned {
            decision.verdict = decision.verdict.min(Verdict::Warn);
        }
        if decision.found != Verdict::Quarantine {
            decision.release = Release::default();
        }
        decision
    }
}

impl Decision {
    /// Takes one more voice: the worst has the word, the first of equals; what holds narrows how it may leave.
    fn take(&mut self, name: &str, verdict: Verdict, release: Release) {
        if verdict > self.verdict {
            self.verdict = verdict;
            name.clone_into(&mut self.rule);
        }
        if verdict >= Verdict::Quarantine {
            self.release = self.release.and(release);
        }
    }
}

impl Rule {
    fn on_trial(&self, verdict: Verdict) -> DryRun {
        DryRun { rule: self.id.clone(), verdict }
    }
}

/// The words of whoever decided.
fn message(held: &[&Rule], decision: &Decision, findings: &[Finding]) -> String {
    let of_rule = held.iter().find(|rule| rule.id == decision.rule).map(|rule| rule.message.as_str());
    let names = |finding: &&Finding| {
        finding.rules().any(|name| name == decision.rule) || decision.rule == format!("check:{}", finding.check)
    };
    let of_finding = findings.iter().filter(names).map(|finding| finding.message.as_str());
    of_rule.into_iter().chain(of_finding).find(|message| !message.is_empty()).unwrap_or_default().to_owned()
}

/// Whether an allowing rule sets a finding aside: every rule that it hit must be named, or the check that hit none.
fn is_lifted(finding: &Finding, lifts: &[String]) -> bool {
    if lifts.is_empty() {
        return false;
    }
    let check = format!("check:{}", finding.check);
    let named = |name: &str| {
        lifts.iter().any(|lift| match lift.strip_suffix(".*") {
            Some(prefix) => name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => lift == name,
        })
    };
    let mut rules = finding.rules().peekable();
    if rules.peek().is_none() || !matches!(finding.outcome, Outcome::Unsafe { .. }) {
        return named(&check);
    }
    rules.all(named)
}
