//! What is left of the owner's powers after ownership was given up.

use super::*;

/// A quarter of a year: whoever locks ownership for a time has it back by then.
const LATER_S: u64 = 90 * 86_400;

impl Scan<'_> {
    /// Whether somebody becomes owner again after ownership was given up. Also looks for powers that stay, and notes what
    /// writes who the owner is and was never made to work.
    pub(super) fn renounced(&mut self, callers: &[Address], uncovered: &mut BTreeSet<String>) -> Result<bool, Stop> {
        let Some(owner) = facts::owner(&mut self.lab.session, self.lab.token)? else { return Ok(false) };
        let base = self.base.clone();
        let mut taken = false;
        let states = self.renunciations(owner)?;
        if states.is_empty() && !self.owner_slots.is_empty() {
            uncovered.insert("a state without an owner".to_owned());
        }
        for state in states {
            self.rebase(state);
            let result = self.after_renouncing(owner, callers);
            self.rebase(base.clone());
            taken |= result?;
        }
        for (target, function) in Arc::clone(&self.functions).iter() {
            let key = (*target, function.selector);
            if !self.writes_owner(*target, function.selector)
                || self.succeeded.contains(&key)
                || self.is_shut(*target, function)?
            {
                continue;
            }
            let is_for_nobody = owner.is_zero() && self.is_for_an_owner(*target, function)?;
            if !is_for_nobody {
                uncovered.insert(hex_of(function.selector));
            }
        }
        Ok(taken)
    }

    /// Whether a function works for an owner, were there one: as nobody is, nobody can call it.
    fn is_for_an_owner(&mut self, target: Address, function: &Function) -> Result<bool, Stop> {
        let somebody = self.lab.wallets.stranger;
        for (address, slot) in self.owner_slots.clone() {
            let value = self.lab.session.storage(address, slot)?;
            self.lab.session.set_storage(address, slot, value | abi::word_of(somebody))?;
        }
        let mut works = false;
        if facts::owner(&mut self.lab.session, self.lab.token)? == Some(somebody) {
            for seed in self.seeds(function, somebody).into_iter().take(2) {
                let outcome = self.peek(somebody, target, &seed)?;
                works |= outcome.is_success() && has_effects(&outcome);
            }
        }
        self.lab.session.restore(&self.base);
        Ok(works)
    }

    /// Whether a function has an instruction that writes who the owner is.
    fn writes_owner(&self, target: Address, selector: [u8; 4]) -> bool {
        let own = self.targets.iter().filter(|one| one.address == target);
        own.flat_map(|one| &one.code.variables)
            .any(|variable| variable.writers.contains(&selector) && self.owner_slots.contains(&(target, variable.slot)))
    }

    /// The states without an owner: by each function of the owner that leads there, and by force where none does.
    fn renunciations(&mut self, owner: Address) -> Result<Vec<Checkpoint>, Stop> {
        if owner.is_zero() {
            return Ok(vec![self.base.clone()]);
        }
        let mut states = Vec::new();
        for (target, function) in Arc::clone(&self.functions).iter() {
            let target = *target;
            for seed in self.seeds(function, owner).into_iter().take(2) {
                self.count()?;
                let outcome = self.lab.session.run(&self.transaction(owner, target, &seed))?;
                let renounces = outcome.is_success()
                    && outcome.trace.writes.iter().any(|write| self.owner_slots.contains(&(write.address, write.slot)))
                    && facts::owner(&mut self.lab.session, self.lab.token)? == Some(Address::ZERO);
                let state = self.lab.session.checkpoint();
                self.lab.session.restore(&self.base);
                if renounces && states.len() < 4 {
                    states.push(state);
                    break;
                }
            }
        }
        if states.is_empty() {
            let low: U256 = (U256::ONE << 160) - U256::ONE;
            let mask = !low;
            for (address, slot) in self.owner_slots.clone() {
                let value = self.lab.session.storage(address, slot)?;
                self.lab.session.set_storage(address, slot, value & mask)?;
            }
            if facts::owner(&mut self.lab.session, self.lab.token)? == Some(Address::ZERO) {
                states.push(self.lab.session.checkpoint());
            }
            self.lab.session.restore(&self.base);
        }
        Ok(states)
    }

    /// Tries every function in a state without an owner, as a stranger, as the former owner, and as whomever the code asks
    /// for.
    fn after_renouncing(&mut self, owner: Address, callers: &[Address]) -> Result<bool, Stop> {
        let mut taken = false;
        for (target, function) in Arc::clone(&self.functions).iter() {
            // Nobody is the zero address, though code may take it for the owner that is not there.
            let mut people: Vec<Address> = Some(owner).filter(|owner| !owner.is_zero()).into_iter().collect();
            let mut compared = BTreeSet::new();
            taken |= self.takes(*target, function, self.lab.wallets.stranger, &mut compared)?;
            people.extend(callers.iter().filter(|caller| compared.contains(*caller) && **caller != owner));
            // Without a comparison there is no telling whom it lets in.
            if owner.is_zero() && compared.is_empty() {
                people.extend(callers);
            }
            for caller in people {
                taken |= self.takes(*target, function, caller, &mut BTreeSet::new())?;
            }
        }
        if !owner.is_zero() {
            self.keep_powers(owner)?;
        }
        Ok(taken)
    }

    /// Whether a call of this function makes somebody the owner. Notes whom the caller was compared with.
    fn takes(
        &mut self,
        target: Address,
        function: &Function,
        caller: Address,
        compared: &mut BTreeSet<Address>,
    ) -> Result<bool, Stop> {
        let mut taken = false;
        for seed in self.seeds(function, caller).into_iter().take(2) {
            self.lab.session.head_mut().advance_seconds(LATER_S);
            self.count()?;
            let outcome = self.lab.session.run(&self.transaction(caller, target, &seed))?;
            let mut written = outcome.trace.writes.iter().map(|write| (write.address, write.slot));
            if outcome.is_success() && has_effects(&outcome) {
                self.succeeded.insert((target, function.selector));
            }
            if outcome.is_success() && written.any(|slot| self.owner_slots.contains(&slot)) {
                taken |= facts::owner(&mut self.lab.session, self.lab.token)? != Some(Address::ZERO);
            }
            compared.extend(outcome.trace.compared);
            self.lab.session.restore(&self.base);
        }
        Ok(taken)
    }

    /// Powers that the former owner still has, although nothing names him any more.
    fn keep_powers(&mut self, owner: Address) -> Result<(), Stop> {
        let had: Vec<_> = self.found.iter().filter(|((_, _, who, _), _)| *who == Some(owner)).collect();
        let calls: Vec<(Address, [u8; 4], Effect, Bytes)> = had
            .iter()
            .flat_map(|((target, selector, ..), finding)| {
                finding.effects.iter().map(|(effect, call)| (*target, *selector, *effect, call.clone()))
            })
            .collect();
        for (target, selector, effect, call) in calls {
            let outcome = self.peek(owner, target, &call)?;
            if !outcome.is_success() || !has_effects(&outcome) || self.is_named_now(owner)? {
                continue;
            }
            // A stranger may do it too: then it was never a right of the owner.
            let stranger = self.peek(self.lab.wallets.stranger, target, &call)?;
            if stranger.is_success() && has_effects(&stranger) {
                continue;
            }
            let finding = self.found.entry((target, selector, None, Gate::Address)).or_default();
            finding.effects.insert(effect, call);
        }
        Ok(())
    }

    /// Whether a view still names this address.
    fn is_named_now(&mut self, who: Address) -> Result<bool, Stop> {
        for target in self.targets {
            for function in target.code.functions.iter().filter(|function| function.arguments.is_empty()) {
                let data = Bytes::copy_from_slice(&function.selector);
                let outcome = peek(&mut self.lab.session, self.lab.wallets.sink, target.address, data)?;
                if outcome.word().and_then(address_in) == Some(who) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
