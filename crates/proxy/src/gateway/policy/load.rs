//! From a policy's text to the list that decides.

use std::collections::{BTreeMap, BTreeSet};

use surety_primitives::Amount;
use toml::Spanned;

use super::super::verdict::{Fact, Failure, SANCTIONS, Verdict};
use super::error::{Complaints, PolicyErrors};
use super::file::{CheckEntry, File, HoldLimits, Limit, Release, RemoteTerms, RuleEntry, ShownAs, Sight};
use super::scope::Scope;
use super::vocabulary::Vocabulary;
use super::{CheckRule, MOST_BYTES, MOST_RULES, Policy, PolicyHash, Rule, amount, compile};

/// Most milliseconds for one check.
const MOST_DEADLINE_MS: u64 = 10_000;
/// Services that may see the same pending thing: shown to many, it is published.
const MOST_EYES: usize = 2;

pub(super) fn load(text: &str, vocabulary: &Vocabulary) -> Result<Policy, PolicyErrors> {
    if text.len() > MOST_BYTES {
        return Err(PolicyErrors::unreadable(format!("a policy has at most {MOST_BYTES} bytes")));
    }
    let mut complaints = Complaints::of(text);
    let file = match toml::from_str::<File>(text) {
        Ok(file) => file,
        Err(error) => {
            complaints.at(error.span().map_or(0, |span| span.start), "", error.message());
            return Err(complaints.into_result().err().unwrap_or_else(|| PolicyErrors::unreadable(error.message())));
        }
    };
    let limits = limits(&file.limits, &mut complaints);
    let vocabulary = announced(vocabulary, &file);
    let mut checks = checks(&file.checks, &vocabulary, &mut complaints);
    let mut scope = Scope::new(&vocabulary, &limits);
    let rules = rules(text, &file.rules, &mut scope, &mut complaints);
    let used = scope.into_used();
    check_remotes(&file.remotes, &vocabulary, &mut complaints);
    let remotes = remotes(file.remotes, &file.checks, &mut checks);
    check_hold(&file.hold, &mut complaints);
    complaints.into_result()?;
    Ok(Policy {
        hash: PolicyHash::of(text),
        name: file.name,
        dry_run: file.dry_run,
        limits,
        checks,
        methods: file.methods,
        hold: file.hold,
        rules,
        remotes,
        used,
    })
}

fn limits(entries: &BTreeMap<String, Spanned<Limit>>, complaints: &mut Complaints<'_>) -> BTreeMap<String, Fact> {
    let mut limits = BTreeMap::new();
    for (name, limit) in entries {
        let fact = match limit.get_ref() {
            Limit::Plain(_) if name == "value" => Err("this limit is an amount: write it as \"1 ether\"".to_owned()),
            Limit::Plain(number) => Ok(Fact::Int(*number)),
            Limit::Amount(text) => amount::parse(text).map(Fact::Amount),
        };
        match fact {
            Ok(fact) => {
                limits.insert(name.clone(), fact);
            }
            Err(message) => complaints.at(limit.span().start, format!("limits.{name}"), message),
        }
    }
    limits
}

/// The vocabulary with the checks that the file itself announces: by an entry, or by a remote service.
fn announced(vocabulary: &Vocabulary, file: &File) -> Vocabulary {
    let mut all = vocabulary.clone();
    let remote = file.remotes.iter().map(|terms| (terms.get_ref().check.as_str(), Failure::REMOTE));
    let own = file.checks.keys().map(|name| (name.get_ref().as_str(), Failure::LOCAL));
    for (name, failure) in remote.chain(own) {
        if !all.checks().any(|(known, _)| known == name) {
            all = all.check(name, failure);
        }
    }
    all
}

