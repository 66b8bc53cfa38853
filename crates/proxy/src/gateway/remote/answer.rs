//! What services said, and what it comes to together.

use serde_json::{Value, json};
use surety_client::caller::Reply;
use surety_primitives::PurchaseId;
use surety_primitives::dataset::Prefix;

use super::super::policy::RemoteTerms;
use super::super::verdict::{Finding, Outcome, Verdict, worst};

/// What one service said to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Every flag is there, and none is up.
    Clean,
    /// These flags are up.
    Hit(Vec<String>),
    /// It answered and does not know, or cannot be asked.
    Unknown(&'static str),
    /// The package is used up.
    Exhausted,
    /// No valid answer came in time.
    Late,
    /// It is broken.
    Failed(String),
}

/// A service's word, with what shows that it said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Voice {
    service: String,
    verdict: Verdict,
    said: Said,
    cited: Option<Value>,
}

impl Voice {
    pub(super) fn new(terms: &RemoteTerms, said: Said) -> Self {
        Self { service: terms.name.clone(), verdict: terms.verdict, said, cited: None }
    }

    /// Names the call, and the signed Answer where there is one.
    pub(super) fn cite(&mut self, purchase: PurchaseId, reply: &Reply) {
        let digest = reply.answer.as_ref().map(|signed| signed.answer.digest().to_string());
        self.cited = Some(json!({
            "purchase": purchase.to_string(), "lane": reply.lane.0, "seq": reply.seq, "answer": digest,
        }));
    }

    fn evidence(&self) -> Value {
        let (outcome, flags) = match &self.said {
            Said::Clean => ("clean", Vec::new()),
            Said::Hit(flags) => ("hit", flags.clone()),
            Said::Unknown(reason) => (*reason, Vec::new()),
            Said::Exhausted => ("quota_exhausted", Vec::new()),
            Said::Late => ("timeout", Vec::new()),
            Said::Failed(_) => ("failed", Vec::new()),
        };
        let mut evidence = json!({ "kind": "remote", "service": self.service, "outcome": outcome });
        if let Some(object) = evidence.as_object_mut() {
            if !flags.is_empty() {
                object.insert("flags".to_owned(), json!(flags));
            }
            if let Some(cited) = &self.cited {
                object.insert("call".to_owned(), cited.clone());
            }
        }
        evidence
    }
}

/// Reads the flags of an answer. One that is missing, or says neither yes nor no, makes the rest no clean answer.
pub(super) fn read(reply: &Reply, flags: &[String]) -> Said {
    body(reply).map_or_else(Said::Failed, |body| read_flags(&body, flags))
}

/// Reads the flags of one name from an answer about all under a prefix: `{result: {prefix, listed: {name: flags}, others:
/// flags}}`.
pub(super) fn read_under(reply: &Reply, prefix: Prefix, name: &str, flags: &[String]) -> Said {
    body(reply).map_or_else(Said::Failed, |body| flags_under(&body, prefix, name, flags))
}

fn flags_under(body: &Value, prefix: Prefix, name: &str, flags: &[String]) -> Said {
    let result = &body["result"];
    let (Some(listed), true) = (result["listed"].as_object(), result["others"].is_object()) else {
        return Said::Unknown("no_list");
    };
    if result["prefix"].as_str() != Some(prefix.to_string().as_str()) {
        return Said::Failed("it answers about another prefix".to_owned());
    }
    let own = listed.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    read_flags(own.map_or(&result["others"], |(_, said)| said), flags)
}

fn body(reply: &Reply) -> Result<Value, String> {
    if !(200..300).contains(&reply.status) {
        return Err(format!("it answered with status {}", reply.status));
    }
    serde_json::from_slice(&reply.body).map_err(|error| format!("its answer is no JSON: {error}"))
}

fn read_flags(body: &Value, flags: &[String]) -> Said {
    let mut hits = Vec::new();
    let mut is_whole = true;
    for flag in flags {
        match body.pointer(flag).map(is_up) {
            Some(Some(true)) => hits.push(flag.clone()),
            Some(Some(false)) => {}
            _ => is_whole = false,
        }
    }
    match (hits.is_empty(), is_whole) {
        (false, _) => Said::Hit(hits),
        (true, true) => Said::Clean,
        (true, false) => Said::Unknown("flag_absent"),
    }
}

fn is_up(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(up) => Some(*up),
        Value::String(text) if text == "1" => Some(true),
        Value::String(text) if text == "0" => Some(false),
        Value::Number(number) if number.as_u64() == Some(1) => Some(true),
        Value::Number(number) if number.as_u64() == Some(0) => Some(false),
        _ => None,
    }
}

/// What the words to all questions come to.
pub(super) fn judge(check: &str, asked: Vec<Vec<Voice>>) -> Finding {
    let evidence = asked.iter().flatten().map(Voice::evidence).collect();
    let mut outcomes: Vec<Outcome> = asked.iter().map(|voices| together(voices)).collect();
    outcomes.sort_by_key(rank);
    let outcome = outcomes.pop().unwrap_or(Outcome::Passed);
    let mut finding = Finding { evidence, ..Finding::new(check, outcome) };
    if let Outcome::Unsafe { .. } | Outcome::Disagreed { .. } = finding.outcome {
        let hits = asked.iter().flatten().filter(|voice| matches!(voice.said, Said::Hit(_)));
        let names: Vec<&str> = hits.map(|voice| voice.service.as_str()).collect();
        finding.rule = format!("{check}.flagged");
        finding.message = format!("flagged by {}", names.join(", "));
    }
    finding
}

