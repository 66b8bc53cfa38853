//! The compiled policy in words: what `surety gateway check` prints.

use std::fmt::Write as _;

use super::super::verdict::{Fact, SANCTIONS, Verdict};
use super::file::{Release, RemoteTerms, ShownAs, Sight};
use super::{Policy, Rule};

impl Policy {
    /// The list that decides, in the order in which it does.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let name = if self.name.is_empty() { "policy" } else { &self.name };
        writeln!(
            text,
            "{name} {}{}",
            self.hash,
            if self.dry_run { ", on trial: nothing but sanctions is enforced" } else { "" }
        )?;
        if !self.limits.is_empty() {
            writeln!(text, "\nlimits")?;
        }
        for (name, limit) in &self.limits {
            match limit {
                Fact::Int(number) => writeln!(text, "  {name} = {number}")?,
                Fact::Amount(amount) => writeln!(text, "  {name} = {amount} (smallest units)")?,
                _ => {}
            }
        }
        self.write_checks(text)?;
        self.write_rules(text)?;
        self.write_rest(text)
    }

    fn write_checks(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nchecks: when one does not come to an end")?;
        for (name, check) in &self.checks {
            if name == SANCTIONS {
                writeln!(text, "  {name}: anything but a pass blocks, whatever the rules say")?;
                continue;
            }
            let failure = check.failure;
            write!(text, "  {name} ({} ms): timeout: {}", failure.deadline_ms, failure.on_timeout)?;
            write!(text, "; error: {}; unknown: {}", failure.on_error, failure.on_unknown)?;
            let required = if check.required { "; must be there" } else { "" };
            writeln!(text, "; held: {}{required}", leave(check.release))?;
        }
        Ok(())
    }

    fn write_rules(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nrules, in order; the first that allows ends the list, else the worst counts")?;
        for (count, rule) in self.rules.iter().enumerate() {
            write_rule(text, count + 1, rule)?;
        }
        writeln!(text, "  otherwise: what the checks say")
    }

    fn write_rest(&self, text: &mut String) -> std::fmt::Result {
        if !self.methods.refuse.is_empty() {
            writeln!(text, "\nrefused methods: {}", self.methods.refuse.join(", "))?;
        }
        if !self.methods.unsigned.is_empty() {
            writeln!(text, "\nscreened although the node signs: {}", self.methods.unsigned.join(", "))?;
        }
        let hold = &self.hold;
        writeln!(
            text,
            "\nheld: at most {} of a client, {} in all, {} bytes; dropped after {} s; tokens are good for {} s",
            hold.per_client, hold.total, hold.bytes, hold.expire_s, hold.token_s
        )?;
        if self.remotes.is_empty() {
            return writeln!(text, "remote services: none; nothing leaves");
        }
        writeln!(text, "remote services")?;
        self.remotes.iter().try_for_each(|terms| write_remote(text, terms))
    }
}

fn write_rule(text: &mut String, number: usize, rule: &Rule) -> std::fmt::Result {
    let source = rule.source.split_whitespace().collect::<Vec<_>>().join(" ");
    write!(text, "  {number}. {}: {} when {source}", rule.id, rule.then)?;
    if rule.dry_run {
        write!(text, " (on trial: recorded only)")?;
    }
    if !rule.lifts.is_empty() {
        write!(text, "; sets aside {}", rule.lifts.join(", "))?;
    }
    if rule.then == Verdict::Quarantine {
        write!(text, "; leaves {}", leave(rule.release))?;
    }
    writeln!(text)
}

fn write_remote(text: &mut String, terms: &RemoteTerms) -> std::fmt::Result {
    let told = |sight: &Sight| match (sight.is_pending(), terms.shown_as) {
        (false, ShownAs::Prefix) => format!("prefixes of {sight:?}").to_lowercase(),
        _ => format!("{sight:?}").to_lowercase(),
    };
    let sees: Vec<String> = terms.sees.iter().map(told).collect();
    let sees = if sees.is_empty() { "nothing".to_owned() } else { sees.join(", ") };
    writeln!(
        text,
        "  {} (check {}): sees {sees}; {} ms; a hit is {}; budget {}",
        terms.name, terms.check, terms.deadline_ms, terms.verdict, terms.budget
    )
}

fn leave(release: Release) -> String {
    let mut ways = Vec::new();
    if let Some(after_s) = release.after_s {
        ways.push(format!("after {after_s} s"));
    }
    if release.token {
        ways.push("by token".to_owned());
    }
    if release.admin {
        ways.push("by the administrator".to_owned());
    }
    if ways.is_empty() { "never".to_owned() } else { ways.join(", ") }
}
