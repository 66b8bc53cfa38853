//! Which calls a call asks for.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, Bytes, U256};

use super::abi::{self, Budget};
use super::args::Args;
use super::call::{Call, Kind, Unread};
use super::role::Role;

/// Selector of `execute(bytes32,bytes)`.
const EXECUTE_MODE: [u8; 4] = [0xe9, 0xae, 0x5c, 0x53];

/// What ERC-7821's mode of several batches has in its bytes 6 to 9.
const BATCHES: [u8; 4] = [0x78, 0x21, 0x00, 0x02];

/// The calls that a call asks for.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) calls: Vec<Unread>,
    /// Whether all that the data asks for is among them.
    pub(crate) is_whole: bool,
}

impl Inner {
    pub(crate) const fn is_something(&self) -> bool {
        !self.calls.is_empty() || !self.is_whole
    }

    const fn cut(calls: Vec<Unread>) -> Self {
        Self { calls, is_whole: false }
    }
}

impl From<Vec<Unread>> for Inner {
    fn from(calls: Vec<Unread>) -> Self {
        Self { calls, is_whole: true }
    }
}

impl From<Option<Unread>> for Inner {
    fn from(call: Option<Unread>) -> Self {
        call.into_iter().collect::<Vec<_>>().into()
    }
}

/// The calls inside `call`, read with these arguments; none when the method makes no calls that its caller chose.
pub(crate) fn inner(call: &Call, role: Role, args: Args<'_>, budget: &mut Budget) -> Inner {
    match role {
        Role::SelfCalls => self_calls(call, args, 0).into(),
        Role::SelfCallsSecond => self_calls(call, args, 1).into(),
        Role::Aggregate => listed(args, 0, |one| by(call, one.address(0), None, one.bytes(1))),
        Role::TryAggregate => listed(args, 1, |one| by(call, one.address(0), None, one.bytes(1))),
        Role::Aggregate3 => listed(args, 0, |one| by(call, one.address(0), None, one.bytes(2))),
        Role::Aggregate3Value => listed(args, 0, |one| by(call, one.address(0), one.uint(2), one.bytes(3))),
        Role::Execute | Role::ApproveAndCall => account(call, role, args),
        Role::ExecutePlain => by(call, args.address(0), None, args.bytes(1)).into(),
        Role::Forward => args.tuple(0).and_then(forwarded).into(),
        Role::ForwardBatch => listed(args, 0, forwarded),
        Role::ExecuteBatch => zipped(call, args.list(0), None, args.list(1)),
        Role::ExecuteBatchValues => zipped(call, args.list(0), Some(args.list(1)), args.list(2)),
        Role::ExecuteCalls => triples(call, args).into(),
        Role::ExecuteMode => mode(call, args, budget),
        Role::SafeExecute => safe(call, args).into(),
        Role::MultiSend => multi_send(call, args.bytes(0).unwrap_or_default()),
        Role::SafeSetup => delegate(call, args.address(2), args.bytes(3)).into(),
        Role::CreateProxy | Role::UpgradeAndCall | Role::DelegateCall => {
            delegate(call, args.address(0), args.bytes(1)).into()
        }
        Role::HandleOps => operations(call, args).into(),
        Role::HandleAggregatedOps => args.tuples(0).flat_map(|one| operations(call, one)).collect::<Vec<_>>().into(),
        Role::RouterCommands => commands(call, args),
        _ => Vec::new().into(),
    }
}

fn listed<'a>(args: Args<'a>, at: usize, read: impl Fn(Args<'a>) -> Option<Unread>) -> Inner {
    args.tuples(at).filter_map(read).collect::<Vec<_>>().into()
}

/// A request that a forwarder passes on: the callee takes `from` for its caller.
fn forwarded(request: Args<'_>) -> Option<Unread> {
    Some(Unread {
        from: request.address(0),
        to: Some(request.address(1)?),
        value: request.uint(2)?,
        data: Bytes::copy_from_slice(request.bytes(5)?),
        kind: Kind::Call,
    })
}

fn account(call: &Call, role: Role, args: Args<'_>) -> Inner {
    let value = if role == Role::Execute { args.uint(1) } else { None };
    by(call, args.address(0), value, args.bytes(2)).into()
}

