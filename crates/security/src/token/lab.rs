//! A place to try a token: a session with a pool, wallets that hold both sides of it, and the three trades.
//!
//! Always true: amounts come from balances, never from what the token logs or from what a sale paid; what the wallets are
//! like follows from a [`Seed`] that no code can find out.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, Bytes, U256};
use surety_evm::{Call, Checkpoint, FrameKind, Outcome, Session, StateError, Status};

use super::abi::{self, address_in, encode};
use super::market::{self, Market, Pool, is_deep};
use super::trial::Seed;
use super::waste::{self, Waste};
use super::{Params, Stop, ledger};

/// What the visitors have of native coin, as [`Seed::purse`] counts: next to nothing, little, enough, much.
const PURSES: [u64; 4] = [15, 17, 18, 20];

/// The part of the pool that our wallets have of the token, one in so many.
const WELL_STOCKED: u64 = 10;
/// The same where the token does not let anybody have so much.
const HARDLY_STOCKED: u64 = 500;

/// The wallets, none of which has ever done anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wallets {
    /// Has only the quote.
    pub(crate) buyer: Address,
    /// Has both and has never bought.
    pub(crate) holder: Address,
    /// As `holder`: the one whom privileged calls are about.
    pub(crate) named: Address,
    /// As `holder`: the one whom they are not about.
    pub(crate) other: Address,
    /// As `holder`: an ordinary caller.
    pub(crate) stranger: Address,
    /// Has nothing and receives.
    pub(crate) sink: Address,
    /// A contract that holds the quote.
    pub(crate) contract: Address,
    /// Who gives that contract its orders.
    pub(crate) keeper: Address,
    /// Other people like the buyer, poor and rich.
    pub(crate) visitors: [Address; PURSES.len()],
}

/// What moved in one trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// What left the one side, in base units of the token.
    pub(crate) sent: U256,
    /// What reached the other.
    pub(crate) got: U256,
    /// Whether the logs say the same.
    pub(crate) agree: bool,
}

impl Move {
    /// The tax in basis points, rounded half up; 10,000 when nothing arrived.
    pub(crate) fn tax_bps(&self) -> u64 {
        if self.sent.is_zero() || self.got >= self.sent {
            return 0;
        }
        let lost = self.sent - self.got;
        // Numbers of 2^240 and more lose their last digits and not their ratio.
        let shift = self.sent.bit_len().saturating_sub(240);
        let (lost, sent) = (lost >> shift, self.sent >> shift);
        let bps: U256 = (lost * U256::from(20_000) + sent) / (sent * U256::from(2));
        bps.try_into().unwrap_or(10_000)
    }
}

/// What the token asked of its surroundings while it moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) coinbase: bool,
    pub(crate) gas_price: bool,
    pub(crate) base_fee: bool,
    pub(crate) prevrandao: bool,
    pub(crate) origin: bool,
    pub(crate) gas_limit: bool,
    pub(crate) gas: bool,
    pub(crate) block_hash: bool,
    /// Whether the pool was asked something in whose name tokens were moved.
    pub(crate) asked_pool: bool,
    /// Addresses called that are neither part of the market nor the token, with whether by DELEGATECALL from the token.
    pub(crate) called: BTreeMap<Address, bool>,
    /// Slots read outside the market.
    pub(crate) reads: BTreeMap<(Address, U256), U256>,
    /// Whom callers were compared with.
    pub(crate) compared: BTreeSet<Address>,
    /// What moving and allowing the token bought besides.
    pub(crate) waste: BTreeSet<Waste>,
}

/// What a token looks at when a pool takes part in a movement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Regard {
    /// Whether a slot, or the code, names the pool.
    pub(crate) is_named: bool,
    /// What its mappings have under the pool's address, balances left out, in order of value.
    pub(crate) values: Vec<U256>,
}

/// How transactions are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Wei a gas above the base fee.
    pub(crate) tip: u128,
    /// Gas of one trade.
    pub(crate) gas: u64,
    /// Whether only as much gas is given as a wallet's estimate says.
    pub(crate) is_frugal: bool,
}

