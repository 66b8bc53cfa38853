//! What a call brings about: in the books, and in trading.

use super::*;

impl Scan<'_> {
    /// Tries every choice of arguments and measures each effect that is new.
    pub(super) fn try_all(
        &mut self,
        caller: Address,
        target: Address,
        function: &Function,
        data: &[Bytes],
        gate: Gate,
    ) -> Result<(), Stop> {
        let mut known: BTreeSet<Vec<(Address, U256, U256)>> = BTreeSet::new();
        let (mut finding, mut measured, mut refused_large) = (Finding::default(), 0, false);
        let (mut idle, mut stale) = (0, 0);
        let pair = self.lab.market.pair;
        for seed in data {
            // What is done to the pool is done to everybody; it tells only where nothing else did.
            if !finding.effects.is_empty() && seed.windows(20).any(|window| window == pair.as_slice()) {
                continue;
            }
            self.count()?;
            let outcome = self.lab.session.run(&self.transaction(caller, target, seed))?;
            let acts = outcome.is_success() && has_effects(&outcome);
            self.note((target, function.selector), caller, &outcome, acts);
            refused_large |= !outcome.is_success() && seed.len() >= 36 && seed.ends_with(&[0xff; 31]);
            let only_entries =
                outcome.trace.writes.iter().all(|write| self.entries.contains(&(write.address, write.slot)));
            let nothing_new = stale >= MOST_STALE || (only_entries && idle >= MOST_IDLE);
            if acts && nothing_new {
                self.lab.session.restore(&self.base);
                continue;
            }
            let writes = outcome.trace.writes.iter().map(|write| (write.address, write.slot, write.after)).collect();
            if acts && measured < MOST_MEASURED && known.insert(writes) {
                measured += 1;
                let had = finding.effects.len();
                let result = self.measure(caller, seed, &outcome, &mut finding);
                stale = if had > 0 && finding.effects.len() == had { stale + 1 } else { 0 };
                self.lab.session.restore(&self.base);
                idle += usize::from(only_entries && finding.effects.is_empty());
                match result {
                    // What cannot be measured after the call is as good as broken by it.
                    Err(Stop::Budget) if !self.is_spent() => {
                        finding.effects.entry(Effect::Pause).or_insert_with(|| seed.clone());
                    }
                    other => other?,
                }
            } else {
                self.lab.session.restore(&self.base);
            }
        }
        if finding.effects.is_empty() {
            return Ok(());
        }
        finding.bounded = refused_large;
        finding.shown = gate == Gate::Anyone || (gate == Gate::Address && self.is_shown(caller)?);
        let who = (gate == Gate::Address).then_some(caller);
        self.found.insert((target, function.selector, who, gate), finding);
        Ok(())
    }

    /// Remembers how a function took a call, for what is said of those that never worked.
    fn note(&mut self, key: (Address, [u8; 4]), caller: Address, outcome: &Outcome, acts: bool) {
        if acts {
            self.succeeded.insert(key);
            for write in &outcome.trace.writes {
                *self.written.entry((write.address, write.slot)).or_default() |= bytes_of(write.before ^ write.after);
            }
        }
        if outcome.is_success() {
            self.returned.insert(key);
            return;
        }
        if outcome.trace.frames.iter().any(|frame| frame.to == RECOVER) {
            self.signed.insert(key);
        }
        if ledger::is_hashed(outcome, caller) {
            self.hashed.insert(key);
        }
    }

    /// What a call that was just run brought about. The session stands behind the call.
    fn measure(&mut self, caller: Address, seed: &Bytes, outcome: &Outcome, finding: &mut Finding) -> Result<(), Stop> {
        let trace = &outcome.trace;
        let mut add = |effect: Effect| {
            finding.effects.entry(effect).or_insert_with(|| seed.clone());
        };
        let people = self.lab.wallets;
        let foreign = |frame: &surety_evm::Frame| {
            let by_token = frame.kind == FrameKind::DelegateCall && frame.context == self.subject;
            by_token && (people.has(frame.to) || frame.to == caller || frame.to == self.lab.market.pair)
        };
        if trace.frames.iter().any(foreign) {
            add(Effect::Delegate);
        }
        if !trace.selfdestructs.is_empty() {
            add(Effect::Destroy);
        }
        let written: Slots = trace.writes.iter().map(|write| (write.address, write.slot)).collect();
        if written.iter().any(|slot| self.proxy.slots.contains(slot)) {
            add(Effect::Upgrade);
            return Ok(());
        }
        if written.iter().any(|slot| self.owner_slots.contains(slot)) {
            add(Effect::Ownership);
        }
        if trace.native.iter().any(|paid| paid.from == self.subject) {
            add(Effect::Withdraw);
        }
        if self.shown.contains(&caller) {
            self.appointed.extend(written.iter().copied());
            // An appointment of the named one is an appointment of anybody.
            let same = self.same_for_stranger(caller, outcome)?;
            self.appointed.extend(same);
        }
        // What the call takes from the entry that let it in was a deposit, and is the caller's own.
        if !self.forced.is_disjoint(&written) {
            finding.effects.remove(&Effect::Withdraw);
        }
        let moved = self.measure_books(caller, seed, outcome, &written, finding)?;
        // A balance that is another changes trades by that alone; what else its slot may hold shows where it is not.
        if written.iter().any(|slot| self.deciding.contains(slot) && !moved.contains(slot)) {
            let names = trace.writes.iter().any(|write| {
                let named = abi::word_of(people.named);
                ledger::addresses_in(write.after).contains(&people.named) || write.after == named
            });
            if caller == people.stranger {
                // What anybody's transfer does to others for a moment is no power over them.
                self.lab.session.head_mut().advance_seconds(86_400);
            }
            self.measure_trades(seed, names, finding)?;
        }
        Ok(())
    }

    /// The slots that would be written if the call had been about the stranger.
    fn same_for_stranger(&mut self, caller: Address, outcome: &Outcome) -> Result<Vec<(Address, U256)>, Stop> {
        let Some(frame) = outcome.trace.frames.first() else { return Ok(Vec::new()) };
        let (named, stranger) = (self.lab.wallets.named, self.lab.wallets.stranger);
        let input = frame.input.to_vec();
        let Some(at) = input.windows(20).position(|window| window == named.as_slice()) else { return Ok(Vec::new()) };
        let mut changed = input;
        changed[at..at + 20].copy_from_slice(stranger.as_slice());
        let here = self.lab.session.checkpoint();
        self.lab.session.restore(&self.base);
        let outcome = self.peek(caller, frame.to, &changed.into());
        self.lab.session.restore(&here);
        Ok(outcome?.trace.writes.iter().map(|write| (write.address, write.slot)).collect())
    }

    /// Whether balances or the supply are others than a plain movement of the caller's own tokens makes them.
    fn measure_books(
        &mut self,
        caller: Address,
        seed: &Bytes,
        outcome: &Outcome,
        written: &Slots,
        finding: &mut Finding,
    ) -> Result<Slots, Stop> {
        let (people, token) = (self.lab.wallets, self.lab.token);
        let pays = outcome.trace.frames.iter().any(|frame| frame.to == self.lab.market.quote);
        if pays && self.forced.is_disjoint(written) {
            self.measure_quote(seed, finding)?;
        }
        let mut watched = vec![people.named, people.other, self.lab.market.pair, people.sink, token];
        if !watched.contains(&caller) {
            watched.push(caller);
        }
        let (supply_before, supply_after, mut moved) = self.compare(None, written)?;
        let (mut before, mut after) = ((supply_before, Vec::new()), (supply_after, Vec::new()));
        for who in &watched {
            let (was, is, slots) = self.compare(Some(*who), written)?;
            moved.extend(slots);
            before.1.push(was);
            after.1.push(is);
        }
        // An allowance may be anybody's to give; what is done with it shows when it is used.
        moved.extend(written.iter().filter(|slot| self.allowances.contains(slot)));
        if before == after || is_proportional(&before, &after) {
            return Ok(moved);
        }
        for effect in effects_on_books(&watched, caller, token, &before, &after) {
            finding.effects.entry(effect).or_insert_with(|| seed.clone());
        }
        Ok(moved)
    }

    /// A balance, or the supply, on the base and behind the call, and the written slots that its change explains.
    fn compare(&mut self, who: Option<Address>, written: &Slots) -> Result<(U256, U256, Slots), Stop> {
        let call = match who {
            Some(who) => encode(&abi::balanceOfCall(who)),
            None => encode(&abi::totalSupplyCall {}),
        };
        let token = self.lab.token;
        if !self.accounts.contains_key(&who) {
            let here = self.lab.session.checkpoint();
            self.lab.session.restore(&self.base);
            let outcome = self.lab.view(token, call.clone());
            self.lab.session.restore(&here);
            let outcome = outcome?;
            let own = who.map(|who| ledger::keyed_by(&outcome, who)).unwrap_or_default();
            let account = Account {
                amount: outcome.word().unwrap_or_default(),
                own: own.into_iter().collect(),
                slots: outcome.trace.reads.into_keys().collect(),
            };
            self.accounts.insert(who, account);
        }
        let account = self.accounts.get(&who).cloned().unwrap_or_default();
        // What reads nothing that was written answers as before.
        if account.slots.is_disjoint(written) {
            return Ok((account.amount, account.amount, BTreeSet::new()));
        }
        let now = self.lab.view(token, call)?.word().unwrap_or_default();
        let explained =
            account.own.into_iter().filter(|slot| now != account.amount && written.contains(slot)).collect();
        Ok((account.amount, now, explained))
    }

    /// Whether the contract has less of the quote than before, or the named wallet, who allowed it to be spent.
    fn measure_quote(&mut self, seed: &Bytes, finding: &mut Finding) -> Result<(), Stop> {
        let after = self.quote_balances()?;
        let here = self.lab.session.checkpoint();
        self.lab.session.restore(&self.base);
        let before = self.quote_balances();
        self.lab.session.restore(&here);
        let before = before?;
        for (effect, was, is) in [(Effect::Withdraw, before.0, after.0), (Effect::Spend, before.1, after.1)] {
            if is < was {
                finding.effects.entry(effect).or_insert_with(|| seed.clone());
            }
        }
        Ok(())
    }

    /// The quote that the contract has, and that the named wallet has.
    fn quote_balances(&mut self) -> Result<(U256, U256), Stop> {
        let quote = self.lab.market.quote;
        let mut of = |who: Address| ask(&mut self.lab.session, quote, encode(&abi::balanceOfCall(who)));
        Ok((of(self.subject)?.unwrap_or_default(), of(self.lab.wallets.named)?.unwrap_or_default()))
    }

    /// How trading goes behind the call. Where the call only wrote down the named wallet's address, that wallet is somebody
    /// particular now, and only the other one tells.
    fn measure_trades(&mut self, seed: &Bytes, names: bool, finding: &mut Finding) -> Result<(), Stop> {
        // Anybody may tell a pool to look at its balances again, as somebody does after a change of unit.
        let sync = Call::new(self.lab.wallets.sink, self.lab.market.pair, encode(&abi::syncCall {}));
        self.lab.session.run(&sync)?;
        let now = Vital::take(self.lab)?;
        let before = &self.vital;
        let other = shift(&before.other, &now.other);
        let named = if names { other } else { shift(&before.named, &now.named) };
        let mut add = |effect: Effect| {
            finding.effects.entry(effect).or_insert_with(|| seed.clone());
        };
        match (named.broke, other.broke) {
            (true, true) => add(Effect::Pause),
            (true, false) => add(Effect::Blacklist),
            (false, true) => add(Effect::Whitelist),
            (false, false) => {}
        }
        let fixed = |shift: Shift| shift.fixed || (shift.limited && !shift.broke);
        match (named.fixed, other.fixed) {
            (true, true) => add(Effect::Open),
            (true, false) => add(Effect::Whitelist),
            _ => {}
        }
        if other.limited && (named.limited || fixed(other)) {
            add(Effect::Limit);
        } else if named.limited && !other.limited {
            add(Effect::Whitelist);
        }
        match (named.taxed, other.taxed) {
            (true, true) => add(Effect::Tax),
            (false, false) => {}
            _ => add(Effect::PersonalTax),
        }
        if named.taxed || other.taxed {
            finding.worst_bps = finding.worst_bps.max(now.worst());
        }
        Ok(())
    }
}

