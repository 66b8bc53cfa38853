//! What a contract's keepers can do: every function is called as every address that the code treats differently, and its
//! effect on the books and on trading is measured (`security-services.md` section 5.4).
//!
//! Bounded: at most [`MOST_CALLS`] calls and the instructions of [`Params::steps`](super::Params); beyond it, what was not
//! found is unknown. A static pass says which functions write what decides about transfers and were never made to work.

mod callers;
mod cover;
mod hints;
mod measure;
mod renounce;
mod shut;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_dyn_abi::DynSolType;
use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use serde::Serialize;
use surety_evm::{Call, Checkpoint, FrameKind, Outcome, Status};

use super::abi::{self, address_in, encode};
use super::code::{Code, Function};
use super::lab::{Lab, ask, peek};
use super::proxy::{Kind, Proxy};
use super::seeds::{Stock, seeds};
use super::trial::Seed;
use super::vital::{self, Shift, Vital, shift};
use super::{Stop, facts, ledger};

/// Calls of one assessment.
pub const MOST_CALLS: u32 = 24_000;
/// Callers of one assessment.
const MOST_CALLERS: usize = 12;
/// Choices of arguments for one function.
const MOST_SEEDS: usize = 88;
/// Different effects measured of one function and caller.
const MOST_MEASURED: usize = 16;
/// Movements of balances measured that showed nothing, after which more of the same function are passed over.
const MOST_IDLE: usize = 5;
/// The precompile that recovers a signer.
const RECOVER: Address = address!("0000000000000000000000000000000000000001");
/// Effects measured that were the same again, after which more of the same function are passed over.
const MOST_STALE: usize = 6;
/// Keys of mappings written to make a stranger a member.
const MOST_FORCED: usize = 4;

/// What a call brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// There is more of the token.
    Mint,
    /// A third party's balance is another.
    Balances,
    /// Trades of everybody fail.
    Pause,
    /// Trades of one wallet fail.
    Blacklist,
    /// One wallet may what others may not.
    Whitelist,
    /// The tax of everybody is another.
    Tax,
    /// The tax of one wallet is another.
    PersonalTax,
    /// The size up to which trades work is another.
    Limit,
    /// Trading that was shut is open.
    Open,
    /// Other code runs from now on.
    Upgrade,
    /// Somebody else is the owner.
    Ownership,
    /// Code of the caller's choice runs in the contract's name.
    Delegate,
    /// The contract destroys itself.
    Destroy,
    /// What the contract holds for others leaves it.
    Withdraw,
    /// What others allowed the contract to spend is spent.
    Spend,
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Everybody.
    Anyone,
    /// One address.
    Address,
    /// The members of a mapping.
    Member,
}

/// One thing that somebody can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Power {
    /// The contract that is called.
    pub contract: Address,
    /// The function, in hex.
    pub selector: String,
    /// What it brings about.
    pub effect: Effect,
    /// Who may.
    pub gate: Gate,
    /// That address; a member nobody knows is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Address>,
    /// Whether a view of the contract shows who may.
    pub shown: bool,
    /// The call that showed it.
    pub call: Bytes,
    /// The worst tax that any of the calls brought about, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_bps: Option<u64>,
    /// Whether larger arguments of the same function were refused: the power has a bound.
    pub bounded: bool,
}

