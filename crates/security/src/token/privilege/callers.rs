//! Whom a contract treats differently from a stranger.

use super::*;

/// What is paid where a function takes something, in wei.
const PAID: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);
/// Of those who might be privileged, how many pay.
const MOST_PAYING: usize = 3;

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
                let asked = self.asked(stranger, target, function)?;
                self.asked_of_all.insert((target, function.selector), asked.iter().cloned().collect());
                let data = [data, asked].concat();
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
            let mut asked = self.asked(caller, target, function)?;
            if !differs && let Some(known) = self.asked_of_all.get(&(target, function.selector)) {
                asked.retain(|data| !known.contains(data));
            }
            let data = if differs { [mine, asked].concat() } else { asked };
            if !data.is_empty() {
                self.try_all(caller, target, function, &data, Gate::Address)?;
            }
        }
        Ok(())
    }

    /// Everything that takes native coin, as a stranger and as those who might be privileged.
    pub(super) fn paying(&mut self, callers: &[Address]) -> Result<(), Stop> {
        let (base, stranger) = (self.base.clone(), self.lab.wallets.stranger);
        let people: Vec<Address> = std::iter::once(stranger).chain(callers.iter().copied().take(MOST_PAYING)).collect();
        for who in &people {
            self.lab.session.set_balance(*who, U256::from(4) * PAID)?;
        }
        let rich = self.lab.session.checkpoint();
        self.rebase(rich);
        self.paid = PAID;
        let result = self.paid_by(&people);
        self.paid = U256::ZERO;
        self.rebase(base);
        result
    }

    fn paid_by(&mut self, people: &[Address]) -> Result<(), Stop> {
        for (target, function) in Arc::clone(&self.functions).iter() {
            for who in people {
                let data: Vec<Bytes> = self.seeds(function, *who).into_iter().take(4).collect();
                let mut works = false;
                for seed in &data {
                    works = works || self.peek(*who, *target, seed)?.is_success();
                }
                if works {
                    let gate = if *who == self.lab.wallets.stranger { Gate::Anyone } else { Gate::Address };
                    self.try_all(*who, *target, function, &data, gate)?;
                }
            }
        }
        Ok(())
    }

    /// Everything as a stranger who was made a member of whatever mapping the code looked him up in.
    pub(super) fn members(&mut self) -> Result<(), Stop> {
        for (target, function) in Arc::clone(&self.functions).iter() {
            // A flag, a level, or a flag somewhere in the word.
            for value in [U256::ONE, U256::MAX, U256::from_be_bytes([1; 32])] {
                let is_let_in = self.member(*target, function, value)?;
                if is_let_in != Some(false) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One function as a stranger whose entries have this value. Whether it then did something; nothing where there is no
    /// entry of his that it asks for.
    fn member(&mut self, target: Address, function: &Function, value: U256) -> Result<Option<bool>, Stop> {
        let data = self.seeds(function, self.lab.wallets.stranger);
        let base = self.base.clone();
        let forced = self.force(target, &data, value)?;
        if forced.is_empty() {
            return Ok(None);
        }
        let key = (target, function.selector);
        self.memberships.insert(key, forced.clone());
        let forced_state = self.lab.session.checkpoint();
        self.rebase(forced_state);
        self.forced.clone_from(&forced);
        let result = self.as_member(target, function, &data, &forced);
        self.forced.clear();
        self.rebase(base);
        result?;
        Ok(Some(self.found.contains_key(&(key.0, key.1, None, Gate::Member))))
    }

    /// Writes a value into the stranger's entries that a function asks for, one after another.
    fn force(&mut self, target: Address, data: &[Bytes], value: U256) -> Result<Slots, Stop> {
        let stranger = self.lab.wallets.stranger;
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
            self.lab.session.set_storage(address, slot, value)?;
            forced.insert((address, slot));
        }
        Ok(forced)
    }

    fn as_member(
        &mut self,
        target: Address,
        function: &Function,
        data: &[Bytes],
        forced: &BTreeSet<(Address, U256)>,
    ) -> Result<(), Stop> {
        let stranger = self.lab.wallets.stranger;
        let data = [data, &self.asked(stranger, target, function)?].concat();
        self.try_all(stranger, target, function, &data, Gate::Member)?;
        let key = (target, function.selector, None, Gate::Member);
        if !self.found.contains_key(&key) {
            return Ok(());
        }
        // Somebody shown appoints the members, or a view says who they are.
        let viewed = self.views_read(stranger)?;
        let mut shown = true;
        for slot in forced {
            shown &= viewed.contains(slot) || self.appointed.contains(slot) || self.is_entry_of(target, *slot)?;
        }
        if let Some(finding) = self.found.get_mut(&key) {
            finding.shown = shown;
        }
        Ok(())
    }

    /// Whether a slot is the stranger's balance in another token, or what he allowed there to be spent: whoever has some is
    /// let in, and that is no membership.
    fn is_entry_of(&mut self, target: Address, (at, slot): (Address, U256)) -> Result<bool, Stop> {
        let stranger = self.lab.wallets.stranger;
        let calls = [encode(&abi::balanceOfCall(stranger)), encode(&abi::allowanceCall { _0: stranger, _1: target })];
        for call in calls.into_iter().filter(|_| at != target && at != self.lab.token) {
            if peek(&mut self.lab.session, Address::ZERO, at, call)?.trace.reads.contains_key(&(at, slot)) {
                return Ok(true);
            }
        }
        Ok(false)
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
            !apart && !abi::is_nobody(*caller) && seen.insert(*caller)
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
