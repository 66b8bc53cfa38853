//! Samples of every action of the table, made from the actions' own EIP-712 types: a new action needs nothing here.

use std::io::{self, Read as _};

use borsh::BorshDeserialize as _;
use serde_json::{Value, json};
use surety_ledger::AnyAction;
use surety_ledger::action::ACTIONS;
use surety_primitives::hash;
use surety_primitives::typed_data::{Member, Types};

/// What fields are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Zeros, and nothing in lists.
    Zero,
    /// Small values that most rules allow.
    Plain,
    /// The greatest values.
    Most,
    /// Arbitrary values from this seed.
    Noise(u64),
}

/// The action's empty form: after its tag, zeros are no text, no list, no amount.
fn empty(tag: u8) -> AnyAction {
    let tags = [tag];
    AnyAction::deserialize_reader(&mut tags.as_slice().chain(io::repeat(0))).unwrap()
}

/// One sample of each action of the table.
pub(crate) fn all(style: Style) -> Vec<AnyAction> {
    ACTIONS.iter().map(|(tag, name)| sample(*tag, name, style)).collect()
}

fn sample(tag: u8, name: &str, style: Style) -> AnyAction {
    let empty = empty(tag);
    let (members, types, _) = empty.typed_parts();
    let mut action = serde_json::to_value(&empty).unwrap();
    let mut filler = Filler { types, style, count: u64::from(tag) << 32 };
    let own = action["fields"].take();
    action["fields"] = filler.fields(&members, &own);
    if style == Style::Plain {
        constrain(name, &mut action["fields"]);
    }
    serde_json::from_value(action.clone()).unwrap_or_else(|error| panic!("{name} from {action}: {error}"))
}

/// Where a rule wants more than small values.
fn constrain(name: &str, fields: &mut Value) {
    match name {
        "RegisterService" | "UpdateService" => fields["terms"]["category"] = json!(101),
        "ReportFault" => fields["evidence"] = json!(const_hex::encode_prefixed(evidence())),
        "Sweep" => fields["rows"] = json!([{"table": 65, "id": format!("0x{}", "07".repeat(16))}]),
        _ => {}
    }
}

/// Evidence of the third kind, as short as it can be: an Answer that cites one dataset.
fn evidence() -> Vec<u8> {
    use surety_primitives::answer::evidence::{BadBasis, Evidence};
    use surety_primitives::answer::{Answer, AnswerBy, Basis, DatasetRef, Version1};
    use surety_primitives::keys::SecretKey;
    use surety_primitives::{DatasetId, Hash32, ProviderId, Seconds};
    let cited = DatasetRef { id: DatasetId(1), version: 1, root: Hash32([1; 32]) };
    let answer = Answer {
        ver: Version1,
        by: AnswerBy::Provider(ProviderId(1)),
        call: None,
        request: Hash32([2; 32]),
        status: 200,
        basis: Basis::new(vec![cited], None, Hash32([3; 32])).unwrap(),
        pinned: true,
        answer: Hash32([4; 32]),
        time: Seconds(1),
        expiry: Seconds(2),
    };
    let answer = answer.sign(&SecretKey::from_seed(&[5; 32].into()));
    Evidence::Basis(Box::new(BadBasis { answer, index: 0 })).to_bytes()
}

struct Filler {
    types: Types,
    style: Style,
    count: u64,
}

impl Filler {
    /// A value for each member, except for those that belong to the transaction.
    fn fields(&mut self, members: &[Member], own: &Value) -> Value {
        let known = |name: &str| own.as_object().is_none_or(|own| own.contains_key(name));
        let members: Vec<Member> = members.iter().filter(|(name, _)| known(name)).cloned().collect();
        let fields = members.iter().map(|(name, kind)| ((*name).to_owned(), self.value(kind, &own[*name])));
        Value::Object(fields.collect())
    }

    fn value(&mut self, kind: &str, own: &Value) -> Value {
        if let Some(inner) = kind.strip_suffix("[]") {
            let length = match self.style {
                Style::Zero => 0,
                Style::Plain | Style::Most => 1,
                Style::Noise(_) => self.draw() % 4,
            };
            return (0..length).map(|_| self.value(inner, &Value::Null)).collect();
        }
        match kind {
            "uint16" => json!(self.number(u64::from(u16::MAX))),
            "uint32" => json!(self.number(u64::from(u32::MAX))),
            "uint64" => json!(self.number(u64::MAX)),
            "uint128" => json!(self.amount().to_string()),
            "bool" => json!(self.number(1) == 1),
            "string" => json!(self.text()),
            "address" => self.bytes(20),
            "bytes16" => self.bytes(16),
            "bytes32" => self.bytes(32),
            "bytes" => {
                // Keys and signatures have one length, which their empty form shows.
                let fixed = own.as_str().map_or(0, |text| text.len().saturating_sub(2) / 2);
                let length = if fixed > 0 { fixed } else { self.number(200) as usize };
                self.bytes(length)
            }
            name => {
                let members = self.types.get(name).unwrap_or_else(|| panic!("unknown type {name}")).clone();
                self.fields(&members, &Value::Null)
            }
        }
    }

    fn number(&mut self, most: u64) -> u64 {
        match self.style {
            Style::Zero => 0,
            Style::Plain => 1,
            Style::Most => most,
            Style::Noise(_) => (self.draw() >> (self.draw() % 64)) % most.saturating_add(u64::from(most < u64::MAX)),
        }
    }

    fn amount(&mut self) -> u128 {
        match self.style {
            Style::Zero => 0,
            Style::Plain => 1,
            Style::Most => u128::MAX,
            Style::Noise(_) => u128::from(self.draw()) << 64 | u128::from(self.draw()),
        }
    }

    fn text(&mut self) -> String {
        match self.style {
            Style::Zero => String::new(),
            Style::Plain => "a".to_owned(),
            // Two spellings of one letter, a line break, quotes, and characters outside the basic plane.
            Style::Most => "\u{e9}e\u{301}\n\"\\\u{1f600}\u{10ffff}\0".to_owned(),
            Style::Noise(_) => {
                (0..self.draw() % 60).filter_map(|_| char::from_u32(self.draw() as u32 % 0x11_0000)).collect()
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Value {
        let bytes: Vec<u8> = match self.style {
            Style::Zero => vec![0; length],
            // The base point of ed25519: a key that may be registered.
            Style::Plain if length == 32 => [&[0x58][..], &[0x66; 31]].concat(),
            Style::Plain => vec![1; length],
            Style::Most => vec![0xff; length],
            Style::Noise(_) => (0..length).map(|_| self.draw() as u8).collect(),
        };
        json!(const_hex::encode_prefixed(bytes))
    }

    fn draw(&mut self) -> u64 {
        let Style::Noise(seed) = self.style else { return 0 };
        self.count += 1;
        let drawn = hash::h("surety/test/noise", &[&seed.to_be_bytes(), &self.count.to_be_bytes()]);
        u64::from_be_bytes(*drawn.0.first_chunk().unwrap())
    }
}
