//! Functions that nobody can call any more: what an initializer, a switch that turns once and an owner who is nobody keep
//! shut.
//!
//! A call that fails is run again in worlds that differ in all that a caller chooses. Only where it fails by the same words
//! in each, and asks nothing of the block, of other contracts or of the coin sent, does storage alone decide. It is shut if
//! each slot on which its failure depends can no longer be written, by anybody, and if that holds for all whom the code
//! may tell apart from a stranger.

use super::measure::bytes_of;
use super::*;

/// Slots read by a call that is looked at.
const MOST_READ: usize = 12;
/// The opcode that puts the coin sent on the stack (yellow paper, appendix H).
const CALLVALUE: u8 = 0x34;
/// Where in a word an address is looked for, in bits from its end: alone, and behind one flag, two flags, a time.
const PLACES: [usize; 5] = [0, 8, 16, 64, 96];
/// What stands for the caller where calls are compared.
const CALLER: U256 = U256::from_limbs([1, 2, 3, u64::MAX]);

/// Bytes of a slot that a call depends on.
type Part = (Address, U256, U256);
/// A function of a target.
type Key = (Address, [u8; 4]);

/// How a call fails, in words that are the same whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    ending: Ending,
    comparisons: Vec<(U256, U256)>,
    decided: Vec<U256>,
}

/// What keeps one caller out.
#[derive(Clone, Debug, Default)]
struct Bar {
    parts: Vec<Part>,
    /// Whom the code lets through instead.
    keepers: BTreeSet<Address>,
}