/// A call that opens trading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// Who may.
    pub who: Address,
    /// The contract that is called.
    pub contract: Address,
    /// With what.
    pub call: Bytes,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Powers {
    /// The powers, in order of contract, function and effect.
    pub powers: Vec<Power>,
    /// Ownership that was given up can be had back.
    pub take_back: bool,
    /// Functions that write what decides about transfers or balances and could not be made to work, in hex.
    pub uncovered: BTreeSet<String>,
    /// As `uncovered`, only those that write the books themselves.
    pub uncovered_books: BTreeSet<String>,
    /// Functions that write who the owner is and could not be made to work, and states that could not be reached.
    pub uncovered_ownership: BTreeSet<String>,
    /// Functions that nobody made work at all, and that are not shut for good, in hex.
    pub idle: BTreeSet<String>,
    /// The call that opens trading where it is shut.
    pub opening: Option<Opening>,
    /// A function recognises its caller by a hash, and nobody was found whom it lets in.
    pub hidden_gate: bool,
    /// Whether the work was more than the bound.
    pub exhausted: bool,
    /// Whether the code's functions could be read, and are those of a token.
    pub readable: bool,
    /// Whether the code's functions could be read.
    pub is_read: bool,
}

impl Powers {
    /// Whether anybody has a power with this effect.
    pub fn has(&self, effect: Effect) -> bool {
        self.powers.iter().any(|power| power.effect == effect)
    }

    /// Adds what was found in another state of the same token.
    pub(crate) fn merge(&mut self, later: Self) {
        for power in later.powers {
            if !self.powers.contains(&power) {
                self.powers.push(power);
            }
        }
        // What one of the states made work is covered.
        self.uncovered.retain(|function| later.uncovered.contains(function));
        self.uncovered_books.retain(|function| later.uncovered_books.contains(function));
        self.uncovered_ownership.retain(|function| later.uncovered_ownership.contains(function));
        self.idle.retain(|function| later.idle.contains(function));
        self.hidden_gate &= later.hidden_gate;
        self.take_back |= later.take_back;
        self.exhausted |= later.exhausted;
        self.readable &= later.readable;
        self.is_read &= later.is_read;
    }

    /// Adds what was found in another pool of the same token. What could not be made to work in one of them is not covered.
    pub(crate) fn merge_pool(&mut self, there: Self) {
        let uncovered = &self.uncovered | &there.uncovered;
        let uncovered_books = &self.uncovered_books | &there.uncovered_books;
        let uncovered_ownership = &self.uncovered_ownership | &there.uncovered_ownership;
        let hidden_gate = self.hidden_gate || there.hidden_gate;
        self.merge(there);
        (self.uncovered, self.uncovered_books) = (uncovered, uncovered_books);
        (self.uncovered_ownership, self.hidden_gate) = (uncovered_ownership, hidden_gate);
    }

    /// Whether somebody whom nothing shows has power over holders.
    pub fn is_hidden(&self) -> bool {
        use Effect::{Balances, Blacklist, Delegate, Limit, Mint, Pause, PersonalTax, Tax, Whitelist};
        let over_holders = [Mint, Balances, Pause, Blacklist, Whitelist, Tax, PersonalTax, Limit, Delegate];
        self.powers
            .iter()
            .any(|power| power.gate != Gate::Anyone && !power.shown && over_holders.contains(&power.effect))
    }
}

/// Slots, each with whose it is.
type Slots = BTreeSet<(Address, U256)>;

/// A contract whose functions are tried.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) code: Arc<Code>,
}

