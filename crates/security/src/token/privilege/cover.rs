//! What the calls could not show: functions that were never made to work, and what opens trading.

use super::*;

impl Scan<'_> {
    /// The call that opens trading for everybody, where it is shut.
    pub(super) fn opening(&self) -> Option<Opening> {
        if !self.vital.is_shut() {
            return None;
        }
        self.found.iter().find_map(|((contract, _, who, _), finding)| {
            let call = finding.effects.get(&Effect::Open)?.clone();
            Some(Opening { who: (*who)?, contract: *contract, call })
        })
    }

    /// Whether the reader found the functions that every token has.
    pub(super) fn is_readable(&self) -> bool {
        const MUST: [[u8; 4]; 3] = [[0xa9, 0x05, 0x9c, 0xbb], [0x70, 0xa0, 0x82, 0x31], [0x23, 0xb8, 0x72, 0xdd]];
        let has = |selector: &[u8; 4]| {
            let mut all = self.targets.iter().flat_map(|target| &target.code.functions);
            all.any(|function| function.selector == *selector)
        };
        MUST.iter().all(has) && self.targets.iter().all(|target| target.code.complete)
    }

    /// Functions that write what decides, and were never made to do so.
    pub(super) fn uncovered(&mut self, powers: &mut Powers) -> Result<(), Stop> {
        // transfer and transferFrom, which trading itself runs, and the views of balance and supply.
        const MOVES: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
        const RUN: [[u8; 4]; 2] = [MOVES, [0x23, 0xb8, 0x72, 0xdd]];
        const BOOKS: [[u8; 4]; 2] = [[0x70, 0xa0, 0x82, 0x31], [0x18, 0x16, 0x0d, 0xdd]];
        let mut idle: BTreeMap<(Address, [u8; 4]), bool> = BTreeMap::new();
        for target in self.targets {
            for variable in &target.code.variables {
                let is_book = BOOKS.iter().any(|selector| variable.readers.contains(selector));
                if !is_book && !variable.readers.contains(&MOVES) {
                    continue;
                }
                for writer in variable.writers.iter().filter(|writer| !RUN.contains(writer)) {
                    *idle.entry((target.address, *writer)).or_default() |= is_book;
                }
            }
        }
        powers.hidden_gate = self.hashed.iter().any(|key| !self.succeeded.contains(key));
        for (target, function) in Arc::clone(&self.functions).iter() {
            let key = (*target, function.selector);
            let Some(is_book) = idle.get(&key).copied() else { continue };
            if self.succeeded.contains(&key)
                || self.is_shut(*target, function)?
                || self.is_by_leave(*target, function)?
            {
                continue;
            }
            let name = format!("0x{}", const_hex::encode(function.selector));
            if is_book {
                powers.uncovered_books.insert(name.clone());
            }
            // A rule that changes with somebody's signature is that one's own; whose balance it moves is not known.
            if !self.signed.contains(&key) {
                powers.uncovered.insert(name);
            }
        }
        Ok(())
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

    /// Whether a function is shut for everybody by a variable that nothing writes any more, as an initializer is.
    fn is_shut(&mut self, target: Address, function: &Function) -> Result<bool, Stop> {
        let stranger = self.lab.wallets.stranger;
        let Some(seed) = self.seeds(function, stranger).into_iter().next() else { return Ok(false) };
        let outcome = self.peek(stranger, target, &seed)?;
        if outcome.is_success() || !outcome.trace.preimages.is_empty() || !outcome.trace.compared.is_empty() {
            return Ok(false);
        }
        for ((address, slot), value) in &outcome.trace.reads {
            let place = (*address, *slot);
            if self.proxy.slots.contains(&place) || self.entries.contains(&place) || self.written.contains(&place) {
                continue;
            }
            for other in [0_u64, 1, 2].map(U256::from).into_iter().filter(|other| other != value) {
                self.lab.session.set_storage(*address, *slot, other)?;
                let changed = self.peek(stranger, target, &seed);
                self.lab.session.restore(&self.base);
                if changed?.trace.steps != outcome.trace.steps {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
