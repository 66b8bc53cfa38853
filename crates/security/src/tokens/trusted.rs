//! What lists of trusted addresses say of a token: that it is one of them, or that it bears the name of one.

use alloy_primitives::Address;
use serde_json::{Value, json};
use surety_primitives::dataset::{Entry, Key};

use crate::envelope::Reason;
use crate::lists::{Dataset, Semantics, Subject, kind, merge, normal};
use crate::service::{Lists, Looked, Request};
use crate::token::Report;
use crate::views::lower;

/// Entries about trusted addresses. Where they are tokens, the label is the token's symbol or name.
const ALLOW: u8 = kind(Subject::Address, Semantics::Allow);
/// The fields that a trust list tells.
const FIELDS: [&str; 3] = ["trust_list", "is_true_token", "fake_token"];

/// The trusted addresses, and what was looked up among them.
pub(super) struct Trusted<'a> {
    dataset: Option<&'a Dataset>,
    /// Bits of the sources that are over-age.
    stale: u64,
    looked: Vec<Looked<'a>>,
}

impl<'a> Trusted<'a> {
    pub(super) fn new(lists: &'a Lists, request: &Request) -> Self {
        let dataset = lists.addresses();
        let stale = dataset.map_or(0, |dataset| request.stale_sources(dataset));
        Self { dataset, stale, looked: Vec::new() }
    }

    /// Writes what the lists tell of a token. Returns the fields that remain unknown for want of a newer list.
    pub(super) fn tell(
        &mut self,
        token: Address,
        report: &mut Report,
    ) -> impl Iterator<Item = (&'static str, Reason)> + use<> {
        let why = match self.said(token, report) {
            Ok(said) => {
                report.unknown.retain(|unknown| !said.iter().any(|(field, _)| *field == unknown.field));
                report.fields.extend(said);
                None
            }
            Err(Reason::NoSource) => None,
            Err(why) => {
                report.unknown.retain(|unknown| !FIELDS.contains(&unknown.field));
                Some(why)
            }
        };
        why.into_iter().flat_map(|why| FIELDS.map(|field| (field, why)))
    }

    pub(super) fn into_looked(self) -> Vec<Looked<'a>> {
        self.looked
    }

    fn said(&mut self, token: Address, report: &Report) -> Result<Vec<(&'static str, Value)>, Reason> {
        let dataset = self.dataset.ok_or(Reason::NoSource)?;
        let trusted = entries(dataset);
        if trusted.is_empty() {
            return Err(Reason::NoSource);
        }
        let looked =
            Key::new(ALLOW, token.as_slice()).map(|key| Looked::up(dataset, key)).map_err(|_| Reason::NoSource)?;
        let sources = looked.entry.map(|entry| entry.sources & !self.stale);
        self.looked.push(looked);
        match sources {
            Some(sources) if sources != 0 => {
                return Ok(vec![("trust_list", json!("1")), ("is_true_token", json!("1"))]);
            }
            // What an over-age list lacks may have been added since.
            Some(_) => return Err(Reason::ListStale),
            None if self.stale != 0 => return Err(Reason::ListStale),
            None => {}
        }
        let mut said = vec![("trust_list", json!("0"))];
        if let Some(original) = original(trusted, report) {
            if let Ok(key) = Key::new(ALLOW, original.as_slice()) {
                self.looked.push(Looked::up(dataset, key));
            }
            said.push(("is_true_token", json!("0")));
            said.push(("fake_token", json!({ "true_token_address": lower(original), "value": 1 })));
        }
        Ok(said)
    }
}

/// The entries about trusted addresses: they stand together, as entries are sorted by their keys.
fn entries(dataset: &Dataset) -> &[Entry] {
    let all = dataset.tree().entries();
    let from = all.partition_point(|entry| entry.key.kind() < ALLOW);
    let to = all.partition_point(|entry| entry.key.kind() <= ALLOW);
    &all[from..to]
}

/// The trusted token that looks the same to a reader by its symbol or name.
fn original(trusted: &[Entry], report: &Report) -> Option<Address> {
    let named = ["token_symbol", "token_name"].map(|field| report.fields.get(field).and_then(Value::as_str));
    let named: Vec<String> = named.into_iter().flatten().map(skeleton).filter(|name| !name.is_empty()).collect();
    let bears = |entry: &&Entry| merge::labels(entry).any(|(_, label)| named.contains(&skeleton(label)));
    let entry = trusted.iter().find(bears)?;
    <[u8; 20]>::try_from(entry.key.name()).ok().map(Address::from)
}

/// What the eye keeps of a name (UTS 39), in the letters that labels are kept in.
fn skeleton(name: &str) -> String {
    let folded: String = unicode_security::skeleton(&name.to_lowercase()).collect();
    normal::label(&folded)
}