/// A call made by whoever executes `call`.
fn by(call: &Call, to: Option<Address>, value: Option<U256>, data: Option<&[u8]>) -> Option<Unread> {
    Some(Unread {
        from: call.executing(),
        to: Some(to?),
        value: value.unwrap_or_default(),
        data: Bytes::copy_from_slice(data?),
        kind: Kind::Call,
    })
}

/// Code that runs as whoever executes `call`. Nothing without a target.
fn delegate(call: &Call, to: Option<Address>, data: Option<&[u8]>) -> Option<Unread> {
    let to = to.filter(|to| !to.is_zero());
    by(call, to, None, data)
        .filter(|unread| !unread.data.is_empty())
        .map(|unread| Unread { kind: Kind::Delegate, ..unread })
}

/// A multicall delegates to its own code: caller and callee stay who they were.
fn self_calls(call: &Call, args: Args<'_>, at: usize) -> Vec<Unread> {
    let data = args.list(at).iter().filter_map(DynSolValue::as_bytes);
    data.map(|data| Unread { value: U256::ZERO, data: Bytes::copy_from_slice(data), ..call.raw.clone() }).collect()
}

fn zipped(call: &Call, targets: &[DynSolValue], values: Option<&[DynSolValue]>, data: &[DynSolValue]) -> Inner {
    // Some accounts let an empty list stand for calls without data, or without coins.
    let fits = |list: &[DynSolValue]| list.is_empty() || list.len() == targets.len();
    let is_whole = fits(data) && values.is_none_or(fits);
    let values = values.unwrap_or_default();
    let value = |at: usize| values.get(at).and_then(|value| value.as_uint()).map(|(number, _)| number);
    let data = |at: usize| data.get(at).map_or(Some(&[][..]), DynSolValue::as_bytes);
    let targets = targets.iter().enumerate();
    let calls = targets.filter_map(|(at, target)| by(call, target.as_address(), value(at), data(at))).collect();
    Inner { calls, is_whole }
}

fn triples(call: &Call, args: Args<'_>) -> Vec<Unread> {
    // ERC-7821: the zero address stands for the account itself.
    let target = |address: Address| if address.is_zero() { call.executing().unwrap_or(address) } else { address };
    args.tuples(0).filter_map(|one| by(call, one.address(0).map(target), one.uint(1), one.bytes(2))).collect()
}

fn safe(call: &Call, args: Args<'_>) -> Option<Unread> {
    let made = by(call, args.address(0), args.uint(1), args.bytes(2))?;
    let is_delegate = args.uint(3)? == U256::ONE;
    // The value of a delegatecall is ignored.
    Some(if is_delegate { Unread { kind: Kind::Delegate, value: U256::ZERO, ..made } } else { made })
}

/// ERC-7579's execution modes: the first byte says single, batch or delegatecall.
fn mode(call: &Call, args: Args<'_>, budget: &mut Budget) -> Inner {
    let (Some(mode), Some(data)) = (args.word(0), args.bytes(1)) else { return Vec::new().into() };
    match mode[0] {
        0x00 => match packed(data) {
            Some((to, value, data)) => by(call, Some(to), Some(value), Some(data)).into(),
            None => Inner::cut(Vec::new()),
        },
        0x01 if mode[6..10] == BATCHES => batches(call, data, budget),
        0x01 => batch(call, data, budget),
        0xff => match data.split_first_chunk::<20>() {
            Some((target, data)) => {
                let made = by(call, Some(Address::from(target)), None, Some(data));
                made.map(|unread| Unread { kind: Kind::Delegate, ..unread }).into()
            }
            None => Inner::cut(Vec::new()),
        },
        _ => Inner::cut(Vec::new()),
    }
}

/// `address ‖ value ‖ data` without padding.
fn packed(data: &[u8]) -> Option<(Address, U256, &[u8])> {
    let (to, rest) = data.split_first_chunk::<20>()?;
    let (value, data) = rest.split_first_chunk::<32>()?;
    Some((Address::from(to), U256::from_be_bytes(*value), data))
}

