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
        let mut wanted = BTreeSet::new();
        for (target, function) in Arc::clone(&self.functions).iter() {
            if self.writes_owner(owner, *target, function.selector)? {
                wanted.insert((*target, function.selector));
            }
        }
        let shut = self.shut(wanted.clone())?;
        for (target, function) in Arc::clone(&self.functions).iter() {
            let key = (*target, function.selector);
            if !wanted.contains(&key)
                || self.succeeded.contains(&key)
                || shut.contains(&key)
                || self.only_undoes(*target, function)?
            {
                continue;
            }
            let is_for_nobody = abi::is_nobody(owner) && self.is_for_an_owner(owner, *target, function)?;
            if !is_for_nobody {
                uncovered.insert(hex_of(function.selector));
            }
        }
        Ok(taken)
    }

    /// Whether a function works for an owner, were there one: as nobody is, nobody can call it.
    fn is_for_an_owner(&mut self, owner: Address, target: Address, function: &Function) -> Result<bool, Stop> {
        let somebody = self.lab.wallets.stranger;
        let mut works = false;
        if self.make_owner(owner, somebody)? {
            for seed in self.seeds(function, somebody).into_iter().take(2) {
                let outcome = self.peek(somebody, target, &seed)?;
                works |= outcome.is_success() && has_effects(&outcome);
            }
        }
        self.lab.session.restore(&self.base);
        Ok(works)
    }

    /// Writes another owner where the present one stands. Whether the token then says so.
    fn make_owner(&mut self, from: Address, to: Address) -> Result<bool, Stop> {
        for (address, slot) in self.owner_slots.clone() {
            let value = self.lab.session.storage(address, slot)?;
            for other in abi::replaced(value, from, to) {
                self.lab.session.set_storage(address, slot, other)?;
                if facts::owner(&mut self.lab.session, self.lab.token)? == Some(to) {
                    return Ok(true);
                }
                self.lab.session.set_storage(address, slot, value)?;
            }
        }
        Ok(false)
    }

    /// Whether a function has an instruction that writes who the owner is: of a slot that holds other things too, the bytes
    /// in which he stands.
    fn writes_owner(&mut self, owner: Address, target: Address, selector: [u8; 4]) -> Result<bool, Stop> {
        let own = self.targets.iter().filter(|one| one.address == target);
        let variables = own.flat_map(|one| &one.code.variables).filter(|variable| variable.writers.contains(&selector));
        for variable in variables.filter(|variable| self.owner_slots.contains(&(target, variable.slot))) {
            let value = self.lab.session.storage(target, variable.slot)?.to_be_bytes::<32>();
            // Counted from the end of the word, as offsets are.
            let places = (0..=12_usize).filter(|at| value[12 - at..32 - at] == owner[..]);
            if places.into_iter().any(|at| variable.overlaps(at, 20)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The states without an owner: by each function of the owner that leads there, and by force where none does.
    fn renunciations(&mut self, owner: Address) -> Result<Vec<Checkpoint>, Stop> {
        if abi::is_nobody(owner) {
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
                    && !self.has_owner()?;
                let state = self.lab.session.checkpoint();
                self.lab.session.restore(&self.base);
                if renounces && states.len() < 4 {
                    states.push(state);
                    break;
                }
            }
        }
        if states.is_empty() {
            if self.make_owner(owner, Address::ZERO)? {
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
            let mut people: Vec<Address> = Some(owner).filter(|owner| !abi::is_nobody(*owner)).into_iter().collect();
            let mut compared = BTreeSet::new();
            taken |= self.takes(*target, function, self.lab.wallets.stranger, &mut compared)?;
            people.extend(callers.iter().filter(|caller| compared.contains(*caller) && **caller != owner));
            // Without a comparison there is no telling whom it lets in.
            if abi::is_nobody(owner) && compared.is_empty() {
                people.extend(callers);
            }
            for caller in people {
                taken |= self.takes(*target, function, caller, &mut BTreeSet::new())?;
            }
        }
        if !abi::is_nobody(owner) {
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
                taken |= self.has_owner()?;
            }
            compared.extend(outcome.trace.compared);
            self.lab.session.restore(&self.base);
        }
        Ok(taken)
    }

    /// Whether the token does not say that it is nobody's.
    fn has_owner(&mut self) -> Result<bool, Stop> {
        Ok(!facts::owner(&mut self.lab.session, self.lab.token)?.is_some_and(abi::is_nobody))
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