/// The place.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) session: Session,
    pub(crate) seed: Seed,
    pub(crate) token: Address,
    pub(crate) market: Market,
    pub(crate) wallets: Wallets,
    pub(crate) seen: Seen,
    /// The token's amount in the pool.
    pub(crate) reserve: U256,
    /// The quote's amount in the pool.
    pub(crate) quote_reserve: U256,
    /// What each stocked wallet has of the token; zero when none could be had.
    pub(crate) stock: U256,
    pub(crate) supply: U256,
    /// Everything in its place, nothing traded.
    pub(crate) base: Checkpoint,
    /// Whether trades were seen to fail for their size alone.
    pub(crate) limited: bool,
    pub(crate) manner: Manner,
    /// The pool in whose name tokens are moved, while they are.
    puppet: Option<Address>,
}

/// Runs a call of no particular sender and keeps nothing.
pub(crate) fn peek(session: &mut Session, from: Address, to: Address, data: Bytes) -> Result<Outcome, StateError> {
    session.peek(&Call::new(from, to, data))
}

/// The first word that a view answers.
pub(crate) fn ask(session: &mut Session, to: Address, data: Bytes) -> Result<Option<U256>, StateError> {
    Ok(peek(session, Address::ZERO, to, data)?.word())
}

impl Lab {
    /// Sets everything up. `None` when there is no way to have the token and a pool for it.
    pub(crate) fn new(
        mut session: Session,
        seed: Seed,
        token: Address,
        params: &Params,
        pools: &[Pool],
    ) -> Result<Option<Self>, Stop> {
        let supply = ask(&mut session, token, encode(&abi::totalSupplyCall {}))?.unwrap_or_default();
        let Some(market) = market::open(&mut session, seed, token, params, pools)? else { return Ok(None) };
        let wallets = wallets(&mut session, seed)?;
        let base = session.checkpoint();
        let mut lab = Self {
            session,
            seed,
            token,
            market,
            wallets,
            seen: Seen::default(),
            reserve: U256::ZERO,
            quote_reserve: U256::ZERO,
            stock: U256::ZERO,
            supply,
            base,
            limited: false,
            manner: ordinary(seed),
            puppet: None,
        };
        if !lab.fill_pool()? {
            return Ok(None);
        }
        lab.fill_wallets(WELL_STOCKED)?;
        if lab.is_too_much()? {
            lab.fill_wallets(HARDLY_STOCKED)?;
        }
        lab.base = lab.session.checkpoint();
        Ok(Some(lab))
    }

    /// Back to where nothing has been traded.
    pub(crate) fn reset(&mut self) {
        let base = self.base.clone();
        self.session.restore(&base);
    }

    /// Sends as everybody does, in blocks with the hashes of this trial.
    pub(crate) fn behave(&mut self) {
        self.manner = ordinary(self.seed);
        self.session.imagine_blocks(self.seed.hash("blocks"));
    }

    /// What a holder has of the token; nothing when the token does not say.
    pub(crate) fn balance(&mut self, holder: Address) -> Result<U256, Stop> {
        let data = encode(&abi::balanceOfCall(holder));
        let call = self.transaction(self.wallets.keeper, self.token, data.clone()).gas(self.manner.gas);
        if let Some(balance) = self.session.word(&call)? {
            return Ok(balance);
        }
        // What fails may only need more gas than a trade has.
        Ok(self.view(self.token, data)?.word().unwrap_or_default())
    }

    /// What a contract answers in a transaction of somebody ordinary: to those who only look, code may say something else.
    pub(crate) fn view(&mut self, to: Address, data: Bytes) -> Result<Outcome, StateError> {
        let call = self.transaction(self.wallets.keeper, to, data);
        self.session.peek(&call)
    }

    /// A call at an ordinary price.
    pub(crate) fn transaction(&self, from: Address, to: Address, data: Bytes) -> Call {
        let price = u128::from(self.session.head().base_fee) + self.manner.tip;
        Call { gas_price: Some(price), ..Call::new(from, to, data) }
    }

    /// A quote amount that buys this many parts in a million of the pool.
    pub(crate) fn price_of(&self, ppm: u64) -> U256 {
        let paid = self.quote_reserve.saturating_mul(U256::from(ppm)) / U256::from(1_000_000 - ppm.min(999_999));
        paid.saturating_mul(U256::from(1000)) / U256::from(997) + U256::ONE
    }