pub(crate) struct Scan<'a> {
    pub(crate) lab: &'a mut Lab,
    pub(crate) targets: &'a [Target],
    pub(crate) proxy: &'a Proxy,
    /// The contract that is judged: the token, or one beside it.
    subject: Address,
    base: Checkpoint,
    vital: Vital,
    /// Slots that decide about trades.
    deciding: Slots,
    /// Slots that hold the balances looked at, and the supply.
    books: Slots,
    /// Slots that say who owns the token.
    owner_slots: Slots,
    /// Addresses that views answer without being asked about one.
    shown: BTreeSet<Address>,
    /// 32-byte values that views answer.
    words: Vec<U256>,
    /// Slots that nobody forces: balances and allowances are no memberships.
    entries: Slots,
    /// Slots that hold allowances of the wallets.
    allowances: Slots,
    /// Slots written by calls of addresses that are shown.
    appointed: Slots,
    /// Functions that did something.
    succeeded: BTreeSet<(Address, [u8; 4])>,
    /// Functions that returned, whether or not they did anything.
    returned: BTreeSet<(Address, [u8; 4])>,
    /// Functions that ask for somebody's signature: what they do, that one has agreed to.
    signed: BTreeSet<(Address, [u8; 4])>,
    /// Functions that treat the hash of their caller as a secret.
    hashed: BTreeSet<(Address, [u8; 4])>,
    /// Functions that let somebody in by a hash of his address, whatever they do for others.
    secret: BTreeSet<(Address, [u8; 4])>,
    /// The bytes of slots that any call wrote, as a mask.
    written: BTreeMap<(Address, U256), U256>,
    /// Every function of every target.
    functions: Arc<[(Address, Function)]>,
    /// What each function asks a stranger for.
    asked_of_all: BTreeMap<(Address, [u8; 4]), BTreeSet<Bytes>>,
    /// How a stranger fares with the first choices of arguments.
    endings: BTreeMap<(Address, [u8; 4]), Vec<Ending>>,
    /// Balances on the base that were asked for, with the slots that they are read from.
    accounts: BTreeMap<Option<Address>, Account>,
    /// Slots written to make the stranger a member.
    forced: Slots,
    /// Those slots by the function that asks for them.
    memberships: BTreeMap<(Address, [u8; 4]), Slots>,
    /// Whether somebody who might be privileged was passed over.
    is_cut: bool,
    /// How trading goes on the base when all waiting is over, once that was asked.
    later: Option<Vital>,
    /// Calls that changed something of the contract's own and brought nothing about by themselves.
    armed: Vec<(Address, Address, Bytes)>,
    /// The first call of each function that did something, with the slots that it wrote.
    worked: BTreeMap<(Address, [u8; 4]), (Address, Bytes, Slots)>,
    /// Every slot that a function wrote.
    wrote: BTreeMap<(Address, [u8; 4]), Slots>,
    /// Who might be privileged.
    keepers: Vec<Address>,
    /// What calls pay, in wei.
    paid: U256,
    calls: u32,
    found: BTreeMap<(Address, [u8; 4], Option<Address>, Gate), Finding>,
}

/// A balance, or the supply, and the slots it is read from.
#[derive(Clone, Debug, Default)]
struct Account {
    amount: U256,
    /// Those of the slots that are this account's alone.
    own: Slots,
    slots: Slots,
}

/// What one function does for one caller.
#[derive(Clone, Debug, Default)]
struct Finding {
    effects: BTreeMap<Effect, Bytes>,
    shown: bool,
    worst_bps: u64,
    bounded: bool,
}

/// How a call ended, as far as it tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ending {
    status: Status,
    steps: u64,
    writes: usize,
}

impl Ending {
    fn of(outcome: &Outcome) -> Self {
        let trace = &outcome.trace;
        Self { status: outcome.status.clone(), steps: trace.steps, writes: trace.writes.len() }
    }
}

/// Finds every power in the lab's present state.
pub(crate) fn scan(lab: &mut Lab, targets: &[Target], proxy: &Proxy, hints: &[Address]) -> Result<Powers, Stop> {
    let mut scan = Scan::new(lab, targets, proxy)?;
    let result = scan.everything(hints);
    let base = scan.base.clone();
    scan.lab.session.restore(&base);
    let mut powers = match result {
        Ok(powers) => powers,
        Err(Stop::Budget) => Powers { exhausted: true, ..Powers::default() },
        Err(stop) => return Err(stop),
    };
    scan.collect(&mut powers);
    Ok(powers)
}