/// An encoded list of (target, value, data).
fn batch(call: &Call, data: &[u8], budget: &mut Budget) -> Inner {
    let triple = DynSolType::Tuple(vec![DynSolType::Address, DynSolType::Uint(256), DynSolType::Bytes]);
    match abi::decode(&[DynSolType::Array(Box::new(triple))], data, budget) {
        Ok((values, _)) => triples(call, Args(&values)).into(),
        Err(_) => Inner::cut(Vec::new()),
    }
}

/// Several batches, each read as the account would read it: as a call of itself.
fn batches(call: &Call, data: &[u8], budget: &mut Budget) -> Inner {
    let list = DynSolType::Array(Box::new(DynSolType::Bytes));
    let Ok((values, _)) = abi::decode(&[list], data, budget) else { return Inner::cut(Vec::new()) };
    let again = |data: &[u8]| Unread {
        value: U256::ZERO,
        data: [&EXECUTE_MODE[..], &mode_call(data)].concat().into(),
        ..call.raw.clone()
    };
    Args(&values).list(0).iter().filter_map(DynSolValue::as_bytes).map(again).collect::<Vec<_>>().into()
}

/// The arguments of `execute(bytes32 mode, bytes)` for one batch.
fn mode_call(data: &[u8]) -> Vec<u8> {
    let mut mode = [0; 32];
    mode[0] = 1;
    let mode = DynSolValue::FixedBytes(mode.into(), 32);
    DynSolValue::Tuple(vec![mode, DynSolValue::Bytes(data.to_vec())]).abi_encode_params()
}

/// MultiSend's packed list: operation, target, value, length, data.
///
/// The contract reads on past the end, into whatever its memory holds: a last entry that is cut off is made all the same,
/// with what is there of it.
fn multi_send(call: &Call, mut packed_list: &[u8]) -> Inner {
    let mut found = Vec::new();
    while let Some((operation, rest)) = packed_list.split_first() {
        let Some((to, value, rest)) = packed(rest) else { return Inner::cut(found) };
        let Some((length, rest)) = rest.split_first_chunk::<32>() else { return Inner::cut(found) };
        let length = usize::try_from(U256::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (data, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let kind = if *operation == 1 { Kind::Delegate } else { Kind::Call };
        found.extend(by(call, Some(to), Some(value), Some(data)).map(|unread| Unread { kind, ..unread }));
        if data.len() < length {
            return Inner::cut(found);
        }
        packed_list = after;
    }
    found.into()
}

/// What an entry point does for each user operation: creates the account if need be, then calls it.
fn operations(call: &Call, args: Args<'_>) -> Vec<Unread> {
    args.tuples(0).flat_map(|operation| of_operation(call.raw.to, operation)).collect()
}

fn of_operation(entry: Option<Address>, operation: Args<'_>) -> Vec<Unread> {
    let (Some(sender), Some(init), Some(data)) = (operation.address(0), operation.bytes(2), operation.bytes(3)) else {
        return Vec::new();
    };
    user_operation(entry, sender, init, data)
}

/// The calls of a user operation: the factory's, where there is one, and the account's.
pub(crate) fn user_operation(entry: Option<Address>, sender: Address, init: &[u8], data: &[u8]) -> Vec<Unread> {
    let made = |to: Address, data: &[u8]| Unread {
        from: entry,
        to: Some(to),
        data: Bytes::copy_from_slice(data),
        ..Unread::default()
    };
    let factory = init.split_first_chunk::<20>().map(|(factory, data)| made(Address::from(factory), data));
    factory.into_iter().chain(std::iter::once(made(sender, data))).collect()
}

/// The universal router's commands, each with its input. They act for the router's caller.
fn commands(call: &Call, args: Args<'_>) -> Inner {
    let bytes = args.bytes(0).unwrap_or_default();
    let inputs = args.list(1);
    let made = |(byte, input): (&u8, &[u8])| Unread {
        value: U256::ZERO,
        data: Bytes::copy_from_slice(input),
        kind: Kind::Command(*byte),
        ..call.raw.clone()
    };
    let calls = bytes.iter().zip(inputs.iter().filter_map(DynSolValue::as_bytes)).map(made).collect();
    Inner { calls, is_whole: bytes.len() == inputs.len() }
}
