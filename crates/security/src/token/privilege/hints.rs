//! Arguments that code itself asks for: what it compares an argument with is tried as that argument.
//!
//! A power may hide behind a number that nobody guesses, or behind a bound that no usual number meets. Each argument is
//! given a number of its own; wherever the code compares that number, the other side is the next one to try.

use super::*;

/// How often what was found is put in to see what is asked for behind it.
const ROUNDS: usize = 4;
/// Calldata of one function that is tried because its code asked for it.
const MOST_ASKED: usize = 36;
/// Values for the arguments that nothing was asked of.
const FILLERS: [u64; 3] = [40, 0, 1];

impl Scan<'_> {
    /// Calldata with the values that this function compared its arguments with, for this caller.
    pub(super) fn asked(&mut self, caller: Address, target: Address, function: &Function) -> Result<Vec<Bytes>, Stop> {
        let Some(first) = self.seeds(function, caller).into_iter().next() else { return Ok(Vec::new()) };
        let places = places(function, first.len());
        let mut colours: Vec<U256> = places.iter().map(|(at, kind)| self.colour(&first, *at, kind)).collect();
        let mut found: Vec<Bytes> = Vec::new();
        let mut painted = paint(&first, &places, &colours);
        for _ in 0..ROUNDS {
            let outcome = self.compared(caller, target, &painted)?;
            self.note_secret((target, function.selector), caller, &outcome);
            let compared = outcome.trace.comparisons;
            let before = found.len();
            for (index, (at, kind)) in places.iter().enumerate() {
                let colour = colours[index];
                let fits = |other: &U256| *kind != DynSolType::Address || other.bit_len() <= 160;
                let mut other = compared.iter().filter_map(|pair| other_of(*pair, colour)).filter(fits).peekable();
                let next = other.peek().copied();
                for value in other.take(8).flat_map(around) {
                    for filler in std::iter::once(None).chain(FILLERS.map(Some)) {
                        let data = filled(&painted, &places, (*at, value), filler);
                        if found.len() < MOST_ASKED && !found.contains(&data) {
                            found.push(data);
                        }
                    }
                }
                if let Some(next) = next {
                    colours[index] = next;
                }
            }
            if found.len() == before {
                break;
            }
            painted = paint(&first, &places, &colours);
        }
        Ok(found)
    }

    /// A call on the base, with what is compared in it.
    fn compared(&mut self, caller: Address, target: Address, data: &Bytes) -> Result<Outcome, Stop> {
        self.lab.session.watch_comparisons(true);
        let outcome = self.peek(caller, target, data);
        self.lab.session.watch_comparisons(false);
        outcome
    }

    /// Notes a function that compares a hash of its caller with one that nobody knows the caller of.
    fn note_secret(&mut self, key: (Address, [u8; 4]), caller: Address, outcome: &Outcome) {
        let trace = &outcome.trace;
        let names = |input: &Bytes| input.windows(20).any(|window| window == caller.as_slice());
        let hashes: Vec<U256> =
            trace.preimages.iter().filter(|(_, input)| names(input)).map(|(hash, _)| (*hash).into()).collect();
        let is_gate = |(a, b): &(U256, U256)| a != b && a.bit_len() > 200 && b.bit_len() > 200;
        if trace.comparisons.iter().filter(|pair| is_gate(pair)).any(|(a, b)| hashes.contains(a) || hashes.contains(b))
        {
            self.secret.insert(key);
        }
    }

    /// Whether something of a call's selector but the selector itself is compared, or with what is none: there are
    /// functions that the reader does not find. Of two calls of functions that do not exist, all else is the same.
    pub(super) fn is_obscure(&mut self) -> Result<bool, Stop> {
        let known: BTreeSet<U256> =
            self.functions.iter().map(|(_, function)| U256::from_be_slice(&function.selector)).collect();
        let stranger = self.lab.wallets.stranger;
        for target in self.targets {
            let mut runs = Vec::new();
            for n in [1, 2] {
                let hash = self.lab.seed.nth(n).hash("no function");
                let selector = U256::from_be_slice(&hash[..4]);
                let outcome = self.compared(stranger, target.address, &Bytes::copy_from_slice(&hash[..4]))?;
                runs.push((selector, outcome.trace.comparisons));
            }
            let [(one, first), (two, second)] = &runs[..] else { continue };
            let is_plain = |selector: U256, (a, b): (U256, U256)| {
                let other = if a == selector { b } else { a };
                (a == selector || b == selector) && known.contains(&other)
            };
            let mut pairs = first.iter().zip(second).filter(|(a, b)| a != b);
            // Where one search ends earlier than the other, both ended.
            if pairs.any(|(a, b)| !is_plain(*one, *a) && !is_plain(*two, *b)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A number that stands nowhere else, small enough to be an amount that anybody has.
    fn colour(&self, data: &Bytes, at: usize, kind: &DynSolType) -> U256 {
        let hash = U256::from_be_bytes(self.lab.seed.hash(&format!("argument {at}")).0);
        let small = |bits: usize| (hash & ((U256::ONE << (bits - 1)) - U256::ONE)) | (U256::ONE << (bits - 1));
        match kind {
            DynSolType::Uint(bits) | DynSolType::Int(bits) if *bits <= 8 => small(7),
            DynSolType::Uint(bits) | DynSolType::Int(bits) if *bits <= 24 => small(bits - 2),
            DynSolType::Uint(_) | DynSolType::Int(_) => small(24),
            DynSolType::FixedBytes(size) => hash << (8 * (32 - size.min(&32))),
            // Addresses stay those of our wallets.
            _ => data.get(at..at + 32).map(U256::from_be_slice).unwrap_or_default(),
        }
    }
}

/// Where in the calldata the arguments stand that are one word.
fn places(function: &Function, length: usize) -> Vec<(usize, DynSolType)> {
    let mut at = 4;
    let mut places = Vec::new();
    for kind in &function.arguments {
        match kind {
            DynSolType::Uint(_) | DynSolType::Int(_) | DynSolType::FixedBytes(_) | DynSolType::Address => {
                places.push((at, kind.clone()));
            }
            // Static ones of several words; where the next argument stands is not worth finding out.
            DynSolType::Tuple(_) | DynSolType::FixedArray(..) => break,
            _ => {}
        }
        at += 32;
    }
    places.retain(|(at, _)| at + 32 <= length);
    places
}

fn paint(data: &Bytes, places: &[(usize, DynSolType)], colours: &[U256]) -> Bytes {
    let mut painted = data.to_vec();
    for ((at, _), colour) in places.iter().zip(colours) {
        put(&mut painted, *at, *colour);
    }
    painted.into()
}

/// The calldata with one argument as it was asked for, and the others with something small where that is wanted.
fn filled(data: &Bytes, places: &[(usize, DynSolType)], (at, value): (usize, U256), filler: Option<u64>) -> Bytes {
    let mut data = data.to_vec();
    for (other, _) in places.iter().filter(|(_, kind)| filler.is_some() && *kind != DynSolType::Address) {
        put(&mut data, *other, filler.map(U256::from).unwrap_or_default());
    }
    put(&mut data, at, value);
    data.into()
}

fn put(data: &mut [u8], at: usize, value: U256) {
    if let Some(word) = data.get_mut(at..at + 32) {
        word.copy_from_slice(&value.to_be_bytes::<32>());
    }
}

fn other_of((a, b): (U256, U256), colour: U256) -> Option<U256> {
    let other = if a == colour { b } else { a };
    (a == colour || b == colour).then_some(other).filter(|other| *other != colour)
}

/// A value and its neighbours, for what is to be more or less than it.
fn around(value: U256) -> [U256; 3] {
    [value, value.saturating_add(U256::ONE), value.saturating_sub(U256::ONE)]
}
