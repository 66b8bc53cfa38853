//! What the calls could not show: functions that were never made to work, and what opens trading.

use super::*;

/// Calls that stop trading after which an idle function is tried again.
const MOST_STOPS: usize = 3;

/// A call that stops trading: of whom, which function, with what.
type Stopper = (Address, [u8; 4], Bytes);

/// What a function has instructions to write.
#[derive(Clone, Copy, Debug, Default)]
struct Writes {
    /// Balances or the supply.
    books: bool,
    /// What else transfers depend on.
    rules: bool,
}

impl Scan<'_> {
    /// The call that opens trading for everybody, where it is shut.
    pub(super) fn opening(&self) -> Option<Opening> {
        if !self.vital.is_shut() {
            return None;
        }
        let (pair, named) = (self.lab.market.pair, self.lab.wallets.named);
        // What opens trading names nobody, or the pool; what names a wallet lets that one in.
        let rank = |call: &Bytes| {
            let names = |who: Address| call.windows(20).any(|window| window == who.as_slice());
            if names(named) { 2 } else { u8::from(names(pair)) }
        };
        let openings = self.found.iter().filter_map(|((contract, _, who, _), finding)| {
            let call = finding.effects.get(&Effect::Open)?.clone();
            Some(Opening { who: (*who)?, contract: *contract, call })
        });
        openings.min_by_key(|opening| rank(&opening.call))
    }

    /// Whether the reader found the functions that every token has.
    pub(super) fn is_token(&self) -> bool {
        const MUST: [[u8; 4]; 3] = [[0xa9, 0x05, 0x9c, 0xbb], [0x70, 0xa0, 0x82, 0x31], [0x23, 0xb8, 0x72, 0xdd]];
        let has = |selector: &[u8; 4]| {
            let mut all = self.targets.iter().flat_map(|target| &target.code.functions);
            all.any(|function| function.selector == *selector)
        };
        MUST.iter().all(has)
    }

    /// Functions that write what decides, and were never made to do so.
    pub(super) fn uncovered(&mut self, powers: &mut Powers) -> Result<(), Stop> {
        // transfer and transferFrom, which trading itself runs, and the views of balance and supply.
        const MOVES: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
        const RUN: [[u8; 4]; 2] = [MOVES, [0x23, 0xb8, 0x72, 0xdd]];
        const BOOKS: [[u8; 4]; 2] = [[0x70, 0xa0, 0x82, 0x31], [0x18, 0x16, 0x0d, 0xdd]];
        let mut idle: BTreeMap<(Address, [u8; 4]), Writes> = BTreeMap::new();
        for target in self.targets {
            for variable in &target.code.variables {
                let is_book = BOOKS.iter().any(|selector| variable.readers.contains(selector));
                if !is_book && !variable.readers.contains(&MOVES) {
                    continue;
                }
                let is_rule = !is_book || !self.is_ledger(target.address, variable.slot)?;
                for writer in variable.writers.iter().filter(|writer| !RUN.contains(writer)) {
                    let writes = idle.entry((target.address, *writer)).or_default();
                    writes.books |= is_book;
                    writes.rules |= is_rule;
                }
            }
        }
        let partial = self.partial();
        powers.hidden_gate = !self.secret.is_empty() || self.hashed.iter().any(|key| !self.succeeded.contains(key));
        for (_, selector) in &self.secret {
            powers.uncovered.insert(hex_of(*selector));
            powers.uncovered_books.insert(hex_of(*selector));
        }
        let wanted = self.functions.iter().map(|(target, function)| (*target, function.selector));
        let wanted = wanted.filter(|key| idle.contains_key(key) || !self.returned.contains(key)).collect();
        let (is_token, shut) = (self.is_token(), self.shut(wanted)?);
        for (target, function) in Arc::clone(&self.functions).iter() {
            let key = (*target, function.selector);
            if self.is_nowhere(function) && !self.asks_somebody(*target, function)? {
                continue;
            }
            let writes = idle.get(&key).copied();
            let matters = writes.is_some() || !self.returned.contains(&key);
            if !matters
                || (self.succeeded.contains(&key) && !partial.contains(&key))
                || shut.contains(&key)
                || self.is_by_leave(*target, function)?
                || self.only_undoes(*target, function)?
            {
                continue;
            }
            let name = hex_of(function.selector);
            // What a holder of a token signs is that one's own; of another contract, nobody knows whose word it takes.
            let is_own_word = is_token && self.signed.contains(&key);
            if !is_own_word && !self.returned.contains(&key) {
                powers.idle.insert(name.clone());
            }
            let writes = writes.unwrap_or_default();
            if writes.books {
                powers.uncovered_books.insert(name.clone());
            }
            // A rule that changes with somebody's signature is that one's own; whose balance it moves is not known.
            if writes.rules && !self.signed.contains(&key) {
                powers.uncovered.insert(name);
            }
        }
        Ok(())
    }

    /// Whether a call asks who makes it.
    fn asks_somebody(&mut self, target: Address, function: &Function) -> Result<bool, Stop> {
        let stranger = self.lab.wallets.stranger;
        for seed in self.seeds(function, stranger) {
            let trace = self.peek(stranger, target, &seed)?.trace;
            if !trace.compared.is_empty() || !trace.preimages.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a variable holds the supply or the balances and nothing besides: what is written there is what is answered,
    /// to the last bit, and beside a balance there is nothing that decides.
    fn is_ledger(&mut self, address: Address, slot: U256) -> Result<bool, Stop> {
        let (token, named) = (self.lab.token, self.lab.wallets.named);
        let (who, at) = (B256::from(abi::word_of(named)), B256::from(slot));
        let entry = |first: B256, second: B256| U256::from_be_bytes(keccak256([first, second].concat()).0);
        let balance = encode(&abi::balanceOfCall(named));
        for (place, view) in
            [(slot, encode(&abi::totalSupplyCall {})), (entry(who, at), balance.clone()), (entry(at, who), balance)]
        {
            let had = self.lab.session.storage(address, place)?;
            if had.is_zero() || self.lab.view(token, view.clone())?.word() != Some(had) {
                continue;
            }
            let beside = |n: u64| self.deciding.contains(&(address, place.wrapping_add(U256::from(n))));
            if place != slot && (1..8).any(beside) {
                continue;
            }
            let mut is_all = true;
            for other in [U256::MAX, U256::ONE << 255, U256::ONE] {
                self.lab.session.set_storage(address, place, other)?;
                is_all &= self.lab.view(token, view.clone())?.word() == Some(other);
            }
            self.lab.session.restore(&self.base);
            if is_all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Functions that write a variable which transfers read, and were made to work but never to write it.
    fn partial(&self) -> BTreeSet<(Address, [u8; 4])> {
        const MOVES: [[u8; 4]; 2] = [[0xa9, 0x05, 0x9c, 0xbb], [0x23, 0xb8, 0x72, 0xdd]];
        let mut partial = BTreeSet::new();
        for target in self.targets {
            // Of a mapping only the place is known that its slots are made from.
            let plain = target.code.variables.iter().filter(|variable| {
                variable.readers.contains(&MOVES[0]) && self.deciding.contains(&(target.address, variable.slot))
            });
            for variable in plain {
                for writer in variable.writers.iter().filter(|writer| !MOVES.contains(writer)) {
                    let key = (target.address, *writer);
                    let wrote = self.wrote.get(&key);
                    if wrote.is_some_and(|slots| !slots.contains(&(target.address, variable.slot))) {
                        partial.insert(key);
                    }
                }
            }
        }
        partial
    }

    /// Whether a function that never worked does once trading was stopped, and only gives what the stop wrote its values
    /// back: it ends a pause, and there is no further state that it leads to.
    pub(super) fn only_undoes(&mut self, target: Address, function: &Function) -> Result<bool, Stop> {
        let mut undoes = false;
        for (stop, who) in self.stops() {
            let mut members = self.memberships.get(&(target, function.selector)).cloned().unwrap_or_default();
            members.extend(self.memberships.get(&(stop.0, stop.1)).cloned().unwrap_or_default());
            for (address, slot) in members {
                self.lab.session.set_storage(address, slot, U256::ONE)?;
            }
            self.count()?;
            let stopped = self.lab.session.run(&self.transaction(who, stop.0, &stop.2))?;
            let state = self.lab.session.checkpoint();
            let result = self.undoes_after(target, function, who, &state, &stopped);
            self.lab.session.restore(&self.base);
            match result? {
                Some(true) => undoes = true,
                Some(false) => return Ok(false),
                None => {}
            }
        }
        Ok(undoes)
    }

    /// The calls that stop trading, each with somebody who may.
    fn stops(&self) -> Vec<(Stopper, Address)> {
        let stranger = self.lab.wallets.stranger;
        let found = self.found.iter().filter_map(|((target, selector, who, _), finding)| {
            let call = finding.effects.get(&Effect::Pause)?.clone();
            Some(((*target, *selector, call), who.unwrap_or(stranger)))
        });
        found.take(MOST_STOPS).collect()
    }

    /// Whether every choice of arguments that works in this state only takes back what the stop wrote; nothing where none
    /// works.
    fn undoes_after(
        &mut self,
        target: Address,
        function: &Function,
        who: Address,
        state: &Checkpoint,
        stopped: &Outcome,
    ) -> Result<Option<bool>, Stop> {
        let mut undoes = None;
        for seed in self.seeds(function, who) {
            self.lab.session.restore(state);
            let outcome = self.peek(who, target, &seed)?;
            if !outcome.is_success() || !has_effects(&outcome) {
                continue;
            }
            let is_undone = |write: &surety_evm::Write| {
                let mut all = stopped.trace.writes.iter();
                all.any(|one| (one.address, one.slot, one.before) == (write.address, write.slot, write.after))
            };
            let trace = &outcome.trace;
            let only_writes = trace.native.is_empty() && trace.selfdestructs.is_empty() && trace.created.is_empty();
            if !only_writes || !trace.writes.iter().all(is_undone) {
                return Ok(Some(false));
            }
            undoes = Some(true);
        }
        Ok(undoes)
    }

    /// Whether a function that never worked does once the named holder has approved its caller: it then spends an
    /// allowance, as `transferFrom` does, and nobody is moved without leave.
    fn is_by_leave(&mut self, target: Address, function: &Function) -> Result<bool, Stop> {
        let (holder, caller) = (self.lab.wallets.named, self.lab.wallets.stranger);
        // Not without end: what is spent of it must show.
        let amount = self.lab.supply.saturating_mul(U256::from(4));
        let leave = encode(&abi::approveCall { _0: caller, _1: amount });
        self.count()?;
        let given = self.lab.session.run(&self.transaction(holder, self.subject, &leave))?;
        let approved = self.lab.session.checkpoint();
        let mut works = false;
        for seed in self.seeds(function, caller) {
            // Only of those who gave leave.
            if !given.is_success() || works || !seed.windows(20).any(|window| window == holder.as_slice()) {
                continue;
            }
            self.count()?;
            let outcome = self.lab.session.run(&self.transaction(caller, target, &seed))?;
            let spends = outcome.trace.writes.iter().any(|write| write.before == amount && write.after < amount);
            works = outcome.is_success() && spends;
            self.lab.session.restore(&approved);
        }
        self.lab.session.restore(&self.base);
        Ok(works)
    }
}
