//! An answer in sentences, for people.

use serde_json::Value;

/// What a set flag means. A flag that stands in no line here is named as it is on the wire.
const MEANINGS: &[(&str, Weight, &str)] = &[
    ("is_honeypot", Weight::Bad, "it can be bought and not sold"),
    ("cannot_buy", Weight::Bad, "it cannot be bought"),
    ("cannot_sell_all", Weight::Bad, "not everything that one holds can be sold"),
    ("hidden_owner", Weight::Bad, "somebody whom no view function names has the owner's powers"),
    ("can_take_back_ownership", Weight::Bad, "ownership that was given up can be taken back"),
    ("owner_change_balance", Weight::Bad, "its owner can change other people's balances"),
    ("selfdestruct", Weight::Bad, "its code can be destroyed"),
    ("gas_abuse", Weight::Bad, "it spends its caller's gas for somebody else"),
    ("is_airdrop_scam", Weight::Bad, "it was thrown at wallets to lead them to a scam"),
    ("personal_slippage_modifiable", Weight::Bad, "its tax can be changed for one holder alone"),
    ("honeypot_with_same_creator", Weight::Bad, "whoever made it made honeypots before"),
    ("is_mintable", Weight::Note, "more of it can be made"),
    ("transfer_pausable", Weight::Note, "transfers can be stopped"),
    ("is_blacklisted", Weight::Note, "it has a list of accounts that cannot transfer"),
    ("is_whitelisted", Weight::Note, "it has a list of accounts that rules do not bind"),
    ("slippage_modifiable", Weight::Note, "its tax can be changed"),
    ("is_anti_whale", Weight::Note, "it limits how much is moved at once"),
    ("anti_whale_modifiable", Weight::Note, "that limit can be changed"),
    ("trading_cooldown", Weight::Note, "it makes holders wait between trades"),
    ("external_call", Weight::Note, "a transfer calls another contract"),
    ("is_proxy", Weight::Note, "it is a proxy: its code can be exchanged"),
    ("is_in_dex", Weight::Note, "there is a pool for it"),
    ("sanctioned", Weight::Bad, "it is under sanctions"),
    ("mixer", Weight::Bad, "it belongs to a mixer"),
    ("phishing_activities", Weight::Bad, "it took part in phishing"),
    ("stealing_attack", Weight::Bad, "it took part in a theft"),
    ("blacklist_doubt", Weight::Bad, "a list names it without saying why"),
    ("fake_token", Weight::Bad, "it is a fake of another token"),
    ("phishing_site", Weight::Bad, "it is a phishing site"),
    ("contract_address", Weight::Note, "it is a contract"),
    ("fake_standard_interface", Weight::Bad, "it answers like a token and does not do what tokens do"),
    ("reinit", Weight::Bad, "its code was, or can be, replaced at this address"),
];

/// How much a set flag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Note,
    Bad,
}

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Explained {
    lines: Vec<(Weight, String)>,
    unknown: Vec<String>,
    rests_on: Vec<String>,
}

/// Reads an answer of `service`.
pub(super) fn explain(service: &str, answer: &Value) -> Explained {
    let mut explained = Explained::default();
    explained.read(service, &answer["result"], "");
    explained.unknown = reasons(&answer["surety"]["unknown"]);
    explained.rests_on = basis(&answer["surety"]);
    explained
}

