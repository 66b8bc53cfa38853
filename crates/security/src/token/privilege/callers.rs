//! Whom a contract treats differently from a stranger.

use super::*;

impl Scan<'_> {
    /// Everything as an ordinary holder. Returns whom the code compared that holder with.
    pub(super) fn strangers(&mut self) -> Result<BTreeSet<Address>, Stop> {
        let stranger = self.lab.wallets.stranger;
        let mut compared = BTreeSet::new();
        for (target, function) in Arc::clone(&self.functions).iter() {
            let target = *target;
            let data = self.seeds(function, stranger);
            let mut gated = false;
            for seed in data.iter().take(2) {
                let outcome = self.peek(stranger, target, seed)?;
                if outcome.is_success() {
                    self.returned.insert((target, function.selector));
                }
                gated |= !outcome.is_success() && !outcome.trace.compared.is_empty();
                self.endings.entry((target, function.selector)).or_default().push(Ending::of(&outcome));
                compared.extend(outcome.trace.compared);
            }
            if !gated {
                self.try_all(stranger, target, function, &data, Gate::Anyone)?;
            }
        }
        Ok(compared)
    }

    /// Everything as one particular address, where the code treats it differently from a stranger.
    pub(super) fn keeper(&mut self, caller: Address) -> Result<(), Stop> {
        for (target, function) in Arc::clone(&self.functions).iter() {
            let target = *target;
            let mine = self.seeds(function, caller);
            let theirs = self.endings.get(&(target, function.selector)).cloned().unwrap_or_default();
            let mut differs = false;
            for (mine, theirs) in mine.iter().zip(&theirs) {
                differs = differs || Ending::of(&self.peek(caller, target, mine)?) != *theirs;
            }
            if differs {
                self.try_all(caller, target, function, &mine, Gate::Address)?;
            }
        }
        Ok(())
    }

    /// Everything as a stranger who was made a member of whatever mapping the code looked him up in.
    pub(super) fn members(&mut self) -> Result<(), Stop> {
        let stranger = self.lab.wallets.stranger;
        for (target, function) in Arc::clone(&self.functions).iter() {
            let target = *target;
            let data = self.seeds(function, stranger);
            let base = self.base.clone();
            let mut forced = BTreeSet::new();
            let mut seed_at = 0;
            while forced.len() < MOST_FORCED && seed_at < 2.min(data.len()) {
                let outcome = self.peek(stranger, target, &data[seed_at])?;
                if outcome.is_success() {
                    break;
                }
                let keyed = ledger::keyed_by(&outcome, stranger);
                let next = keyed.into_iter().find(|slot| {
                    outcome.trace.reads.get(slot).is_some_and(U256::is_zero)
                        && !self.entries.contains(slot)
                        && !forced.contains(slot)
                        && !self.lab.market.has(slot.0)
                });
                let Some((address, slot)) = next else {
                    seed_at += 1;
                    continue;
                };
                self.lab.session.set_storage(address, slot, U256::ONE)?;
                forced.insert((address, slot));
            }
            if !forced.is_empty() {
                self.memberships.insert((target, function.selector), forced.clone());
                let forced_state = self.lab.session.checkpoint();
                self.rebase(forced_state);
                self.forced.clone_from(&forced);
                let result = self.as_member(target, function, &data, &forced);
                self.forced.clear();
                self.rebase(base);
                result?;
            }
        }
        Ok(())
    }

    fn as_member(
        &mut self,
        target: Address,
        function: &Function,
        data: &[Bytes],
        forced: &BTreeSet<(Address, U256)>,
    ) -> Result<(), Stop> {
        let stranger = self.lab.wallets.stranger;
        self.try_all(stranger, target, function, data, Gate::Member)?;
        let key = (target, function.selector, None, Gate::Member);
        if !self.found.contains_key(&key) {
            return Ok(());
        }
        // Somebody shown appoints the members, or a view says who they are.
        let viewed = self.views_read(stranger)?;
        let shown = forced.iter().all(|slot| viewed.contains(slot) || self.appointed.contains(slot));
        if let Some(finding) = self.found.get_mut(&key) {
            finding.shown = shown;
        }
        Ok(())
    }

    /// Slots that views read when asked about somebody.
    fn views_read(&mut self, about: Address) -> Result<BTreeSet<(Address, U256)>, Stop> {
        let mut read = BTreeSet::new();
        for (target, function) in Arc::clone(&self.functions).iter() {
            let target = *target;
            let stock = Stock { named: about, ..self.stock(self.lab.wallets.sink) };
            for seed in seeds(function, &stock, 2 + 2 * self.words.len()) {
                let outcome = self.peek(self.lab.wallets.sink, target, &seed)?;
                if outcome.is_success() && outcome.trace.writes.is_empty() {
                    read.extend(ledger::keyed_by(&outcome, about));
                }
            }
        }
        Ok(read)
    }

    /// Who might be privileged, the owner first.
    pub(super) fn callers(&mut self, hints: &[Address], compared: &BTreeSet<Address>) -> Result<Vec<Address>, Stop> {
        let mut callers: Vec<Address> = facts::owner(&mut self.lab.session, self.lab.token)?.into_iter().collect();
        callers.extend(self.shown.iter().copied());
        callers.extend(hints.iter().copied());
        callers.extend(compared.iter().copied());
        for target in self.targets {
            callers.extend(target.code.addresses.iter().copied());
            callers.extend(ledger::named(&mut self.lab.session, target.address)?);
        }
        let mut seen = BTreeSet::new();
        let (lab, proxy, targets) = (&self.lab, self.proxy, self.targets);
        callers.retain(|caller| {
            let apart = lab.market.has(*caller)
                || lab.wallets.has(*caller)
                || proxy.implementations.contains(caller)
                || targets.iter().any(|target| target.address == *caller);
            !apart && !is_precompile(*caller) && seen.insert(*caller)
        });
        self.is_cut |= callers.len() > MOST_CALLERS;
        callers.truncate(MOST_CALLERS);
        Ok(callers)
    }

    /// Whether a view names this address, or answers about it from the slot that lets it in.
    pub(super) fn is_shown(&mut self, caller: Address) -> Result<bool, Stop> {
        if self.shown.contains(&caller) {
            return Ok(true);
        }
        let mut viewed = self.views_read(caller)?;
        // A balance or an allowance tells nothing about a right.
        viewed.retain(|slot| !self.entries.contains(slot) && !self.books.contains(slot));
        let mut set = false;
        for slot in &viewed {
            set |= !self.lab.session.storage(slot.0, slot.1)?.is_zero() && !self.holds_entry(caller, *slot)?;
        }
        Ok(set)
    }

    /// Whether a slot is the balance or an allowance of somebody.
    fn holds_entry(&mut self, of: Address, slot: (Address, U256)) -> Result<bool, Stop> {
        let people = self.lab.wallets;
        let token = self.lab.token;
        let mut calls = vec![encode(&abi::balanceOfCall(of))];
        for person in [people.named, people.sink, people.other, people.stranger, of] {
            calls.push(encode(&abi::allowanceCall { _0: of, _1: person }));
            calls.push(encode(&abi::allowanceCall { _0: person, _1: of }));
        }
        for call in calls {
            if peek(&mut self.lab.session, Address::ZERO, token, call)?.trace.reads.contains_key(&slot) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