    /// This many parts in a million of the pool, round where that is possible, so that a tax divides it evenly.
    pub(crate) fn part(&self, ppm: u64) -> U256 {
        round(self.reserve.saturating_mul(U256::from(ppm)) / U256::from(1_000_000))
    }

    /// Moves tokens from wallet to wallet.
    pub(crate) fn transfer(&mut self, from: Address, to: Address, amount: U256) -> Result<Option<Move>, Stop> {
        let call = encode(&abi::transferCall { _0: to, _1: amount });
        self.moving(from, to, amount, |lab| lab.act(from, lab.token, call))
    }

    /// Runs tokens out of a pool of V3 and back into it, as its own code would: from the pool's address to the wallet, then
    /// by an allowance half of it to the pool. Only the token's code decides what comes of it. `None` when the token asks
    /// the pool something, which cannot answer.
    pub(crate) fn through(&mut self, pool: Address) -> Result<Option<[Option<Move>; 2]>, Stop> {
        let (buyer, holder) = (self.wallets.buyer, self.wallets.holder);
        if !is_deep(self.balance(pool)?) && !self.stock_one(pool, self.part(10_000))? {
            return Ok(None);
        }
        self.session.set_code(pool, market::disguised(self.seed, "Wallet"))?;
        self.puppet = Some(pool);
        self.seen.asked_pool = false;
        let amount = round(self.balance(pool)? / U256::from(100));
        let call = encode(&abi::transferCall { _0: buyer, _1: amount });
        let bought = self.moving(pool, buyer, amount, |lab| lab.order(buyer, pool, call))?;
        self.session.head_mut().advance_blocks(1);
        let has = self.balance(buyer)?;
        let (seller, has) = if has.is_zero() { (holder, self.stock) } else { (buyer, has) };
        let (hand, half) = (self.wallets.contract, round(has / U256::from(2)));
        self.act(seller, self.token, encode(&abi::approveCall { _0: hand, _1: U256::MAX }))?;
        let call = encode(&abi::transferFromCall { _0: seller, _1: pool, _2: half });
        let sold = self.moving(seller, pool, half, |lab| lab.order(seller, hand, call))?;
        self.puppet = None;
        Ok((!self.seen.asked_pool).then_some([bought, sold]))
    }

    /// A call of the token that our wallet's code, standing at `hand`, makes on somebody's order.
    fn order(&mut self, sender: Address, hand: Address, data: Bytes) -> Result<Outcome, Stop> {
        self.act(sender, hand, encode(&abi::runCall { _0: self.token, _1: data }))
    }

    /// Runs what is to move tokens from one account to another, and measures what it moved.
    fn moving(
        &mut self,
        from: Address,
        to: Address,
        amount: U256,
        run: impl FnOnce(&mut Self) -> Result<Outcome, Stop>,
    ) -> Result<Option<Move>, Stop> {
        let (before_from, before_to) = (self.balance(from)?, self.balance(to)?);
        let outcome = run(self)?;
        self.seen.waste.extend(waste::of(&outcome));
        if !outcome.is_success() {
            return Ok(None);
        }
        let left = before_from.saturating_sub(self.balance(from)?);
        let sent = whole(left, amount);
        let got = self.balance(to)?.saturating_sub(before_to);
        let agree = self.logged(&outcome, from, Some(to)).is_some_and(|logged| near(logged, got))
            && self.logged(&outcome, from, None).is_some_and(|logged| near(logged, left));
        Ok(moved(sent, got, agree))
    }