impl<'a> Scan<'a> {
    fn new(lab: &'a mut Lab, targets: &'a [Target], proxy: &'a Proxy) -> Result<Self, Stop> {
        let subject = targets.first().map_or(lab.token, |target| target.address);
        let people = lab.wallets;
        // Whoever received tokens may have given something away by it.
        let before = lab.session.checkpoint();
        let little = lab.stock / U256::from(100);
        for to in [people.named, people.other] {
            if lab.transfer(people.holder, to, little)?.is_none() {
                lab.session.restore(&before);
                break;
            }
        }
        // Whoever sells has to be let spend first, as people do it.
        for from in [people.named, people.other] {
            lab.act(from, lab.token, encode(&abi::approveCall { _0: lab.market.router, _1: U256::ZERO }))?;
        }
        let (coins, quotes) = (lab.seed.purse("subject", 18), lab.seed.within("subject", 1_000_001, 9_999_999));
        lab.session.set_balance(subject, coins)?;
        let quote = lab.market.quote;
        ledger::forge(&mut lab.session, quote, subject, U256::from(quotes))?;
        let allow = encode(&abi::approveCall { _0: subject, _1: U256::MAX });
        lab.session.run(&Call::new(people.named, quote, allow))?;
        let seed = lab.seed;
        let base = lab.session.checkpoint();
        let vital = Vital::take(lab)?;
        let deciding = vital::deciding(lab);
        let mut scan = Self {
            lab,
            targets,
            proxy,
            subject,
            base,
            vital,
            deciding,
            books: BTreeSet::new(),
            owner_slots: BTreeSet::new(),
            shown: BTreeSet::new(),
            words: vec![U256::ZERO],
            entries: BTreeSet::new(),
            allowances: BTreeSet::new(),
            appointed: BTreeSet::new(),
            succeeded: BTreeSet::new(),
            returned: BTreeSet::new(),
            signed: BTreeSet::new(),
            hashed: BTreeSet::new(),
            secret: BTreeSet::new(),
            written: BTreeMap::new(),
            functions: functions(targets, seed),
            asked_of_all: BTreeMap::new(),
            endings: BTreeMap::new(),
            accounts: BTreeMap::new(),
            forced: BTreeSet::new(),
            memberships: BTreeMap::new(),
            is_cut: false,
            later: None,
            armed: Vec::new(),
            worked: BTreeMap::new(),
            wrote: BTreeMap::new(),
            keepers: Vec::new(),
            paid: U256::ZERO,
            calls: 0,
            found: BTreeMap::new(),
        };
        scan.read_books()?;
        scan.read_views()?;
        Ok(scan)
    }

    fn everything(&mut self, hints: &[Address]) -> Result<Powers, Stop> {
        let mut compared = self.strangers()?;
        compared.extend(self.lab.seen.compared.iter().copied());
        let callers = self.callers(hints, &compared)?;
        self.keepers.clone_from(&callers);
        for caller in callers.iter().copied() {
            self.keeper(caller)?;
        }
        self.members()?;
        self.paying(&callers)?;
        self.sequels()?;
        self.second_steps(&callers)?;
        let mut powers = Powers { opening: self.opening(), ..Powers::default() };
        self.uncovered(&mut powers)?;
        powers.is_read = self.targets.iter().all(|target| target.code.complete);
        // What further functions a diamond has, nobody can find out: it looks them up one at a time.
        let is_diamond = self.proxy.kind == Some(Kind::Diamond);
        powers.readable = powers.is_read && !is_diamond && self.is_token() && !self.is_obscure()?;
        powers.take_back = self.renounced(&callers, &mut powers.uncovered_ownership)?;
        powers.exhausted = self.is_cut;
        Ok(powers)
    }

