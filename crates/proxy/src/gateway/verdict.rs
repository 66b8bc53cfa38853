//! What checks say and what becomes of it: verdicts, findings, and what to do when a check says nothing.
//!
//! Always true: a check that did not run to its end never counts as passed.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde::de::{self, IntoDeserializer as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The check that no policy can weaken: sanctions lists.
pub const SANCTIONS: &str = "sanctions";

/// What happens to a submission, from the best to the worst: the worst of several is their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is forwarded.
    #[default]
    Allow,
    /// It is forwarded, and the warning is recorded.
    Warn,
    /// It is held until something releases it.
    Quarantine,
    /// It is refused.
    Block,
}

impl Verdict {
    /// Its word, as in policies and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Quarantine => "quarantine",
            Self::Block => "block",
        }
    }

    /// Whether a submission with this verdict reaches the node.
    #[must_use]
    pub const fn forwards(self) -> bool {
        matches!(self, Self::Allow | Self::Warn)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The worst of several verdicts; of none, [`Verdict::Allow`].
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().max().unwrap_or_default()
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It ran to its end and found nothing.
    Passed,
    /// It found something.
    Unsafe {
        /// What the check would do about it.
        verdict: Verdict,
    },
    /// It ran and cannot tell.
    Unknown {
        /// Why: `list_missing`, `no_state`, `deadline` and the like.
        reason: String,
    },
    /// It broke.
    Failed {
        /// What broke.
        message: String,
    },
    /// It did not end within its deadline.
    TimedOut,
    /// Several sources were asked and do not agree.
    Disagreed {
        /// The worst that one of them would do.
        verdict: Verdict,
    },
}

impl Outcome {
    /// Its word: what `verdicts.<check>` is in a rule.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unsafe { .. } => "unsafe",
            Self::Unknown { .. } => "unknown",
            Self::Failed { .. } => "failed",
            Self::TimedOut => "timeout",
            Self::Disagreed { .. } => "disagreed",
        }
    }

    /// Whether the check ran to its end and found nothing.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Passed)
    }
}

/// Something that a check learned, for the rules of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Fact {
    /// A word or a name.
    Text(String),
    /// Yes or no.
    Bool(bool),
    /// A count or a time in seconds.
    Int(i64),
    /// An amount in the smallest unit of its asset.
    Amount(U256),
    /// An account.
    Address(Address),
    /// Several, at most [`Fact::MOST`].
    List(Vec<Self>),
}

impl Fact {
    /// Entries of a list that rules see; further ones are not taken.
    pub const MOST: usize = 256;

    /// A list of words.
    pub fn words<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::List(words.into_iter().take(Self::MOST).map(|word| Self::Text(word.into())).collect())
    }
}

/// A slot that a verdict rests on: when it changes before the transaction is forwarded, the check runs again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Read {
    /// Whose storage.
    pub address: Address,
    /// The slot.
    pub slot: U256,
    /// What was there.
    pub value: U256,
}

/// What one check says of one submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The stable id of the worst rule that was hit, such as `approve.unlimited`; empty when none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Further rules that were hit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What a wallet shows; empty when there is nothing to show.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What somebody else recomputes the outcome from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<serde_json::Value>,
    /// What rules see, by their names: `decoded.kind`, `diff.native_out`, `lists.spender`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Fact>,
    /// What the outcome rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    /// The block on whose state it was read, where the check knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<B256>,
}

impl Finding {
    /// A check that ended so, with nothing more to say.
    #[must_use]
    pub fn new(check: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            check: check.into(),
            outcome,
            rule: String::new(),
            also: Vec::new(),
            message: String::new(),
            evidence: Vec::new(),
            facts: BTreeMap::new(),
            reads: Vec::new(),
            block: None,
        }
    }

    /// A check that ran to its end and found nothing.
    #[must_use]
    pub fn passed(check: impl Into<String>) -> Self {
        Self::new(check, Outcome::Passed)
    }

    /// A check that found something, under the stable id `rule`.
    #[must_use]
    pub fn hit(
        check: impl Into<String>,
        verdict: Verdict,
        rule: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { rule: rule.into(), message: message.into(), ..Self::new(check, Outcome::Unsafe { verdict }) }
    }

    /// A check that cannot tell, and why.
    #[must_use]
    pub fn unknown(check: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(check, Outcome::Unknown { reason: reason.into() })
    }

    /// A check that broke, and how.
    #[must_use]
    pub fn failed(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::Failed { message: message.into() })
    }

    /// A check that did not end in time.
    #[must_use]
    pub fn timed_out(check: impl Into<String>) -> Self {
        Self::new(check, Outcome::TimedOut)
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, fact: Fact) -> Self {
        self.facts.insert(name.into(), fact);
        self
    }

    /// Every rule that was hit, the worst first.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.rule.as_str()).chain(self.also.iter().map(String::as_str)).filter(|rule| !rule.is_empty())
    }
}

/// What to do about an outcome that decides nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reaction {
    /// The same whatever is at stake.
    Always(Verdict),
    /// By what is at stake.
    ByValue(Stakes),
}

/// A reaction that depends on the value at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stakes {
    /// Below the policy's value limit.
    pub below: Verdict,
    /// From the limit on, and where the value is not known.
    pub above: Verdict,
}

impl Reaction {
    /// The reaction to something worth less than the limit, or not.
    #[must_use]
    pub const fn verdict(self, is_below: bool) -> Verdict {
        match self {
            Self::Always(verdict) => verdict,
            Self::ByValue(Stakes { below, above }) => {
                if is_below {
                    below
                } else {
                    above
                }
            }
        }
    }
}