/// What several services say to one question. A flag that one raises and another does not is a disagreement; silence is none.
fn together(voices: &[Voice]) -> Outcome {
    let hits = || voices.iter().filter(|voice| matches!(voice.said, Said::Hit(_)));
    if hits().next().is_some() {
        let verdict = worst(hits().map(|voice| voice.verdict));
        let is_split = voices.iter().any(|voice| voice.said == Said::Clean);
        return if is_split { Outcome::Disagreed { verdict } } else { Outcome::Unsafe { verdict } };
    }
    let of_voice = |voice: &Voice| match &voice.said {
        Said::Clean | Said::Hit(_) => Outcome::Passed,
        Said::Unknown(reason) => Outcome::Unknown { reason: (*reason).to_owned() },
        Said::Exhausted => Outcome::Unknown { reason: "quota_exhausted".to_owned() },
        Said::Late => Outcome::TimedOut,
        Said::Failed(message) => Outcome::Failed { message: format!("{}: {message}", voice.service) },
    };
    let mut outcomes: Vec<Outcome> = voices.iter().map(of_voice).collect();
    outcomes.sort_by_key(rank);
    outcomes.pop().unwrap_or(Outcome::Passed)
}

/// The order of badness; findings by their verdict.
const fn rank(outcome: &Outcome) -> (u8, Verdict) {
    match outcome {
        Outcome::Passed => (0, Verdict::Allow),
        Outcome::Unknown { .. } => (1, Verdict::Allow),
        Outcome::TimedOut => (2, Verdict::Allow),
        Outcome::Failed { .. } => (3, Verdict::Allow),
        Outcome::Disagreed { verdict } => (4, *verdict),
        Outcome::Unsafe { verdict } => (5, *verdict),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn voice(service: &str, said: Said) -> Voice {
        Voice { service: service.to_owned(), verdict: Verdict::Quarantine, said, cited: None }
    }

    fn hit() -> Said {
        Said::Hit(vec!["/phishing".to_owned()])
    }

    fn outcome(voices: Vec<Voice>) -> Outcome {
        judge("remote", vec![voices]).outcome
    }

    #[test]
    fn silence_is_never_a_clean_answer_and_never_a_disagreement() {
        assert_eq!(outcome(vec![voice("a", Said::Clean), voice("b", Said::Clean)]), Outcome::Passed);
        assert_eq!(outcome(vec![voice("a", Said::Clean), voice("b", Said::Late)]), Outcome::TimedOut);
        let unknown = Outcome::Unknown { reason: "quota_exhausted".to_owned() };
        assert_eq!(outcome(vec![voice("a", Said::Clean), voice("b", Said::Exhausted)]), unknown);
        assert_eq!(
            outcome(vec![voice("a", hit()), voice("b", Said::Late)]),
            Outcome::Unsafe { verdict: Verdict::Quarantine }
        );
        let split = outcome(vec![voice("a", hit()), voice("b", Said::Clean)]);
        assert_eq!(split, Outcome::Disagreed { verdict: Verdict::Quarantine });
        assert_eq!(judge("remote", Vec::new()).outcome, Outcome::Passed);
    }

    #[test]
    fn the_worst_question_counts() {
        let finding = judge("remote", vec![vec![voice("a", hit())], vec![voice("a", Said::Clean)]]);
        assert_eq!(finding.outcome, Outcome::Unsafe { verdict: Verdict::Quarantine });
        assert_eq!((finding.rule.as_str(), finding.message.as_str()), ("remote.flagged", "flagged by a"));
        assert_eq!(finding.evidence.len(), 2);
    }

    #[test]
    fn of_an_answer_about_a_prefix_only_the_part_about_the_name_counts_or_that_about_all_others() {
        let prefix = Prefix::of(b"evil.example");
        let body = json!({"result": {
            "prefix": prefix.to_string(),
            "listed": {"evil.example": {"a": "1"}, "odd.example": {"a": "0", "b": "1"}, "vague.example": {}},
            "others": {"a": "0"},
        }});
        let flags = ["/a".to_owned()];
        let said = |body: &Value, name: &str| flags_under(body, prefix, name, &flags);
        assert_eq!(said(&body, "EVIL.example"), Said::Hit(flags.to_vec()));
        assert_eq!((said(&body, "odd.example"), said(&body, "other.example")), (Said::Clean, Said::Clean));
        assert_eq!(said(&body, "vague.example"), Said::Unknown("flag_absent"));
        let set = |path: &str, value: Value| {
            let mut changed = body.clone();
            *changed.pointer_mut(path).unwrap() = value;
            changed
        };
        assert_eq!(said(&set("/result/others", json!({})), "other.example"), Said::Unknown("flag_absent"));
        for path in ["/result/listed", "/result/others", "/result"] {
            assert_eq!(said(&set(path, json!(null)), "other.example"), Said::Unknown("no_list"), "{path}");
        }
        assert!(matches!(said(&set("/result/prefix", json!("0000")), "other.example"), Said::Failed(_)));
    }

    #[test]
    fn flags_are_read_in_every_form_and_a_missing_one_is_unknown() {
        let flags = ["/result/a".to_owned(), "/result/b".to_owned()];
        for (body, said) in [
            (json!({"result": {"a": "0", "b": 0}}), Said::Clean),
            (json!({"result": {"a": false, "b": "0"}}), Said::Clean),
            (json!({"result": {"a": "1"}}), Said::Hit(vec!["/result/a".to_owned()])),
            (json!({"result": {"a": true, "b": 1}}), Said::Hit(flags.to_vec())),
            (json!({"result": {"a": "0"}}), Said::Unknown("flag_absent")),
            (json!({"result": {"a": "0", "b": ""}}), Said::Unknown("flag_absent")),
            (json!({"result": {"a": "0", "b": 2}}), Said::Unknown("flag_absent")),
            (json!([]), Said::Unknown("flag_absent")),
        ] {
            assert_eq!(read_flags(&body, &flags), said, "{body}");
        }
    }
}