impl Explained {
    /// Whether something bad was found.
    pub(super) fn is_bad(&self) -> bool {
        self.lines.iter().any(|(weight, _)| *weight == Weight::Bad)
    }

    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let (bad, notes): (Vec<_>, Vec<_>) = self.lines.iter().partition(|(weight, _)| *weight == Weight::Bad);
        lines.push(match (bad.is_empty(), self.unknown.is_empty()) {
            (false, _) => format!("BAD: {} found", bad.len()),
            (true, true) => "nothing bad was found".to_owned(),
            (true, false) => "nothing bad was found in what is known".to_owned(),
        });
        lines.extend(bad.iter().map(|(_, line)| format!("  ! {line}")));
        lines.extend(notes.iter().map(|(_, line)| format!("  - {line}")));
        lines.extend(self.unknown.iter().map(|line| format!("  ? {line}")));
        lines.extend(self.rests_on.iter().map(|line| format!("    {line}")));
        lines.join("\n")
    }

    fn read(&mut self, service: &str, value: &Value, place: &str) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.field(service, name, value, place);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.read(service, item, place)),
            _ => {}
        }
    }

    fn field(&mut self, service: &str, name: &str, value: &Value, place: &str) {
        let meaning = MEANINGS.iter().find(|(field, ..)| *field == name);
        let is_set = value == "1" || *value == 1;
        match (meaning, value) {
            (Some((_, weight, words)), _) if is_set => self.say(*weight, place, words),
            (_, Value::Object(_) | Value::Array(_)) if !is_detail(name) => {
                let below = if name.starts_with("0x") { name } else { place };
                self.words_of_own(name, value);
                self.read(service, value, below);
            }
            (_, Value::String(text)) if !text.is_empty() => self.text_field(service, name, text, place),
            _ => {}
        }
    }

    /// Fields whose values are words or amounts.
    fn text_field(&mut self, service: &str, name: &str, text: &str, place: &str) {
        match name {
            "buy_tax" | "sell_tax" | "transfer_tax" if text != "0" => {
                self.say(Weight::Note, place, &format!("{}: {}", name.replace('_', " "), percent(text)));
            }
            "verdict" if service == "screen" => {
                let weight = if matches!(text, "block" | "quarantine") { Weight::Bad } else { Weight::Note };
                self.say(weight, place, &format!("verdict: {text}"));
            }
            "look_alike_of" => self.say(Weight::Bad, place, &format!("it looks like {text}")),
            "token_name" | "token_symbol" | "owner_address" | "creator_address" | "delegates_to" | "error" | "note" => {
                self.say(Weight::Note, place, &format!("{}: {text}", name.replace('_', " ")));
            }
            _ => {}
        }
    }

    /// Lists that carry a sentence each: risks and checks.
    fn words_of_own(&mut self, name: &str, value: &Value) {
        let Value::Array(items) = value else { return };
        for item in items {
            match (name, item) {
                ("risk_detail", Value::String(text)) => self.say(Weight::Note, "", text),
                ("checks", Value::Object(check)) => {
                    let word = |field: &str| check.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                    let said = [word("name"), word("outcome"), word("message")].join(" ");
                    self.say(Weight::Note, "", said.trim_end());
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, weight: Weight, place: &str, words: &str) {
        let line = if place.is_empty() { words.to_owned() } else { format!("{place}: {words}") };
        if !self.lines.iter().any(|(_, said)| *said == line) {
            self.lines.push((weight, line));
        }
    }
}

/// Lists that are for programs.
fn is_detail(name: &str) -> bool {
    matches!(name, "logs" | "reads" | "evidence" | "holders" | "lp_holders" | "compatible" | "selectors")
}

/// A fraction as people write it: "0.05" is 5 %.
fn percent(fraction: &str) -> String {
    let (whole, part) = fraction.split_once('.').unwrap_or((fraction, ""));
    let digits = format!("{whole}{part:0<4}");
    match digits.parse::<u64>() {
        Ok(bps) => format!("{}.{:02} %", bps / 100, bps % 100),
        Err(_) => fraction.to_owned(),
    }
}

fn reasons(unknown: &Value) -> Vec<String> {
    let mut by_reason = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for item in unknown.as_array().into_iter().flatten() {
        let word = |field: &str| item[field].as_str().unwrap_or("?");
        by_reason.entry(word("reason")).or_default().push(word("field"));
    }
    by_reason.into_iter().map(|(reason, fields)| format!("unknown ({reason}): {}", fields.join(", "))).collect()
}

fn basis(surety: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for list in surety["lists"].as_array().into_iter().flatten() {
        lines.push(format!("list {} as of {}", text(&list["name"]), text(&list["as_of"])));
    }
    if !surety["block_number"].is_null() {
        lines.push(format!("chain {} at block {}", surety["chain_id"], surety["block_number"]));
    }
    lines.push(format!("digest {} ({})", text(&surety["digest"]), text(&surety["standing"])));
    lines
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_bad_comes_first_and_what_is_unknown_is_never_called_clean() {
        let token = "0x00000000000000000000000000000000000000aa";
        let answer = json!({"result": {token: {"is_honeypot": "1", "is_mintable": "1", "is_proxy": "0", "sell_tax": "0.05"}},
            "surety": {"unknown": [{"field": "holders", "reason": "no_history"}], "lists": []}});
        let explained = explain("token_security", &answer);
        assert!(explained.is_bad());
        let text = explained.text();
        assert!(text.starts_with("BAD: 1 found") && text.contains(token) && text.contains("5.00 %"), "{text}");
        assert!(text.contains("unknown (no_history): holders"), "{text}");

        let nothing = explain(
            "address_security",
            &json!({"result": {}, "surety": {"unknown": [{"field": "a", "reason": "no_state"}]}}),
        );
        assert!(!nothing.is_bad());
        assert!(nothing.text().starts_with("nothing bad was found in what is known"));
    }

    #[test]
    fn fractions_are_written_as_percents() {
        for (fraction, percent) in [("1", "100.00 %"), ("0.1", "10.00 %"), ("0.0001", "0.01 %"), ("x", "x")] {
            assert_eq!(super::percent(fraction), percent);
        }
    }
}
