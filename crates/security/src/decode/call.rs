//! A call with everything inside it: multicalls, accounts, Safes, bundlers, routers.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, Bytes, U256};

use super::abi::{self, AbiError, Budget, Encoding};
use super::args::Args;
use super::infer::Inferred;
use super::method::{Contract, Method, Selector};
use super::nested::{self, Inner};
use super::role::Role;
use super::table::{self, Row};

/// Deepest call inside a call that is read.
pub const MAX_DEPTH: usize = 8;

/// Most calls of one subject.
pub const MAX_CALLS: usize = 1_000;

/// What is known of contracts beyond the built-in table.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// ABIs that somebody vouches for.
    pub contracts: BTreeMap<Address, Arc<Contract>>,
    /// Types inferred from code, used where nothing else knows a selector.
    pub inferred: BTreeMap<Address, Arc<Inferred>>,
}

/// A call that nobody has read yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Who the callee sees as its caller.
    pub from: Option<Address>,
    /// Whom it calls; nothing for a deployment.
    pub to: Option<Address>,
    /// Native coin sent along, in wei.
    pub value: U256,
    /// The call data, or the init code.
    pub data: Bytes,
    /// How it is made.
    pub kind: Kind,
}

/// How a call is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary call or a deployment.
    #[default]
    Call,
    /// The callee's code runs as `from`, with its storage and coins.
    Delegate,
    /// A command of the universal router, whose data has no selector.
    Command(u8),
}

/// Where the meaning of call data was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AbiSource {
    /// The ABI of this contract.
    Contract,
    /// The built-in table of selectors.
    Table,
    /// The contract's bytecode.
    Inferred,
}

/// One way to read call data.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The method.
    pub method: Arc<Method>,
    /// What it does.
    pub role: Role,
    /// Where the method is known from.
    pub source: AbiSource,
    /// The arguments.
    pub values: Vec<DynSolValue>,
    /// How the bytes stand to them.
    pub encoding: Encoding,
}

/// What about a call could not be read, or should not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Bytes after the arguments.
    LeftOver(usize),
    /// No compiler encodes the arguments like this.
    NotCanonical,
    /// So many methods fit.
    Ambiguous(usize),
    /// No source knows the selector.
    UnknownMethod,
    /// A source knows the selector, and the data does not fit its types.
    Misfit,
    /// Fewer than the four bytes of a selector.
    NoSelector,
    /// Deeper than [`MAX_DEPTH`]: what is inside was not read.
    TooDeep,
    /// More than [`MAX_CALLS`] calls or too many values: not all were read.
    TooMany,
    /// What is inside is cut off or packed in an unknown way: not all of it was read.
    Incomplete,
}

/// A call, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What was read.
    pub raw: Unread,
    /// The ways to read it, the likeliest first; none when nobody knows the method.
    pub readings: Vec<Reading>,
    /// The calls that it asks for, in order.
    pub inner: Vec<Self>,
    /// What is odd about it.
    pub notes: Vec<Note>,
}

impl Call {
    /// The likeliest reading.
    pub fn reading(&self) -> Option<&Reading> {
        self.readings.first()
    }

    /// The first four bytes of the data, where it calls a method.
    pub fn selector(&self) -> Option<Selector> {
        if self.raw.to.is_none() || matches!(self.raw.kind, Kind::Command(_)) {
            return None;
        }
        self.raw.data.first_chunk().copied()
    }

    /// This call and all inside it, outermost first.
    pub fn walk(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut next = 0;
        while next < found.len() {
            found.extend(&found[next].inner);
            next += 1;
        }
        found
    }

    /// Who acts when the callee's code calls somebody: the callee, or the one it runs as.
    pub(crate) fn executing(&self) -> Option<Address> {
        if self.raw.kind == Kind::Delegate { self.raw.from } else { self.raw.to }
    }
}

/// Reads a call and the calls inside it.
pub fn decode(known: &Known, call: Unread) -> Call {
    let mut reader = Reader { known, budget: Budget::default(), calls: 0 };
    reader.call(call, 0)
}

