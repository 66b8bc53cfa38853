//! A rule's condition after it was checked: a small tree over facts, evaluated without an allocation.
//!
//! Always true: evaluation takes one step a node, over a tree and lists of bounded size; it reads nothing but facts.

use std::cmp::Ordering;

use alloy_primitives::{Address, U256};

use super::super::verdict::Fact;

/// A name that the policy uses, by its place among those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) usize);

/// Comparisons by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// Arithmetic; what does not fit is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Questions about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// A condition or a part of one. Types were checked when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Constant(Fact),
    Variable(Slot),
    Has(Slot),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    Equal(Box<Self>, Box<Self>),
    Compare(Order, Box<Self>, Box<Self>),
    Arithmetic(Arithmetic, Box<Self>, Box<Self>),
    In(Box<Self>, Box<Self>),
    Text(TextTest, Box<Self>, Box<Self>),
    Size(Box<Self>),
}

/// Why a condition has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody learned this fact.
    Absent(Slot),
    /// A number does not fit, or is divided by zero.
    Range,
    /// A fact is not of the type that its name promises.
    Type,
}

/// A value, borrowed from the facts or from the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Amount(U256),
    Address(Address),
    List(&'a [Fact]),
}

impl<'a> From<&'a Fact> for Value<'a> {
    fn from(fact: &'a Fact) -> Self {
        match fact {
            Fact::Text(text) => Self::Text(text),
            Fact::Bool(bool) => Self::Bool(*bool),
            Fact::Int(int) => Self::Int(*int),
            Fact::Amount(amount) => Self::Amount(*amount),
            Fact::Address(address) => Self::Address(*address),
            Fact::List(entries) => Self::List(entries),
        }
    }
}

/// The facts of one submission, by slot.
pub(super) type Slots<'a> = [Option<std::borrow::Cow<'a, Fact>>];

impl Node {
    /// Whether the condition holds.
    pub(super) fn holds(&self, slots: &Slots<'_>) -> Result<bool, Trouble> {
        match self.value(slots)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(Trouble::Type),
        }
    }

    fn value<'a>(&'a self, slots: &'a Slots<'_>) -> Result<Value<'a>, Trouble> {
        Ok(match self {
            Self::Constant(fact) => fact.into(),
            Self::Variable(slot) => fact(slots, *slot).ok_or(Trouble::Absent(*slot))?.into(),
            Self::Has(slot) => Value::Bool(fact(slots, *slot).is_some()),
            Self::Not(inner) => Value::Bool(!inner.holds(slots)?),
            Self::And(a, b) => Value::Bool(either(a, b, slots, false)?),
            Self::Or(a, b) => Value::Bool(either(a, b, slots, true)?),
            Self::If(condition, then, otherwise) => {
                return if condition.holds(slots)? { then.value(slots) } else { otherwise.value(slots) };
            }
            Self::Equal(a, b) => Value::Bool(a.value(slots)? == b.value(slots)?),
            Self::Compare(order, a, b) => Value::Bool(order.holds(compare(a.value(slots)?, b.value(slots)?)?)),
            Self::Arithmetic(operation, a, b) => calculate(*operation, a.value(slots)?, b.value(slots)?)?,
            Self::In(entry, list) => Value::Bool(contains(list.value(slots)?, entry.value(slots)?)?),
            Self::Text(test, text, part) => Value::Bool(ask(*test, text.value(slots)?, part.value(slots)?)?),
            Self::Size(inner) => Value::Int(size(inner.value(slots)?)?),
        })
    }
}

fn fact<'a>(slots: &'a Slots<'_>, slot: Slot) -> Option<&'a Fact> {
    slots.get(slot.0)?.as_deref()
}

/// Both sides of `&&` (decided by a false one) or `||` (by a true one). As in CEL, the side that decides does so even where
/// the other one has no value.
fn either(a: &Node, b: &Node, slots: &Slots<'_>, decides: bool) -> Result<bool, Trouble> {
    let first = a.holds(slots);
    if first == Ok(decides) {
        return Ok(decides);
    }
    let second = b.holds(slots)?;
    if second == decides { Ok(decides) } else { first }
}

fn compare(a: Value<'_>, b: Value<'_>) -> Result<Ordering, Trouble> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(&b)),
        (Value::Amount(a), Value::Amount(b)) => Ok(a.cmp(&b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        _ => Err(Trouble::Type),
    }
}

fn calculate<'a>(operation: Arithmetic, a: Value<'a>, b: Value<'a>) -> Result<Value<'a>, Trouble> {
    let result = match (a, b) {
        (Value::Int(a), Value::Int(b)) => match operation {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        }
        .map(Value::Int),
        (Value::Amount(a), Value::Amount(b)) => match operation {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        }
        .map(Value::Amount),
        _ => return Err(Trouble::Type),
    };
    result.ok_or(Trouble::Range)
}

fn contains(list: Value<'_>, entry: Value<'_>) -> Result<bool, Trouble> {
    match list {
        Value::List(entries) => Ok(entries.iter().any(|other| Value::from(other) == entry)),
        _ => Err(Trouble::Type),
    }
}

fn ask(test: TextTest, text: Value<'_>, part: Value<'_>) -> Result<bool, Trouble> {
    let (Value::Text(text), Value::Text(part)) = (text, part) else { return Err(Trouble::Type) };
    Ok(match test {
        TextTest::StartsWith => text.starts_with(part),
        TextTest::EndsWith => text.ends_with(part),
        TextTest::Contains => text.contains(part),
    })
}

fn size(value: Value<'_>) -> Result<i64, Trouble> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(entries) => entries.len(),
        _ => return Err(Trouble::Type),
    };
    i64::try_from(size).map_err(|_| Trouble::Range)
}