    /// Pays the quote into the pool and takes the token out.
    pub(crate) fn buy(&mut self, wallet: Address, paid: U256) -> Result<Option<Move>, Stop> {
        let pair = self.market.pair;
        let (before_pair, before) = (self.balance(pair)?, self.balance(wallet)?);
        let first = self.first()?;
        let (reserve, quote_reserve) = market::reserves(&mut self.session, pair, first)?;
        let outcome = self.swap(wallet, self.market.quote, self.token, paid)?;
        if !outcome.is_success() {
            return Ok(None);
        }
        let got = self.balance(wallet)?.saturating_sub(before);
        let left = before_pair.saturating_sub(self.balance(pair)?);
        // What the pool was asked to send: where its balance grows by the fees of others, less than that leaves it.
        let sent = whole(left, bought_for(paid, reserve, quote_reserve));
        let agree = self.logged(&outcome, pair, Some(wallet)).is_some_and(|logged| near(logged, got))
            && self.logged(&outcome, pair, None).is_some_and(|logged| near(logged, left));
        Ok(moved(sent, got, agree))
    }

    /// Pays the token into the pool and takes the quote out.
    pub(crate) fn sell(&mut self, wallet: Address, amount: U256) -> Result<Option<Move>, Stop> {
        let pair = self.market.pair;
        if amount.is_zero() {
            return Ok(None);
        }
        let (before_pair, before) = (self.balance(pair)?, self.balance(wallet)?);
        let mut outcome = self.swap(wallet, self.token, self.market.quote, amount)?;
        if !outcome.is_success() {
            // A purchase may have undone what was approved before it.
            self.act(wallet, self.token, encode(&abi::approveCall { _0: self.market.router, _1: U256::MAX }))?;
            outcome = self.swap(wallet, self.token, self.market.quote, amount)?;
        }
        if !outcome.is_success() {
            return Ok(None);
        }
        let left = before.saturating_sub(self.balance(wallet)?);
        let sent = whole(left, amount);
        let after_pair = self.balance(pair)?;
        let arrived = after_pair.saturating_sub(before_pair);
        // A token that sells its own fees on the way adds to what arrives, one that burns of the pool takes from it; only the
        // logs tell these apart, and they are believed only where they add up to the balances.
        let (own, all) = (self.logged(&outcome, wallet, Some(pair)), self.logged_at(&outcome, pair));
        let agree = all.is_some_and(|(came, went)| {
            before_pair.checked_add(came).zip(after_pair.checked_add(went)).is_some_and(|(a, b)| near(a, b))
        });
        let got = match own {
            Some(own) if agree && !own.is_zero() => own,
            Some(own) if !own.is_zero() => own.min(arrived),
            _ => arrived,
        };
        let agree = agree && self.logged(&outcome, wallet, None).is_some_and(|logged| near(logged, left));
        Ok(moved(sent, got, agree))
    }

    /// Any call as an ordinary transaction of this sender; the contract wallet is told to do it.
    pub(crate) fn act(&mut self, from: Address, to: Address, data: Bytes) -> Result<Outcome, Stop> {
        let (sender, target, data) = if from == self.wallets.contract {
            (self.wallets.keeper, from, encode(&abi::runCall { _0: to, _1: data }))
        } else {
            (from, to, data)
        };
        let mut call = self.transaction(sender, target, data).gas(self.manner.gas);
        if self.manner.is_frugal {
            // What it takes after refunds, which are at most a fifth, and some more.
            call.gas = Some(self.session.peek(&call)?.gas_used / 5 * 7);
        }
        let before = self.session.checkpoint();
        let mut outcome = self.session.run(&call)?;
        // Code that is called by other code fails for want of gas without saying so.
        let starved = |outcome: &Outcome, gas: u64| !outcome.is_success() && outcome.gas_used > gas / 2;
        if !self.manner.is_frugal && starved(&outcome, self.manner.gas) {
            self.session.restore(&before);
            call.gas = None;
            outcome = self.session.run(&call)?;
        }
        let is_cut = outcome.trace.truncated || outcome.status == Status::OutOfBudget;
        if is_cut || starved(&outcome, self.seed.most_gas()) {
            return Err(Stop::Budget);
        }
        self.note(&outcome);
        if to == self.token {
            self.seen.waste.extend(waste::of(&outcome));
        }
        Ok(outcome)
    }

    fn swap(&mut self, wallet: Address, from: Address, to: Address, amount: U256) -> Result<Outcome, Stop> {
        let call = abi::swapExactTokensForTokensSupportingFeeOnTransferTokensCall {
            amount,
            least: U256::ZERO,
            path: vec![from, to],
            to: wallet,
            deadline: U256::MAX,
        };
        self.act(wallet, self.market.router, encode(&call))
    }