    /// The slots of the books: of everybody whose balance is looked at, of the supply, of allowances.
    fn read_books(&mut self) -> Result<(), Stop> {
        let people = self.lab.wallets;
        let token = self.lab.token;
        let reads = |lab: &mut Lab, data: Bytes| -> Result<Vec<(Address, U256)>, Stop> {
            Ok(peek(&mut lab.session, Address::ZERO, token, data)?.trace.reads.into_keys().collect())
        };
        let mut books = reads(self.lab, encode(&abi::totalSupplyCall {}))?;
        for of in [people.named, people.other, people.stranger, self.lab.market.pair] {
            books.extend(reads(self.lab, encode(&abi::balanceOfCall(of)))?);
        }
        self.books.extend(books.iter().copied());
        self.entries.extend(books);
        for from in [people.named, people.other, people.stranger, people.sink] {
            for to in [people.stranger, self.lab.market.router] {
                let call = encode(&abi::allowanceCall { _0: from, _1: to });
                let slots = peek(&mut self.lab.session, Address::ZERO, token, call)?;
                self.allowances.extend(ledger::keyed_by(&slots, from));
                self.entries.extend(slots.trace.reads.into_keys());
            }
        }
        for call in [encode(&abi::ownerCall {}), encode(&abi::getOwnerCall {})] {
            let outcome = peek(&mut self.lab.session, Address::ZERO, token, call)?;
            if let Some(word) = outcome.word() {
                let owner = word.to_be_bytes::<32>();
                let holds = |value: U256| value.to_be_bytes::<32>().windows(20).any(|window| window == &owner[12..]);
                let slots = outcome.trace.reads.iter().filter(|(_, value)| holds(**value));
                self.owner_slots.extend(slots.map(|(slot, _)| *slot));
            }
        }
        Ok(())
    }

    /// What views say without being asked about anybody.
    fn read_views(&mut self) -> Result<(), Stop> {
        for target in self.targets {
            for function in target.code.functions.iter().filter(|function| function.arguments.is_empty()) {
                let data = Bytes::copy_from_slice(&function.selector);
                let outcome = peek(&mut self.lab.session, self.lab.wallets.sink, target.address, data)?;
                let Some(word) = outcome.word().filter(|_| outcome.trace.writes.is_empty()) else { continue };
                if let Some(address) = address_in(word) {
                    self.shown.insert(address);
                }
                if word.bit_len() > 200 && self.words.len() < 8 {
                    self.words.push(word);
                }
            }
        }
        self.shown.extend(self.proxy.admin);
        Ok(())
    }

    fn stock(&self, caller: Address) -> Stock {
        let people = self.lab.wallets;
        let between = self.lab.part(30_000);
        let double = self.lab.supply.saturating_mul(U256::from(2));
        let supply = self.lab.supply;
        let mut numbers: Vec<U256> = [1_u64, 10, 0].map(U256::from).to_vec();
        // Some lists have numbers and hashes for keys, made of addresses.
        numbers.extend([between, double]);
        let mut words = self.words.clone();
        words.push(abi::word_of(people.named));
        words.push(abi::word_of(people.named) << 96);
        words.push(keccak256(people.named).into());
        words.push(keccak256(B256::from(abi::word_of(people.named))).into());
        numbers.extend([1_000_u64, 5, 100].map(U256::from));
        numbers.extend([between / U256::from(10).pow(U256::from(18)), self.lab.part(10_000), U256::MAX]);
        numbers.extend([25_u64, 50, 99, 300, 500, 2_500, 9_900, 10_000].map(U256::from));
        numbers.extend([supply, supply / U256::from(2)]);
        let now = self.lab.session.head().timestamp;
        let number = self.lab.session.head().number;
        numbers.extend([now.saturating_add(31_536_000), number.saturating_add(1_000_000)].map(U256::from));
        Stock {
            named: people.named,
            caller,
            other: people.other,
            pair: self.lab.market.pair,
            token: self.lab.token,
            router: self.lab.market.router,
            keys: [(abi::word_of(people.named), U256::ONE), (abi::word_of(people.named) >> 8, U256::MAX)],
            numbers,
            words,
        }
    }

