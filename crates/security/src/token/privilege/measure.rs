//! What a call brings about: in the books, and in trading.

use super::*;
use crate::token::endure::EVER;

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
        let mut paths: BTreeSet<u64> = BTreeSet::new();
        let is_standard = STANDARD.contains(&function.selector);
        let pair = self.lab.market.pair;
        for seed in data {
            // What is done to the pool is done to everybody; it tells only where nothing else did.
            let showed = finding
                .effects
                .keys()
                .any(|effect| !matches!(effect, Effect::Ownership | Effect::Open | Effect::Whitelist));
            if showed && seed.windows(20).any(|window| window == pair.as_slice()) {
                continue;
            }
            self.count()?;
            let outcome = self.lab.session.run(&self.transaction(caller, target, seed))?;
            let acts = outcome.is_success() && has_effects(&outcome);
            self.note((target, function.selector), caller, &outcome, acts);
            refused_large |= !outcome.is_success() && seed.len() >= 36 && seed.ends_with(&[0xff; 31]);
            let only_entries =
                outcome.trace.writes.iter().all(|write| self.entries.contains(&(write.address, write.slot)));
            // Another way through the code is worth a look whatever the ones before it showed.
            let is_new_path = paths.len() < MOST_PATHS && paths.insert(outcome.trace.steps);
            let nothing_new = !is_new_path && (stale >= MOST_STALE || (only_entries && idle >= MOST_IDLE));
            if acts && nothing_new {
                self.lab.session.restore(&self.base);
                continue;
            }
            let writes = outcome.trace.writes.iter().map(|write| (write.address, write.slot, write.after)).collect();
            if acts && (measured < MOST_MEASURED || is_new_path) && known.insert(writes) {
                measured += 1;
                let had = finding.effects.len();
                let result = self.measure(caller, seed, &outcome, &mut finding);
                if !only_entries && !is_standard && finding.effects.is_empty() && self.armed.len() < MOST_ARMED {
                    self.armed.push((caller, target, seed.clone()));
                }
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
        // What anybody can do is no power of somebody in particular.
        if let Some(all) =
            self.found.get(&(target, function.selector, None, Gate::Anyone)).filter(|_| gate != Gate::Anyone)
        {
            finding.effects.retain(|effect, _| !all.effects.contains_key(effect));
        }
        if finding.effects.is_empty() {
            return Ok(());
        }
        finding.bounded = refused_large;
        finding.shown = gate == Gate::Anyone || (gate == Gate::Address && self.is_shown(caller)?);
        let who = (gate == Gate::Address).then_some(caller);
        let known = self.found.entry((target, function.selector, who, gate)).or_insert_with(|| finding.clone());
        for (effect, call) in finding.effects {
            known.effects.entry(effect).or_insert(call);
        }
        known.worst_bps = known.worst_bps.max(finding.worst_bps);
        Ok(())
    }

    /// Remembers how a function took a call, for what is said of those that never worked.
    fn note(&mut self, key: (Address, [u8; 4]), caller: Address, outcome: &Outcome, acts: bool) {
        // Who sets what is set already has run as much as who changes it.
        if acts || (outcome.is_success() && !outcome.trace.stored.is_empty()) {
            self.succeeded.insert(key);
            let slots: Slots = outcome.trace.writes.iter().map(|write| (write.address, write.slot)).collect();
            self.wrote.entry(key).or_default().extend(outcome.trace.stored.iter().copied());
            if let (Some(frame), true) = (outcome.trace.frames.first(), self.paid.is_zero()) {
                self.worked.entry(key).or_insert_with(|| (caller, frame.input.clone(), slots));
            }
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
        let owns = written.iter().any(|slot| self.owner_slots.contains(slot)) && self.is_owned_anew()?;
        if owns {
            finding.effects.entry(Effect::Ownership).or_insert_with(|| seed.clone());
        }
        if trace.native.iter().any(|paid| paid.from == self.subject) {
            finding.effects.entry(Effect::Withdraw).or_insert_with(|| seed.clone());
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
            let writes_down = |who: Address| {
                let holds = |value: U256| ledger::addresses_in(value).contains(&who) || value == abi::word_of(who);
                trace.writes.iter().any(|write| holds(write.after))
            };
            let (names, names_pool) = (writes_down(people.named), writes_down(self.lab.market.pair));
            // A pool or a token that owns something can do nothing with it.
            let market = &self.lab.market;
            if owns && [market.pair, market.router, self.lab.token].into_iter().any(writes_down) {
                return Ok(());
            }
            let is_standard = seed.first_chunk().is_some_and(|selector| STANDARD.contains(selector));
            if caller == people.stranger || is_standard {
                // What anybody's transfer does to others for a moment is no power over them.
                self.lab.session.head_mut().advance_seconds(86_400);
            }
            let had: Vec<Effect> = finding.effects.keys().copied().collect();
            self.measure_trades(seed, names, finding)?;
            // A fee that the pool receives comes back with the sale.
            if names_pool {
                finding
                    .effects
                    .retain(|effect, _| had.contains(effect) || !matches!(effect, Effect::Tax | Effect::PersonalTax));
            }
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
        // What is given out for as much native coin was paid for.
        let is_deposit = !self.paid.is_zero() && after.0 <= before.0.saturating_add(self.paid);
        for effect in effects_on_books(&watched, caller, token, &before, &after) {
            if is_deposit && effect == Effect::Mint {
                continue;
            }
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
        let before = self.vital.clone();
        if !self.compare_trades((&before, &now), seed, names, finding) && finding.effects.is_empty() {
            // A change may have been announced for later.
            let supply_now = self.supply()?;
            self.lab.session.head_mut().advance_seconds(EVER);
            let now = Vital::take(self.lab)?;
            let before = self.later()?;
            self.compare_trades((&before, &now), seed, names, finding);
            // Tokens too may be made by the next who moves some.
            let little = self.lab.stock / U256::from(100);
            self.lab.transfer(self.lab.wallets.other, self.lab.wallets.sink, little)?;
            if self.supply()? > supply_now {
                finding.effects.entry(Effect::Mint).or_insert_with(|| seed.clone());
            }
        }
        Ok(())
    }

    fn supply(&mut self) -> Result<U256, Stop> {
        let supply = ask(&mut self.lab.session, self.lab.token, encode(&abi::totalSupplyCall {}))?;
        Ok(supply.unwrap_or_default())
    }

    /// Whether somebody else is the owner than on the base.
    fn is_owned_anew(&mut self) -> Result<bool, Stop> {
        let now = facts::owner(&mut self.lab.session, self.lab.token)?;
        let here = self.lab.session.checkpoint();
        self.lab.session.restore(&self.base);
        let before = facts::owner(&mut self.lab.session, self.lab.token);
        self.lab.session.restore(&here);
        // Where nobody says who the owner is, the slot does.
        Ok(now.is_none() || before? != now)
    }

    /// How trading goes on the base when all waiting is over.
    fn later(&mut self) -> Result<Vital, Stop> {
        if let Some(later) = &self.later {
            return Ok(later.clone());
        }
        let here = self.lab.session.checkpoint();
        self.lab.session.restore(&self.base);
        self.lab.session.head_mut().advance_seconds(EVER);
        let vital = Vital::take(self.lab);
        self.lab.session.restore(&here);
        Ok(self.later.insert(vital?).clone())
    }

    /// Notes by what trading differs. Whether it does.
    fn compare_trades(
        &self,
        (before, now): (&Vital, &Vital),
        seed: &Bytes,
        names: bool,
        finding: &mut Finding,
    ) -> bool {
        let had = finding.effects.len();
        let pair = self.lab.market.pair;
        let names_pair = seed.windows(20).any(|window| window == pair.as_slice());
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
        // Where the pool has to be named to open trading, naming a wallet opens next to nothing.
        if names_pair && named.fixed && other.fixed {
            finding.effects.insert(Effect::Open, seed.clone());
        }
        if named.taxed || other.taxed {
            finding.worst_bps = finding.worst_bps.max(now.worst());
        }
        finding.effects.len() > had
    }
}

/// transfer, transferFrom and approve.
const STANDARD: [[u8; 4]; 3] = [[0xa9, 0x05, 0x9c, 0xbb], [0x23, 0xb8, 0x72, 0xdd], [0x09, 0x5e, 0xa7, 0xb3]];
/// Ways through one function's code that are looked at for their own sake.
const MOST_PATHS: usize = 24;
/// Calls that brought nothing about by themselves after which everything is looked at once more.
const MOST_ARMED: usize = 8;
/// Choices of arguments for a call behind another one.
const MOST_TRIED_BEHIND: usize = 16;
/// Pairs of calls that are tried one behind the other.
const MOST_PAIRS: usize = 24;
/// Calls that may go before one.
const MOST_BEFORE: usize = 3;
/// How often such a call is repeated.
const REPEATED: usize = 4;

impl Scan<'_> {
    /// What becomes possible by a call that did nothing else: it is repeated, and what then goes otherwise than before is
    /// tried again.
    pub(super) fn sequels(&mut self) -> Result<(), Stop> {
        let base = self.base.clone();
        for (caller, target, seed) in std::mem::take(&mut self.armed) {
            let result = self.sequel(caller, target, &seed, &base);
            self.rebase(base.clone());
            result?;
        }
        Ok(())
    }

    fn sequel(&mut self, caller: Address, target: Address, seed: &Bytes, base: &Checkpoint) -> Result<(), Stop> {
        let stranger = self.lab.wallets.stranger;
        let gate = if caller == stranger { Gate::Anyone } else { Gate::Address };
        let mut data = Vec::new();
        for (of, function) in Arc::clone(&self.functions).iter() {
            let tried: Vec<Bytes> = self.seeds(function, caller).into_iter().take(2).collect();
            for try_ in &tried {
                let ending = Ending::of(&self.peek(caller, *of, try_)?);
                data.push((*of, function.clone(), try_.clone(), ending));
            }
        }
        self.count()?;
        let call = self.transaction(caller, target, seed);
        self.lab.session.run(&call)?;
        let armed = self.lab.session.checkpoint();
        self.rebase(armed);
        let mut changed: Vec<(Address, Function)> = Vec::new();
        for (of, function, try_, ending) in data {
            let is_new = !changed.iter().any(|(at, known)| *at == of && known.selector == function.selector);
            if is_new && Ending::of(&self.peek(caller, of, &try_)?) != ending {
                changed.push((of, function));
            }
        }
        for (of, function) in changed {
            let data: Vec<Bytes> = self.seeds(&function, caller).into_iter().take(MOST_TRIED_BEHIND).collect();
            self.try_all(caller, of, &function, &data, gate)?;
        }
        self.repeat(caller, target, seed, base)
    }

    /// Tries what never worked behind what did, where it reads what that wrote.
    pub(super) fn second_steps(&mut self, callers: &[Address]) -> Result<(), Stop> {
        let base = self.base.clone();
        let people: Vec<Address> = callers.iter().copied().take(2).chain([self.lab.wallets.stranger]).collect();
        let mut pairs = 0;
        for (target, function) in Arc::clone(&self.functions).iter() {
            for caller in &people {
                let key = (*target, function.selector);
                if self.succeeded.contains(&key) || pairs >= MOST_PAIRS {
                    continue;
                }
                let Some(seed) = self.seeds(function, *caller).into_iter().next() else { continue };
                let failed = self.peek(*caller, *target, &seed)?;
                let reads: Slots = failed.trace.reads.keys().copied().collect();
                let before = self.worked.iter().filter(|(_, (_, _, wrote))| !wrote.is_disjoint(&reads));
                let before: Vec<_> =
                    before.take(MOST_BEFORE).map(|((at, _), (first, data, _))| (*at, *first, data.clone())).collect();
                for (at, first, data) in before {
                    let result = self.second_step((first, at, &data), (*caller, *target, function));
                    self.rebase(base.clone());
                    result?;
                    pairs += 1;
                }
            }
        }
        Ok(())
    }

    fn second_step(
        &mut self,
        (first, at, data): (Address, Address, &Bytes),
        (caller, target, function): (Address, Address, &Function),
    ) -> Result<(), Stop> {
        self.count()?;
        let call = self.transaction(first, at, data);
        if !self.lab.session.run(&call)?.is_success() {
            return Ok(());
        }
        let gate = if caller == self.lab.wallets.stranger { Gate::Anyone } else { Gate::Address };
        for wait in [12, 3 * 86_400] {
            self.lab.session.head_mut().advance_seconds(wait);
            let state = self.lab.session.checkpoint();
            self.rebase(state);
            let data: Vec<Bytes> = self.seeds(function, caller).into_iter().take(MOST_TRIED_BEHIND).collect();
            self.try_all(caller, target, function, &data, gate)?;
            if self.succeeded.contains(&(target, function.selector)) {
                break;
            }
        }
        Ok(())
    }

    /// Measures a call that is made again and again.
    fn repeat(&mut self, caller: Address, target: Address, seed: &Bytes, base: &Checkpoint) -> Result<(), Stop> {
        self.rebase(base.clone());
        let call = self.transaction(caller, target, seed);
        let mut finding = Finding::default();
        for _ in 0..REPEATED {
            self.count()?;
            let outcome = self.lab.session.run(&call)?;
            if !outcome.is_success() || !has_effects(&outcome) {
                break;
            }
            let here = self.lab.session.checkpoint();
            self.measure(caller, seed, &outcome, &mut finding)?;
            self.lab.session.restore(&here);
        }
        let Some(selector) = seed.first_chunk().copied().filter(|_| !finding.effects.is_empty()) else {
            return Ok(());
        };
        self.lab.session.restore(&self.base);
        let gate = if caller == self.lab.wallets.stranger { Gate::Anyone } else { Gate::Address };
        finding.shown = gate == Gate::Anyone || self.is_shown(caller)?;
        let who = (gate == Gate::Address).then_some(caller);
        self.found.entry((target, selector, who, gate)).or_insert(finding);
        Ok(())
    }
}

/// A mask of the bytes that are not zero.
pub(super) fn bytes_of(word: U256) -> U256 {
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