    fn note(&mut self, outcome: &Outcome) {
        let (seen, market, trace) = (&mut self.seen, &self.market, &outcome.trace);
        let is_ours = |code: Address| code == self.wallets.contract || self.puppet == Some(code);
        for (_, opcodes) in trace.opcodes.iter().filter(|(code, _)| !market.has(**code) && !is_ours(**code)) {
            let env = opcodes.env();
            seen.coinbase |= env.coinbase;
            seen.gas_price |= env.gas_price;
            seen.base_fee |= env.base_fee;
            seen.prevrandao |= env.prevrandao;
            seen.block_hash |= env.block_hash;
            seen.origin |= env.origin;
            seen.gas_limit |= env.gas_limit;
            seen.gas |= env.gas;
        }
        for frame in &trace.frames {
            // In a delegate call the sender is the one of the frame around it.
            let caller = if frame.kind == FrameKind::DelegateCall { frame.context } else { frame.from };
            if caller != self.token && !seen.called.contains_key(&caller) {
                continue;
            }
            if matches!(frame.kind, FrameKind::Create | FrameKind::Create2) {
                continue;
            }
            if self.puppet == Some(frame.to) {
                seen.asked_pool = true;
                continue;
            }
            let apart = market.has(frame.to) || frame.to == self.token || self.wallets.has(frame.to);
            if !apart && !is_precompile(frame.to) {
                let delegated = frame.kind == FrameKind::DelegateCall && frame.context == self.token;
                seen.called.entry(frame.to).and_modify(|all| *all &= delegated).or_insert(delegated);
            }
        }
        if !trace.created.is_empty() {
            seen.waste.insert(Waste::Contracts);
        }
        seen.compared.extend(trace.compared.iter().copied());
        let outside = trace.reads.iter().filter(|((address, _), _)| !market.has(*address));
        seen.reads.extend(outside.map(|(slot, value)| (*slot, *value)));
    }

    /// The sum of the token's Transfer logs from one account (to another); `None` when a log cannot be read.
    fn logged(&self, outcome: &Outcome, from: Address, to: Option<Address>) -> Option<U256> {
        let mut sum = U256::ZERO;
        for (sender, receiver, value) in ledger::transfers(&outcome.logs, self.token) {
            if sender == from && to.is_none_or(|to| to == receiver) {
                sum = sum.checked_add(value)?;
            }
        }
        Some(sum)
    }

    /// What the logs say that came to an account, and what went from it.
    fn logged_at(&self, outcome: &Outcome, account: Address) -> Option<(U256, U256)> {
        let (mut sum, mut out) = (U256::ZERO, U256::ZERO);
        for (sender, receiver, value) in ledger::transfers(&outcome.logs, self.token) {
            if receiver == account {
                sum = sum.checked_add(value)?;
            }
            if sender == account {
                out = out.checked_add(value)?;
            }
        }
        Some((sum, out))
    }

    /// Sees to it that the pool has both sides. Balances are written, not sent: sending could already be refused.
    fn fill_pool(&mut self) -> Result<bool, Stop> {
        let first = self.first()?;
        let (reserve, quote_reserve) = market::reserves(&mut self.session, self.market.pair, first)?;
        if !is_deep(reserve) || !is_deep(quote_reserve) {
            let most = U256::ONE << 100;
            let wanted =
                if self.supply.is_zero() { U256::from(10).pow(U256::from(24)) } else { self.supply / U256::from(4) };
            let (quote, pair) = (self.market.quote, self.market.pair);
            if !self.stock_one(pair, wanted.clamp(U256::ONE, most))? {
                return Ok(false);
            }
            let deep = depth(&mut self.session, quote)?;
            if !ledger::forge(&mut self.session, quote, pair, deep)? {
                return Ok(false);
            }
            let sync = Call::new(self.seed.address("maker"), pair, encode(&abi::syncCall {}));
            self.session.run(&sync)?;
        }
        (self.reserve, self.quote_reserve) = market::reserves(&mut self.session, self.market.pair, first)?;
        Ok(!self.reserve.is_zero() && !self.quote_reserve.is_zero())
    }