impl Scan<'_> {
    /// Of these functions, which never worked, those that never will, for anybody.
    pub(super) fn shut(&mut self, wanted: BTreeSet<Key>) -> Result<BTreeSet<Key>, Stop> {
        let mut locked: BTreeMap<Key, Vec<Part>> = BTreeMap::new();
        let (mut seen, mut open) = (wanted.clone(), wanted);
        while let Some(key) = open.pop_first() {
            let functions = Arc::clone(&self.functions);
            let of = |(target, function): &&(Address, Function)| (*target, function.selector) == key;
            let Some((target, function)) = functions.iter().find(of) else { continue };
            if self.succeeded.contains(&key) || self.returned.contains(&key) {
                continue;
            }
            let Some(parts) = self.locks(*target, function)? else { continue };
            // What keeps it shut may be written by others that are shut too.
            let writers: BTreeSet<Key> = parts.iter().flat_map(|part| self.writers(part)).collect();
            open.extend(writers.into_iter().filter(|writer| !self.succeeded.contains(writer) && seen.insert(*writer)));
            locked.insert(key, parts);
        }
        // What only shut functions write stays as it is; so the largest set is sought that keeps itself shut.
        loop {
            let opened: Vec<Key> =
                locked.iter().filter(|(_, parts)| !self.are_settled(parts, &locked)).map(|(key, _)| *key).collect();
            if opened.is_empty() {
                return Ok(locked.into_keys().collect());
            }
            locked.retain(|key, _| !opened.contains(key));
        }
    }

    /// The functions with an instruction that writes any of these bytes.
    fn writers(&self, (address, slot, mask): &Part) -> Vec<Key> {
        let own = self.targets.iter().filter(|target| target.address == *address);
        let variables = own.flat_map(|target| &target.code.variables);
        let hit = variables.filter(|variable| variable.slot == *slot && variable.is_within(*mask));
        hit.flat_map(|variable| variable.writers.iter().map(|writer| (*address, *writer))).collect()
    }

    /// Whether nothing that anybody can call writes these bytes.
    fn are_settled(&self, parts: &[Part], locked: &BTreeMap<Key, Vec<Part>>) -> bool {
        parts.iter().all(|part| {
            let (address, slot, mask) = *part;
            let written = self.written.get(&(address, slot)).copied().unwrap_or_default();
            // Of a function that worked, what it writes was seen.
            let known = |writer: &Key| self.succeeded.contains(writer) || locked.contains_key(writer);
            (written & mask).is_zero()
                && !self.entries.contains(&(address, slot))
                && self.writers(part).iter().all(known)
        })
    }

    /// The bytes of storage that keep a function shut for everybody as long as they are as they are; nothing where that
    /// is not all it depends on.
    fn locks(&mut self, target: Address, function: &Function) -> Result<Option<Vec<Part>>, Stop> {
        let people = self.lab.wallets;
        let data = self.unlike(function);
        let [a, b, c, d] = people.visitors;
        // Among them one with code.
        let strangers = [people.stranger, people.other, people.contract, people.named, people.sink, a, b, c, d];
        let Some((failure, outcome)) = self.fails_alike(target, &strangers, &data)? else { return Ok(None) };
        let bar = self.bar(target, people.stranger, None, &data[0], &outcome)?;
        let mut parts = bar.parts.clone();
        let mut special: BTreeSet<Address> = self.keepers.iter().copied().collect();
        special.extend(outcome.trace.compared.iter().copied());
        special.extend(bar.keepers.iter().copied());
        for who in special.into_iter().filter(|who| Some(*who) != self.proxy.admin) {
            let Some((other, outcome)) = self.fails_alike(target, &[who; 3], &data)? else { return Ok(None) };
            if other == failure {
                // A keeper for whom nothing is different is none.
                if bar.keepers.contains(&who) {
                    return Ok(None);
                }
                continue;
            }
            let own = self.bar(target, who, Some(who), &data[0], &outcome)?;
            if own.parts.is_empty() || !own.keepers.is_empty() {
                return Ok(None);
            }
            parts.extend(own.parts);
        }
        Ok((!parts.is_empty()).then_some(parts))
    }

    /// Three calls of a function with as little in common as possible.
    fn unlike(&self, function: &Function) -> [Bytes; 3] {
        let people = self.lab.wallets;
        let number = |what: &str| U256::from(self.lab.seed.within(what, 1 << 20, 1 << 40));
        let stock = |named: Address, other: Address, what: &str| Stock {
            named,
            other,
            numbers: vec![number(what)],
            words: vec![self.lab.seed.hash(what).into()],
            ..self.stock(people.sink)
        };
        let one = seeds(function, &stock(people.named, people.other, "one number"), 2);
        let two = seeds(function, &stock(people.contract, self.lab.market.pair, "another number"), 1);
        let [first, last] = [one.first(), one.last()].map(|data| data.cloned().unwrap_or_default());
        let second = two.into_iter().next().unwrap_or_default();
        [first, second, last]
    }

    /// How a function fails, if it does so in every world, by words that are the same in each; with the first of the calls.
    fn fails_alike(
        &mut self,
        target: Address,
        callers: &[Address],
        data: &[Bytes; 3],
    ) -> Result<Option<(Failure, Outcome)>, Stop> {
        let mut found: Option<(Failure, Outcome)> = None;
        for (at, (caller, data)) in callers.iter().copied().zip(data.iter().cycle()).enumerate() {
            let gas = self.lab.seed.within(&format!("gas {at}"), 2_000_000, 9_000_000);
            let call = self.transaction(caller, target, data).gas(gas);
            let outcome = self.watched(&call)?;
            let Some(failure) = self.failure(target, caller, data, &outcome) else { return Ok(None) };
            match &found {
                Some((first, _)) if *first != failure => return Ok(None),
                Some(_) => {}
                None => found = Some((failure, outcome)),
            }
        }
        let (Some((failure, outcome)), Some(caller)) = (found, callers.first()) else { return Ok(None) };
        let minds = self.minds_coin(target, *caller, &data[0], &outcome)?;
        Ok((!minds).then_some((failure, outcome)))
    }

    fn watched(&mut self, call: &Call) -> Result<Outcome, Stop> {
        self.count()?;
        self.lab.session.watch_comparisons(true);
        let outcome = self.lab.session.peek(call);
        self.lab.session.watch_comparisons(false);
        Ok(outcome?)
    }

    /// What a failing call says of itself; nothing where more than storage, code and the caller's address may decide.
    fn failure(&self, target: Address, caller: Address, data: &Bytes, outcome: &Outcome) -> Option<Failure> {
        let trace = &outcome.trace;
        let is_cut = trace.truncated || outcome.status == Status::OutOfBudget || trace.reads.len() > MOST_READ;
        // A beacon only says which code runs.
        let is_part = |at: Address| at == target || self.proxy.slots.iter().any(|(holder, _)| *holder == at);
        let asks_others = trace.frames.iter().any(|frame| !is_part(frame.context));
        let env = trace.env();
        let asks_block = env.timestamp
            || env.number
            || env.coinbase
            || env.gas_price
            || env.origin
            || env.base_fee
            || env.prevrandao
            || env.gas_limit
            || env.block_hash
            || env.blob
            || env.balances;
        if outcome.is_success() || is_cut || asks_others || asks_block || !trace.preimages.is_empty() {
            return None;
        }
        let length = U256::from(data.len());
        let tail = length.saturating_sub(U256::from(4));
        let is_length = |word: &U256| *word == length || (*word == tail && !tail.is_zero());
        let fits = |(a, b): &(U256, U256)| (is_length(a) || is_length(b)) && *a.min(b) <= tail.max(U256::from(4));
        let name = |word: U256| if word == abi::word_of(caller) { CALLER } else { word };
        // That there are enough arguments, and that they are what they are, every call is asked.
        let asked = trace.comparisons.iter().filter(|(a, b)| a != b).filter(|pair| !fits(pair));
        Some(Failure {
            ending: Ending::of(outcome),
            comparisons: asked.map(|(a, b)| (name(*a), name(*b))).collect(),
            decided: trace.decided.iter().map(|word| name(*word)).collect(),
        })
    }

    /// Whether it makes a difference that coin is sent, but for being refused at once.
    fn minds_coin(&mut self, target: Address, caller: Address, data: &Bytes, outcome: &Outcome) -> Result<bool, Stop> {
        let asks = outcome.trace.opcodes.values().any(|opcodes| opcodes.contains(CALLVALUE));
        if !asks {
            return Ok(false);
        }
        self.lab.session.set_balance(caller, U256::from(10).pow(U256::from(18)))?;
        let paid = self.lab.transaction(caller, target, data.clone()).value(U256::ONE);
        let paid = self.watched(&paid);
        self.lab.session.restore(&self.base);
        let paid = paid?;
        Ok(paid.is_success() || paid.trace.steps >= outcome.trace.steps)
    }

    /// Which bytes of storage make a difference to a failing call, and for whom it would go on. `is` is the caller himself
    /// where he is somebody particular: where he stands, he is let through.
    fn bar(
        &mut self,
        target: Address,
        caller: Address,
        is: Option<Address>,
        data: &Bytes,
        outcome: &Outcome,
    ) -> Result<Bar, Stop> {
        let mut bar = Bar::default();
        for ((address, slot), value) in &outcome.trace.reads {
            if self.proxy.slots.contains(&(*address, *slot)) {
                continue;
            }
            let is_packed = self.is_packed(*address, *slot);
            let mut tries: Vec<(U256, Option<Address>)> =
                others(*value, is_packed, is).into_iter().map(|other| (other, None)).collect();
            if is.is_none() {
                tries.extend(PLACES.map(|at| seated(*value, caller, at)));
            }
            for (other, holder) in tries.into_iter().filter(|(other, _)| other != value) {
                self.lab.session.set_storage(*address, *slot, other)?;
                let changed = self.peek(caller, target, data);
                self.lab.session.restore(&self.base);
                if Ending::of(&changed?) == Ending::of(outcome) {
                    continue;
                }
                match holder.filter(|holder| !abi::is_nobody(*holder)) {
                    Some(holder) => {
                        bar.keepers.insert(holder);
                    }
                    None => bar.parts.push((*address, *slot, bytes_of(*value ^ other))),
                }
            }
        }
        Ok(bar)
    }

    /// Whether a slot seems to hold more than one thing.
    fn is_packed(&self, address: Address, slot: U256) -> bool {
        let own = self.targets.iter().filter(|target| target.address == address);
        let variables = own.flat_map(|target| &target.code.variables).filter(|variable| variable.slot == slot);
        let offsets: BTreeSet<usize> = variables.map(|variable| variable.offset).collect();
        offsets.len() > 1 || offsets.first().is_some_and(|offset| *offset > 0)
    }
}

/// Values that a slot might have instead. Of one that holds several things, each byte changes by itself; not those in which
/// this address stands.
fn others(value: U256, is_packed: bool, but: Option<Address>) -> Vec<U256> {
    let bytes = value.to_be_bytes::<32>();
    let places = (0..=12_usize).filter(|at| but.is_some_and(|who| bytes[*at..at + 20] == who[..]));
    let kept: BTreeSet<usize> = places.flat_map(|at| at..at + 20).collect();
    if !is_packed && kept.is_empty() {
        return [0_u64, 1, 2].map(U256::from).into_iter().chain([U256::MAX]).collect();
    }
    let mut found = Vec::new();
    for at in (0..32).filter(|at| !kept.contains(at)) {
        let mut other = bytes;
        other[at] = u8::from(other[at] == 0);
        found.push(U256::from_be_bytes(other));
    }
    found
}

/// The slot with this caller in it, and who is there now.
fn seated(value: U256, caller: Address, at: usize) -> (U256, Option<Address>) {
    let seat: U256 = ((U256::ONE << 160) - U256::ONE) << at;
    let there: U256 = (value & seat) >> at;
    let holder = Address::from_word(there.into());
    ((value & !seat) | (abi::word_of(caller) << at), Some(holder))
}