    fn seeds(&self, function: &Function, caller: Address) -> Vec<Bytes> {
        if self.is_nowhere(function) {
            // What code makes of such a call may depend on its length.
            let long = [function.selector.to_vec(), abi::word_of(self.lab.wallets.named).to_be_bytes_vec()].concat();
            return [long.len(), 0, 4, 5].map(|length| Bytes::copy_from_slice(&long[..length])).to_vec();
        }
        seeds(function, &self.stock(caller), MOST_SEEDS)
    }

    /// Whether this is the function that does not exist.
    fn is_nowhere(&self, function: &Function) -> bool {
        self.lab.seed.hash("no function").starts_with(&function.selector)
    }

    /// Runs a call on the base and keeps nothing.
    fn peek(&mut self, from: Address, to: Address, data: &Bytes) -> Result<Outcome, Stop> {
        self.count()?;
        Ok(self.lab.session.peek(&self.transaction(from, to, data))?)
    }

    fn transaction(&self, from: Address, to: Address, data: &Bytes) -> Call {
        self.lab.transaction(from, to, data.clone()).value(self.paid)
    }

    /// Makes another state the one that calls start from, and goes there.
    fn rebase(&mut self, base: Checkpoint) {
        self.accounts.clear();
        self.later = None;
        self.base = base;
        self.lab.session.restore(&self.base);
    }

    /// Whether all the work that is allowed was done.
    fn is_spent(&self) -> bool {
        self.calls > MOST_CALLS || self.lab.session.steps_left() == 0
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.calls += 1;
        if self.is_spent() {
            return Err(Stop::Budget);
        }
        Ok(())
    }

    fn collect(&self, powers: &mut Powers) {
        for ((contract, selector, who, gate), finding) in &self.found {
            let has = |effect: Effect| finding.effects.contains_key(&effect);
            for (effect, call) in &finding.effects {
                // A limit of nothing and a tax of everything stop trading too, of all or of one; they are no switches of
                // their own.
                if *effect == Effect::Pause && (has(Effect::Limit) || has(Effect::Tax)) {
                    continue;
                }
                if *effect == Effect::Blacklist && has(Effect::PersonalTax) {
                    continue;
                }
                // The pool among the listed stops everybody: the list is one of wallets all the same.
                if *effect == Effect::Pause && has(Effect::Blacklist) && !call_has_flag_only(call) {
                    continue;
                }
                powers.powers.push(Power {
                    contract: *contract,
                    selector: hex_of(*selector),
                    effect: *effect,
                    gate: *gate,
                    who: *who,
                    shown: finding.shown,
                    call: call.clone(),
                    worst_bps: matches!(effect, Effect::Tax | Effect::PersonalTax).then_some(finding.worst_bps),
                    bounded: finding.bounded,
                });
            }
        }
    }
}

/// Every function that was found, and a call of one that does not exist, which code may answer too.
fn functions(targets: &[Target], seed: Seed) -> Arc<[(Address, Function)]> {
    let hash = seed.hash("no function");
    let nowhere = Function { selector: [hash[0], hash[1], hash[2], hash[3]], arguments: vec![DynSolType::Uint(256)] };
    let one = |target: &Target| {
        let address = target.address;
        let all = target.code.functions.iter().chain([&nowhere]);
        all.map(move |function| (address, function.clone())).collect::<Vec<_>>()
    };
    targets.iter().flat_map(one).collect()
}

fn hex_of(selector: [u8; 4]) -> String {
    const_hex::encode_prefixed(selector)
}

/// A switch that takes one word, which is 0 or 1.
fn call_has_flag_only(call: &Bytes) -> bool {
    call.len() <= 36 && call.get(4..35).is_none_or(|head| head.iter().all(|byte| *byte == 0))
}

/// Whether a call did anything that outlasts it.
fn has_effects(outcome: &Outcome) -> bool {
    let trace = &outcome.trace;
    !trace.writes.is_empty()
        || !trace.selfdestructs.is_empty()
        || !trace.native.is_empty()
        || trace.frames.iter().any(|frame| frame.kind == FrameKind::DelegateCall && frame.depth > 0)
}