/// A mask of the bytes that are not zero.
fn bytes_of(word: U256) -> U256 {
    U256::from_be_bytes(word.to_be_bytes::<32>().map(|byte| if byte == 0 { 0 } else { 0xff }))
}

/// What a change of the books amounts to. `before` and `after` have the supply and the balances of `watched`.
fn effects_on_books(
    watched: &[Address],
    caller: Address,
    token: Address,
    before: &(U256, Vec<U256>),
    after: &(U256, Vec<U256>),
) -> Vec<Effect> {
    let mut effects = Vec::new();
    let (mut gained, mut lost) = (U256::ZERO, U256::ZERO);
    let mut own_loss = U256::ZERO;
    let mut third = false;
    for (at, who) in watched.iter().enumerate() {
        let (was, is) = (before.1[at], after.1[at]);
        gained = gained.saturating_add(is.saturating_sub(was));
        lost = lost.saturating_add(was.saturating_sub(is));
        if *who == caller {
            own_loss = was.saturating_sub(is);
        } else {
            // What the contract itself has is nobody else's.
            third |= *who != token && is < was;
        }
    }
    let minted = after.0.saturating_sub(before.0);
    let paid = |(at, who): (usize, &Address)| (*who == token).then(|| before.1[at].saturating_sub(after.1[at]));
    let own_paid = watched.iter().enumerate().find_map(paid).unwrap_or_default();
    if !minted.is_zero() || gained > lost.saturating_add(minted) {
        effects.push(Effect::Mint);
    }
    // Third parties lose, or are written: more than came from the caller, the supply or the contract's own.
    let from_nowhere = watched.iter().enumerate().any(|(at, who)| {
        let rise = after.1[at].saturating_sub(before.1[at]);
        *who != caller && rise > own_loss.saturating_add(minted).saturating_add(own_paid)
    });
    if third || from_nowhere {
        effects.push(Effect::Balances);
    }
    effects
}

/// Whether everybody's share of the supply is the same as before: a change of unit, not of ownership.
fn is_proportional(before: &(U256, Vec<U256>), after: &(U256, Vec<U256>)) -> bool {
    if before.0 == after.0 || before.0.is_zero() || after.0.is_zero() {
        return false;
    }
    let fits = |value: U256| value.bit_len() <= 120;
    before.1.iter().zip(&after.1).all(|(was, is)| {
        let known = fits(*was) && fits(*is) && fits(before.0) && fits(after.0);
        // An amount made for one leaves the others as they were.
        let changed = was.is_zero() || was != is;
        let (left, right) = (was.saturating_mul(after.0), is.saturating_mul(before.0));
        known
            && changed
            && left.abs_diff(right) <= (left / U256::from(1_000)).max(before.0.saturating_mul(U256::from(2)))
    }) && before.1.iter().any(|was| !was.is_zero())
}
