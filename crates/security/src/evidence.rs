//! Evidence beside look-ups: what was read of the chain, found in code, run, or found in history
//! (`security-services.md` section 2).

use serde::Serialize;
use serde_json::value::RawValue;
use surety_primitives::Hash32;
use surety_primitives::hash::h;

use crate::envelope::raw;

/// What an item of evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A value of the chain's state.
    State,
    /// A fact of a contract's code.
    Static,
    /// What code did when it was run.
    Sim,
    /// What the record of blocks says.
    History,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Static => "static",
            Self::Sim => "sim",
            Self::History => "history",
        }
    }
}

/// One item of evidence for some fields of the result.
#[derive(Clone, Debug)]
pub struct Item {
    kind: Kind,
    fields: Vec<String>,
    // Kept as text: the order of its keys is the order of the struct that it came from, in every build.
    body: Box<RawValue>,
}

impl Item {
    /// Evidence for `fields`. `body` is a struct; its fields stand beside the item's own.
    pub fn new<T: Serialize>(kind: Kind, fields: &[&str], body: &T) -> Self {
        Self { kind, fields: fields.iter().map(|field| (*field).to_owned()).collect(), body: raw(body) }
    }

    /// What it is about.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its content as JSON.
    pub fn body(&self) -> &RawValue {
        &self.body
    }

    /// Commits to it.
    pub(crate) fn hash(&self) -> Hash32 {
        h("surety/security/item/v1", &[self.numbered(0).get().as_bytes()])
    }

    /// The item as an answer shows it.
    pub(crate) fn numbered(&self, id: usize) -> Box<RawValue> {
        let kind = self.kind.name();
        let fields = raw(&self.fields);
        let head = format!("{{\"id\":{id},\"kind\":\"{kind}\",\"fields\":{}", fields.get());
        let body = self.body.get().trim_start_matches('{');
        let comma = if body.starts_with('}') { "" } else { "," };
        RawValue::from_string(format!("{head}{comma}{body}"))
            .unwrap_or_else(|error| unreachable!("two objects joined are one: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_item_is_one_object() {
        #[derive(Serialize)]
        struct Slot {
            slot: u8,
            inner: Option<&'static str>,
        }
        let item = Item::new(Kind::State, &["owner_address"], &Slot { slot: 1, inner: Some("{") });
        let expected = r#"{"id":7,"kind":"state","fields":["owner_address"],"slot":1,"inner":"{"}"#;
        assert_eq!(item.numbered(7).get(), expected);
        #[derive(Serialize)]
        struct Empty {}
        assert_eq!(Item::new(Kind::Sim, &[], &Empty {}).numbered(0).get(), r#"{"id":0,"kind":"sim","fields":[]}"#);
    }
}