// By hand, because an untagged enum would say only that no variant fits.
impl<'de> Deserialize<'de> for Reaction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Reaction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a verdict such as "warn", or { below = "warn", above = "quarantine" }"#)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Reaction, E> {
                Verdict::deserialize(word.into_deserializer()).map(Reaction::Always)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Reaction, A::Error> {
                Stakes::deserialize(de::value::MapAccessDeserializer::new(map)).map(Reaction::ByValue)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(verdict) => write!(f, "{verdict}"),
            Self::ByValue(Stakes { below, above }) => write!(f, "{below} below the value limit, {above} from it on"),
        }
    }
}

/// What to do when sources disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disagreement {
    /// The worst of them counts.
    #[default]
    Worst,
    /// It is as if nobody knew.
    Unknown,
    /// It is held.
    Quarantine,
    /// It is refused.
    Block,
}

/// How long a check may take, and what happens when it does not come to an end (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Milliseconds for the check.
    pub deadline_ms: u64,
    /// When it takes longer.
    pub on_timeout: Reaction,
    /// When it breaks.
    pub on_error: Reaction,
    /// When it cannot tell.
    pub on_unknown: Reaction,
    /// When its sources disagree.
    pub on_disagree: Disagreement,
}

impl Failure {
    /// Of lists and decoding rules, which run here: an error holds, an unknown warns.
    pub const LOCAL: Self = Self {
        deadline_ms: 20,
        on_timeout: Reaction::Always(Verdict::Quarantine),
        on_error: Reaction::Always(Verdict::Quarantine),
        on_unknown: Reaction::Always(Verdict::Warn),
        on_disagree: Disagreement::Worst,
    };

    /// Of simulation and contract scans: what is worth the limit is held, the rest warns.
    pub const SIMULATION: Self = Self {
        deadline_ms: 50,
        on_timeout: BY_VALUE_WARN,
        on_error: BY_VALUE_WARN,
        on_unknown: BY_VALUE_WARN,
        on_disagree: Disagreement::Worst,
    };

    /// Of remote services: what is worth the limit is held, the rest passes with a record.
    pub const REMOTE: Self = Self {
        deadline_ms: 20,
        on_timeout: BY_VALUE_ALLOW,
        on_error: BY_VALUE_ALLOW,
        on_unknown: BY_VALUE_ALLOW,
        on_disagree: Disagreement::Worst,
    };

    /// Of sanctions lists: whatever is not a clean pass is refused.
    pub const SANCTIONS: Self = Self {
        deadline_ms: 20,
        on_timeout: Reaction::Always(Verdict::Block),
        on_error: Reaction::Always(Verdict::Block),
        on_unknown: Reaction::Always(Verdict::Block),
        on_disagree: Disagreement::Block,
    };

    /// What an outcome comes to, where what is at stake is below the policy's value limit or not.
    #[must_use]
    pub fn verdict(&self, outcome: &Outcome, is_below: bool) -> Verdict {
        match outcome {
            Outcome::Passed => Verdict::Allow,
            Outcome::Unsafe { verdict } => *verdict,
            Outcome::Unknown { .. } => self.on_unknown.verdict(is_below),
            Outcome::Failed { .. } => self.on_error.verdict(is_below),
            Outcome::TimedOut => self.on_timeout.verdict(is_below),
            Outcome::Disagreed { verdict } => match self.on_disagree {
                Disagreement::Worst => *verdict,
                Disagreement::Unknown => self.on_unknown.verdict(is_below),
                Disagreement::Quarantine => Verdict::Quarantine,
                Disagreement::Block => Verdict::Block,
            },
        }
    }
}

const BY_VALUE_WARN: Reaction = Reaction::ByValue(Stakes { below: Verdict::Warn, above: Verdict::Quarantine });
const BY_VALUE_ALLOW: Reaction = Reaction::ByValue(Stakes { below: Verdict::Allow, above: Verdict::Quarantine });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_wins_and_nothing_is_allowed() {
        assert_eq!(worst([Verdict::Warn, Verdict::Block, Verdict::Allow]), Verdict::Block);
        assert_eq!(worst([Verdict::Quarantine, Verdict::Warn]), Verdict::Quarantine);
        assert_eq!(worst([]), Verdict::Allow);
    }

    #[test]
    fn what_did_not_run_to_its_end_follows_the_failure_rules() {
        let outcome = Outcome::Unknown { reason: "no_state".to_owned() };
        assert_eq!(Failure::SIMULATION.verdict(&outcome, true), Verdict::Warn);
        assert_eq!(Failure::SIMULATION.verdict(&outcome, false), Verdict::Quarantine);
        assert_eq!(Failure::REMOTE.verdict(&Outcome::TimedOut, true), Verdict::Allow);
        assert_eq!(Failure::REMOTE.verdict(&Outcome::TimedOut, false), Verdict::Quarantine);
        assert_eq!(Failure::SANCTIONS.verdict(&outcome, true), Verdict::Block);
        let split = Outcome::Disagreed { verdict: Verdict::Block };
        assert_eq!(Failure::REMOTE.verdict(&split, true), Verdict::Block);
        let unknown = Failure { on_disagree: Disagreement::Unknown, ..Failure::REMOTE };
        assert_eq!(unknown.verdict(&split, true), Verdict::Allow);
    }
}