fn checks(
    entries: &BTreeMap<Spanned<String>, CheckEntry>,
    vocabulary: &Vocabulary,
    complaints: &mut Complaints<'_>,
) -> BTreeMap<String, CheckRule> {
    let mut rules: BTreeMap<String, CheckRule> = vocabulary
        .checks()
        .map(|(name, failure)| (name.to_owned(), CheckRule { failure, required: false, release: Release::default() }))
        .collect();
    for (name, entry) in entries {
        let place = format!("checks.{}", name.get_ref());
        let before = vocabulary.failure(name.get_ref());
        let failure = Failure {
            deadline_ms: entry.deadline_ms.unwrap_or(before.deadline_ms),
            on_timeout: entry.on_timeout.unwrap_or(before.on_timeout),
            on_error: entry.on_error.unwrap_or(before.on_error),
            on_unknown: entry.on_unknown.unwrap_or(before.on_unknown),
            on_disagree: entry.on_disagree.unwrap_or(before.on_disagree),
        };
        let weakens = Failure { deadline_ms: before.deadline_ms, ..failure } != before || entry.release.is_some();
        if name.get_ref() == SANCTIONS && weakens {
            complaints.at(
                name.span().start,
                &place,
                "what sanctions lists say always blocks: delete this entry's rules",
            );
        }
        if failure.deadline_ms == 0 || failure.deadline_ms > MOST_DEADLINE_MS {
            let message = format!("deadline_ms is from 1 to {MOST_DEADLINE_MS}");
            complaints.at(name.span().start, &place, message);
        }
        let release = entry.release.unwrap_or_default();
        rules.insert(name.get_ref().clone(), CheckRule { failure, required: entry.required.unwrap_or(false), release });
    }
    rules
}

fn rules(
    text: &str,
    entries: &[Spanned<RuleEntry>],
    scope: &mut Scope<'_>,
    complaints: &mut Complaints<'_>,
) -> Vec<Rule> {
    if entries.len() > MOST_RULES {
        complaints.at(0, "", format!("a policy has at most {MOST_RULES} rules"));
        return Vec::new();
    }
    let mut ids = BTreeSet::new();
    let mut rules = Vec::with_capacity(entries.len());
    for entry in entries {
        let start = entry.span().start;
        let rule = entry.get_ref();
        let place = format!("rule {}", rule.id);
        if !is_name(&rule.id) {
            complaints.at(start, &place, "an id has 1 to 64 letters, digits, dots, hyphens and underscores");
        }
        if !ids.insert(rule.id.as_str()) {
            complaints.at(start, &place, "another rule has this id: ids name rules in records and must differ");
        }
        if let Some(message) = contradiction(rule) {
            complaints.at(start, &place, message);
        }
        match compile::compile(rule.when.get_ref(), scope) {
            Ok(condition) => rules.push(Rule {
                id: rule.id.clone(),
                source: rule.when.get_ref().clone(),
                condition,
                then: rule.then,
                dry_run: rule.dry_run,
                lifts: rule.lifts.clone(),
                release: rule.release.unwrap_or_default(),
                message: rule.message.clone(),
            }),
            Err(wrong) => complaints.at(place_of(text, &rule.when, wrong.offset), &place, wrong.message),
        }
    }
    rules
}

/// Where a byte of a condition stands in the file: exactly, unless the condition is written with escapes.
fn place_of(text: &str, when: &Spanned<String>, offset: usize) -> usize {
    let span = when.span();
    let written = text.get(span.clone()).unwrap_or_default();
    match written.find(when.get_ref().as_str()) {
        Some(inside) => span.start + inside + offset,
        None => span.start,
    }
}

/// Parts of a rule that do not go together.
fn contradiction(rule: &RuleEntry) -> Option<&'static str> {
    let is_sanctions = |name: &String| name.starts_with(SANCTIONS) || name == "*";
    if rule.then != Verdict::Allow && !rule.lifts.is_empty() {
        return Some("only a rule with then = \"allow\" lifts findings");
    }
    if rule.then == Verdict::Warn && rule.release.is_some() {
        return Some("release is for then = \"quarantine\": a warning holds nothing");
    }
    if matches!(rule.then, Verdict::Allow | Verdict::Block) && rule.release.is_some() {
        return Some("release is for then = \"quarantine\" alone");
    }
    if rule.lifts.iter().any(is_sanctions) {
        return Some("what a sanctions list says cannot be lifted: name the findings that this rule sets aside");
    }
    None
}