    fn first(&mut self) -> Result<bool, Stop> {
        let token0 = ask(&mut self.session, self.market.pair, encode(&abi::token0Call {}))?;
        Ok(token0.and_then(address_in) == Some(self.token))
    }

    /// Gives an account tokens: by writing its balance, else by asking whoever has some.
    fn stock_one(&mut self, to: Address, amount: U256) -> Result<bool, Stop> {
        if ledger::forge(&mut self.session, self.token, to, amount)? {
            return Ok(true);
        }
        for source in ledger::named(&mut self.session, self.token)? {
            let has = self.balance(source)?;
            if source == self.market.pair || has.is_zero() {
                continue;
            }
            let part = amount.min(has / U256::from(8));
            let call = Call::new(source, self.token, encode(&abi::transferCall { _0: to, _1: part }));
            if self.session.run(&call)?.is_success() && !self.balance(to)?.is_zero() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether who has as much as our wallets may not buy any more, and who has nothing may: a limit on what one may have.
    fn is_too_much(&mut self) -> Result<bool, Stop> {
        let (paid, before) = (self.price_of(10_000), self.session.checkpoint());
        let mut works = [false; 2];
        for (works, wallet) in works.iter_mut().zip([self.wallets.other, self.wallets.buyer]) {
            *works = self.buy(wallet, paid)?.is_some();
            self.session.restore(&before);
        }
        Ok(works == [false, true])
    }

    fn fill_wallets(&mut self, part: u64) -> Result<(), Stop> {
        let people = self.wallets;
        let stock = round(self.reserve / U256::from(part)).max(U256::ONE);
        self.stock = stock;
        for wallet in [people.holder, people.named, people.other, people.stranger] {
            if !self.stock_one(wallet, stock)? {
                self.stock = U256::ZERO;
            }
        }
        for wallet in [people.buyer, people.holder, people.named, people.other, people.stranger, people.contract] {
            self.provide(wallet)?;
        }
        if !self.stock.is_zero() {
            self.stock = self.balance(people.named)?.min(self.balance(people.other)?);
        }
        Ok(())
    }
}

impl Lab {
    /// Gives a wallet what it pays with, and lets the router take it. Whether it now has it.
    pub(crate) fn provide(&mut self, wallet: Address) -> Result<bool, Stop> {
        let purse = self.quote_reserve.saturating_mul(U256::from(4));
        let has = ledger::forge(&mut self.session, self.market.quote, wallet, purse)?;
        let unlimited = encode(&abi::approveCall { _0: self.market.router, _1: U256::MAX });
        self.act(wallet, self.market.quote, unlimited.clone())?;
        self.act(wallet, self.token, unlimited)?;
        Ok(has)
    }

    /// Moves trading to another pool. Whether it has both sides and there is something to pay with.
    pub(crate) fn settle(&mut self, market: Market) -> Result<bool, Stop> {
        self.market = market;
        let first = self.first()?;
        (self.reserve, self.quote_reserve) = market::reserves(&mut self.session, self.market.pair, first)?;
        let Wallets { buyer, holder, named, other, stranger, .. } = self.wallets;
        let mut is_ready = is_deep(self.reserve) && is_deep(self.quote_reserve);
        for wallet in [buyer, holder, named, other, stranger] {
            is_ready = is_ready && self.provide(wallet)?;
        }
        Ok(is_ready)
    }

    /// What the token looks at when this pool gives or takes.
    pub(crate) fn regard(&mut self, pool: Address) -> Result<Regard, Stop> {
        self.reset();
        let (holder, sink, part) = (self.wallets.holder, self.wallets.sink, self.part(10_000).min(self.stock));
        let books = self.view(self.token, encode(&abi::balanceOfCall(pool)))?;
        let books = ledger::keyed_by(&books, pool);
        let mut regard = Regard::default();
        for (from, to) in [(holder, pool), (pool, sink)] {
            let call = encode(&abi::transferCall { _0: to, _1: part });
            let moved = self.session.peek(&self.transaction(from, self.token, call))?;
            let own = ledger::keyed_by(&moved, pool).into_iter().filter(|slot| !books.contains(slot));
            regard.values.extend(own.filter_map(|slot| moved.trace.reads.get(&slot)));
            let named = |(address, _): &(Address, U256), value: &U256| {
                *address != pool && ledger::addresses_in(*value).contains(&pool)
            };
            regard.is_named |= moved.trace.reads.iter().any(|(slot, value)| named(slot, value));
        }
        regard.values.sort_unstable();
        Ok(regard)
    }
}

impl Wallets {
    pub(crate) fn has(&self, address: Address) -> bool {
        let Self { buyer, holder, named, other, stranger, sink, contract, keeper, visitors } = *self;
        [buyer, holder, named, other, stranger, sink, contract, keeper].contains(&address)
            || visitors.contains(&address)
    }
}

fn wallets(session: &mut Session, seed: Seed) -> Result<Wallets, StateError> {
    let contract = market::place(session, seed, "Wallet")?;
    session.set_balance(contract, seed.purse("Wallet", 16))?;
    let mut wallet = |what: &str, magnitude: u64| -> Result<Address, StateError> {
        let address = seed.address(what);
        session.set_balance(address, seed.purse(what, magnitude))?;
        session.set_nonce(address, seed.within(what, 5, 400))?;
        Ok(address)
    };
    let mut visitors = [Address::ZERO; PURSES.len()];
    for (visitor, magnitude) in visitors.iter_mut().zip(PURSES) {
        *visitor = wallet(&format!("visitor {magnitude}"), magnitude)?;
    }
    Ok(Wallets {
        buyer: wallet("buyer", 17)?,
        holder: wallet("holder", 18)?,
        named: wallet("named", 17)?,
        other: wallet("other", 17)?,
        stranger: wallet("stranger", 18)?,
        sink: wallet("sink", 16)?,
        contract,
        keeper: wallet("keeper", 17)?,
        visitors,
    })
}

/// How most people send.
fn ordinary(seed: Seed) -> Manner {
    Manner { tip: seed.tip(), gas: seed.trade_gas(), is_frugal: false }
}

/// A deep side of a pool: a hundred whole units of 18 decimals, a million of fewer.
fn depth(session: &mut Session, quote: Address) -> Result<U256, StateError> {
    let decimals = ask(session, quote, encode(&abi::decimalsCall {}))?.unwrap_or(U256::from(18)).min(U256::from(18));
    let exponent = if decimals >= U256::from(15) { decimals + U256::from(2) } else { decimals + U256::from(6) };
    Ok(U256::from(10).pow(exponent))
}

/// What was to be moved, where something left: a holder who is paid out of the tax at once loses less than that.
fn whole(left: U256, wanted: U256) -> U256 {
    if left.is_zero() { left } else { left.max(wanted) }
}

/// What a pool of the kind of Uniswap V2 sends for a payment, after its fee of 0.3 %.
fn bought_for(paid: U256, reserve: U256, quote_reserve: U256) -> U256 {
    let paid = paid.saturating_mul(U256::from(997));
    let whole = quote_reserve.saturating_mul(U256::from(1000)).saturating_add(paid);
    // Reserves have 112 bits; what does not fit is no pool's.
    paid.checked_mul(reserve).and_then(|product| product.checked_div(whole)).unwrap_or_default()
}

/// Nothing moved: the call did nothing, whatever it said.
fn moved(sent: U256, got: U256, agree: bool) -> Option<Move> {
    (!sent.is_zero() || !got.is_zero()).then_some(Move { sent, got, agree })
}

/// Equal but for rounding, as tokens have it whose balances are shares.
fn near(a: U256, b: U256) -> bool {
    a.abs_diff(b) <= U256::from(2).max(a / U256::from(1_000_000_000))
}

/// Down to a multiple of 10,000, where there is one.
pub(super) fn round(amount: U256) -> U256 {
    let unit = U256::from(10_000);
    if amount < unit { amount } else { amount - amount % unit }
}

/// Whether an address is one of the EVM's own functions.
pub(crate) fn is_precompile(address: Address) -> bool {
    address.as_slice()[..18].iter().all(|byte| *byte == 0) && u16::from_be_bytes([address[18], address[19]]) <= 0x100
}
