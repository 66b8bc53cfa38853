//! Arguments with which a function is tried, by the types it takes.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, Bytes, I256, U256};

use super::code::Function;

/// What arguments are made of.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    /// The wallet that calls are about.
    pub(crate) named: Address,
    /// Who calls.
    pub(crate) caller: Address,
    /// A further wallet.
    pub(crate) other: Address,
    /// The pool.
    pub(crate) pair: Address,
    /// The token itself, which contracts beside it know it by.
    pub(crate) token: Address,
    /// Who spends what was allowed to the exchange.
    pub(crate) router: Address,
    /// Numbers, the most telling first.
    pub(crate) numbers: Vec<U256>,
    /// Numbers that stand for the wallet where lists have numbers for keys, each with a mark for it.
    pub(crate) keys: [(U256, U256); 2],
    /// 32-byte values that the contract's own views answer: names of roles and the like.
    pub(crate) words: Vec<U256>,
}

/// The recovery id of a well-formed signature.
const RECOVERY: u8 = 27;

/// One choice of arguments.
#[derive(Clone, Copy)]
struct Choice {
    number: U256,
    second: Option<U256>,
    third: Option<U256>,
    flag: bool,
    addresses: [Address; 3],
    word: U256,
}

/// Calldata to try, at most `most`; the first two are the ones that tell most.
pub(crate) fn seeds(function: &Function, stock: &Stock, most: usize) -> Vec<Bytes> {
    let mut found: Vec<Bytes> = Vec::new();
    let mut add = |choice: Choice| {
        let data = encode(function, choice);
        if found.len() < most && !found.contains(&data) {
            found.push(data);
        }
    };
    let people = [stock.named, stock.caller, stock.other];
    let first = stock.numbers.first().copied().unwrap_or(U256::ONE);
    let word = stock.words.first().copied().unwrap_or_default();
    let base = Choice { number: first, second: None, third: None, flag: true, addresses: people, word };
    // Bytecode does not tell a word from a number where it is only looked up by.
    let has_word =
        function.arguments.iter().any(|kind| matches!(kind, DynSolType::FixedBytes(_) | DynSolType::Uint(256)));
    add(base);
    add(Choice { flag: false, number: U256::ZERO, ..base });
    if has_word {
        for word in stock.words.iter().copied() {
            add(Choice { word, ..base });
            add(Choice { word, number: word, ..base });
        }
    }
    let of_pair = [stock.pair, stock.named, stock.caller];
    for (index, number) in stock.numbers.iter().copied().enumerate() {
        add(Choice { number, ..base });
        add(Choice { number, flag: false, ..base });
        if index == 0 {
            add(Choice { addresses: of_pair, ..base });
            add(Choice { addresses: of_pair, flag: false, ..base });
            for number in stock.numbers.iter().copied().skip(3).take(2) {
                add(Choice { addresses: of_pair, number, second: Some(U256::ZERO), ..base });
            }
            // A key that is a number, and the mark it is to have.
            for (key, mark) in stock.keys {
                add(Choice { number: key, second: Some(mark), ..base });
            }
        }
    }
    add(Choice { addresses: [stock.caller, stock.named, stock.other], ..base });
    add(Choice { addresses: [stock.named, stock.other, stock.caller], ..base });
    // An amount, a time from which, a time until which.
    add(Choice { second: Some(U256::ZERO), third: Some(U256::MAX), ..base });
    for number in stock.numbers.iter().copied().take(3) {
        add(Choice { second: Some(U256::ZERO), number, ..base });
        add(Choice { number: U256::ZERO, second: Some(number), ..base });
    }
    for first in [stock.token, stock.router, Address::ZERO] {
        add(Choice { addresses: [first, stock.named, stock.caller], ..base });
        add(Choice { addresses: [first, stock.named, stock.caller], flag: false, ..base });
    }
    found
}

fn encode(function: &Function, choice: Choice) -> Bytes {
    let mut place = Place::default();
    let values: Vec<DynSolValue> = function.arguments.iter().map(|kind| value(kind, choice, &mut place, 0)).collect();
    let mut data = function.selector.to_vec();
    data.extend(DynSolValue::Tuple(values).abi_encode_params());
    data.into()
}

/// How many of a kind were written so far.
#[derive(Default)]
struct Place {
    addresses: usize,
    numbers: usize,
}

fn value(kind: &DynSolType, choice: Choice, place: &mut Place, depth: u8) -> DynSolValue {
    match kind {
        DynSolType::Bool => DynSolValue::Bool(choice.flag),
        // Beside times, a small number is the recovery id of a signature.
        DynSolType::Uint(8) if choice.third.is_some() => DynSolValue::Uint(U256::from(RECOVERY), 8),
        DynSolType::Uint(bits) => DynSolValue::Uint(number(choice, place, *bits), *bits),
        DynSolType::Int(bits) => {
            let limit = U256::MAX >> (257 - bits.clamp(&8, &256));
            DynSolValue::Int(I256::from_raw(number(choice, place, 256).min(limit)), *bits)
        }
        DynSolType::Address => {
            let address = choice.addresses[place.addresses.min(2)];
            place.addresses += 1;
            DynSolValue::Address(address)
        }
        DynSolType::FixedBytes(size) => DynSolValue::FixedBytes(choice.word.into(), *size),
        DynSolType::Bytes if choice.third.is_some() => {
            let mut signature = vec![1; 65];
            signature[64] = RECOVERY;
            DynSolValue::Bytes(signature)
        }
        DynSolType::Bytes => DynSolValue::Bytes(Vec::new()),
        DynSolType::String => DynSolValue::String(String::new()),
        DynSolType::Array(inner) if depth < 3 => DynSolValue::Array(vec![value(inner, choice, place, depth + 1)]),
        DynSolType::FixedArray(inner, size) if depth < 3 => {
            DynSolValue::FixedArray((0..(*size).min(8)).map(|_| value(inner, choice, place, depth + 1)).collect())
        }
        DynSolType::Tuple(inner) if depth < 3 => {
            DynSolValue::Tuple(inner.iter().take(16).map(|kind| value(kind, choice, place, depth + 1)).collect())
        }
        _ => DynSolValue::Uint(U256::ZERO, 256),
    }
}

fn number(choice: Choice, place: &mut Place, bits: usize) -> U256 {
    let second = choice.second.unwrap_or(choice.number);
    let number = match place.numbers {
        0 => choice.number,
        1 => second,
        _ => choice.third.unwrap_or(second),
    };
    place.numbers += 1;
    if bits >= 256 { number } else { number & ((U256::ONE << bits) - U256::ONE) }
}