struct Reader<'k> {
    known: &'k Known,
    budget: Budget,
    calls: usize,
}

impl Reader<'_> {
    fn call(&mut self, raw: Unread, depth: usize) -> Call {
        self.calls += 1;
        let mut call = Call { raw, readings: Vec::new(), inner: Vec::new(), notes: Vec::new() };
        self.read(&mut call);
        if !call.readings.is_empty() {
            self.descend(&mut call, depth);
        }
        call
    }

    /// Fills the readings.
    fn read(&mut self, call: &mut Call) {
        let (rows, data) = match call.raw.kind {
            Kind::Command(byte) => {
                (table::command(byte).map(|row| (row.clone(), AbiSource::Table)).into_iter().collect(), 0)
            }
            _ if call.raw.to.is_none() || call.raw.data.is_empty() => return,
            _ => match call.raw.data.first_chunk::<4>() {
                Some(selector) => (self.candidates(call.raw.to, *selector), 4),
                None => return call.notes.push(Note::NoSelector),
            },
        };
        if rows.is_empty() {
            return call.notes.push(Note::UnknownMethod);
        }
        let data = call.raw.data.slice(data..);
        for (row, source) in rows {
            match abi::decode(&row.method.kinds, &data, &mut self.budget) {
                Ok((values, encoding)) => {
                    call.readings.push(Reading { method: row.method, role: row.role, source, values, encoding });
                }
                Err(AbiError::Budget) => call.notes.push(Note::TooMany),
                Err(_) => {}
            }
        }
        rank(call);
    }

    /// Every method that may be meant, from the best source that knows the selector.
    fn candidates(&self, to: Option<Address>, selector: Selector) -> Vec<(Row, AbiSource)> {
        let contract = to.and_then(|to| self.known.contracts.get(&to)?.method(selector));
        if let Some(method) = contract {
            return vec![(Row { role: table::role_of(method), method: Arc::clone(method) }, AbiSource::Contract)];
        }
        let rows = table::rows(selector);
        if !rows.is_empty() {
            return rows.iter().map(|row| (row.clone(), AbiSource::Table)).collect();
        }
        let inferred = to.and_then(|to| self.known.inferred.get(&to)?.method(selector));
        let row = inferred.map(|method| Row { role: Role::Plain, method: Arc::clone(method) });
        row.map(|row| (row, AbiSource::Inferred)).into_iter().collect()
    }

    /// Reads the calls inside. Each reading may name its own; the likeliest that names any is followed.
    fn descend(&mut self, call: &mut Call, depth: usize) {
        let budget = &mut self.budget;
        let mut found = call.readings.iter().map(|one| nested::inner(call, one.role, Args(&one.values), budget));
        let Some(Inner { calls: inner, is_whole }) = found.find(Inner::is_something) else { return };
        if !is_whole {
            call.notes.push(Note::Incomplete);
        }
        if inner.is_empty() {
            return;
        }
        if depth + 1 >= MAX_DEPTH {
            return call.notes.push(Note::TooDeep);
        }
        for unread in inner {
            if self.calls >= MAX_CALLS {
                return call.notes.push(Note::TooMany);
            }
            let read = self.call(unread, depth + 1);
            call.inner.push(read);
        }
    }
}

/// Puts the likeliest reading first, and says what is odd about it.
fn rank(call: &mut Call) {
    // The sort is stable: equally good readings stay in the order of the table.
    call.readings.sort_by_key(|reading| (!reading.encoding.canonical, reading.encoding.left_over));
    let exact = call.readings.iter().filter(|reading| reading.encoding.canonical && reading.encoding.left_over == 0);
    let exact = exact.count();
    let Some(best) = call.readings.first() else {
        if !call.notes.contains(&Note::TooMany) {
            call.notes.push(Note::Misfit);
        }
        return;
    };
    if best.encoding.left_over > 0 {
        call.notes.push(Note::LeftOver(best.encoding.left_over));
    }
    if !best.encoding.canonical {
        call.notes.push(Note::NotCanonical);
    }
    if exact > 1 {
        call.notes.push(Note::Ambiguous(exact));
    }
}