/// The services with the deadlines that hold: a check that states one binds its services, another one waits for the slowest
/// of them.
fn remotes(
    entries: Vec<Spanned<RemoteTerms>>,
    stated: &BTreeMap<Spanned<String>, CheckEntry>,
    checks: &mut BTreeMap<String, CheckRule>,
) -> Vec<RemoteTerms> {
    let mut remotes: Vec<RemoteTerms> = entries.into_iter().map(Spanned::into_inner).collect();
    for terms in &mut remotes {
        let of_check = stated.iter().find(|(name, _)| *name.get_ref() == terms.check);
        match (of_check.and_then(|(_, entry)| entry.deadline_ms), checks.get_mut(&terms.check)) {
            (Some(most), _) => terms.deadline_ms = terms.deadline_ms.min(most),
            (None, Some(check)) => check.failure.deadline_ms = check.failure.deadline_ms.max(terms.deadline_ms),
            (None, None) => {}
        }
    }
    remotes
}

fn check_remotes(remotes: &[Spanned<RemoteTerms>], vocabulary: &Vocabulary, complaints: &mut Complaints<'_>) {
    let mut names = BTreeSet::new();
    for terms in remotes {
        let start = terms.span().start;
        let terms = terms.get_ref();
        let place = format!("remote {}", terms.name);
        if !is_name(&terms.name) || !is_name(&terms.check) {
            complaints.at(start, &place, "name and check have 1 to 64 letters, digits, dots, hyphens and underscores");
        }
        if terms.check == SANCTIONS {
            complaints.at(start, &place, "sanctions are checked here, not elsewhere: name another check");
        }
        if !names.insert(terms.name.as_str()) {
            complaints.at(start, &place, "another service has this name");
        }
        if !vocabulary.can_call(&terms.name) {
            complaints.at(
                start,
                &place,
                "the gateway has no grant for this service: start it with one, or delete the entry",
            );
        }
        for message in wrong_terms(terms) {
            complaints.at(start, &place, message);
        }
    }
    for sight in [Sight::TypedData, Sight::Message, Sight::Transaction] {
        let eyes: Vec<_> = remotes.iter().filter(|terms| terms.get_ref().sees.contains(&sight)).collect();
        if let (true, Some(last)) = (eyes.len() > MOST_EYES, eyes.last()) {
            let message = format!("what is pending is shown to at most {MOST_EYES} services: to more it is published");
            complaints.at(last.span().start, format!("remote {}", last.get_ref().name), message);
        }
    }
}

fn wrong_terms(terms: &RemoteTerms) -> Vec<&'static str> {
    let places = [("{address}", Sight::Address), ("{name}", Sight::Name)];
    let whole = places.iter().filter(|(place, _)| terms.path.contains(place)).count();
    let prefixes = usize::from(terms.path.contains("{prefix}"));
    let asks = terms.sees.iter().filter(|sight| !sight.is_pending()).count();
    let shown = if terms.shown_as == ShownAs::Whole { whole } else { prefixes };
    let rules = [
        (
            whole == 0 || terms.shown_as == ShownAs::Whole,
            "addresses and names are shown as {prefix}, unless shown_as = \"whole\"",
        ),
        (prefixes == 0 || terms.shown_as == ShownAs::Prefix, "shown_as = \"whole\" has no {prefix} in its path"),
        (
            places.iter().all(|(place, sight)| !terms.path.contains(place) || terms.sees.contains(sight)),
            "the path shows what `sees` does not name",
        ),
        (whole <= 1 && terms.sees.len() <= 1, "a service answers one kind of question: write one entry for each"),
        (
            asks == shown,
            "the path has the place of what is shown: {prefix}, or {address} or {name} where it is shown whole",
        ),
        (!terms.path.starts_with("//") && !terms.path.contains("://"), "the path is below the listing's endpoint"),
        (!terms.flags.is_empty(), "name at least one flag, such as \"/result/phishing_activities\""),
        (terms.flags.iter().all(|flag| flag.starts_with('/')), "a flag is a JSON pointer and begins with /"),
        (terms.deadline_ms > 0 && terms.deadline_ms <= MOST_DEADLINE_MS, "deadline_ms is from 1 to 10000"),
        (terms.buy_below == 0 || terms.budget > Amount::ZERO, "buy_below needs a budget"),
    ];
    rules.into_iter().filter(|(kept, _)| !kept).map(|(_, message)| message).collect()
}

fn check_hold(hold: &HoldLimits, complaints: &mut Complaints<'_>) {
    if hold.per_client == 0 || hold.total == 0 || hold.bytes == 0 || hold.expire_s == 0 || hold.token_s == 0 {
        complaints.at(0, "hold", "every limit of [hold] is above 0");
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)
}
