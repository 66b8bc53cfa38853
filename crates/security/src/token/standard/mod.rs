//! Whether what answers like a token does what its standard says, and what using it costs besides
//! (`security-services.md` 3.2, `fake_standard_interface` and `gas_abuse`).
//!
//! People who never had anything approve, move and receive, and balances tell what came of it. Always true: what a contract
//! refuses is no lie, and nothing is said to be clean that was not done in every trial; each trial has other people in
//! another block, so that code which looks for one finds none.
//! Never here: trading (see [`super::probe`]), what keepers may do (see [`super::privilege`]).

mod fungible;
mod items;

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde::Serialize;
use surety_evm::{Call, Limits, Outcome, Session, Snapshot, StateError, Status};

use super::abi::{self, encode};
use super::proxy::resolve;
use super::report::{Why, targets};
use super::trial::{Seed, realistic};
use super::waste::{self, Waste};
use super::{Params, Stop};

/// Trials with other people in another block.
const TRIALS: u64 = 4;
/// Where the numbers of these trials begin, apart from those of other trials of the same contract.
const FIRST: u64 = 1_000;
/// Instructions of one trial.
const STEPS: u64 = 6_000_000;
/// Coins that are sent to see what receiving does, in wei.
const COINS: u64 = 1_000_000_000_000;

/// ERC-165's own id, and the one that nobody may claim.
const INTROSPECTION: u32 = 0x01ff_c9a7;
const NOBODYS: u32 = 0xffff_ffff;
/// The ids by which ERC-165 names the standards.
const NAMES: [(u32, Standard); 3] =
    [(0x3637_2b07, Standard::Erc20), (0x80ac_58cd, Standard::Erc721), (0xd9b6_7a26, Standard::Erc1155)];

/// A standard by which a contract answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standard {
    /// Amounts.
    Erc20,
    /// Items.
    Erc721,
    /// Amounts of items.
    Erc1155,
}

/// What a contract says and does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// It says that it moved something, by its result or its logs, and the recipient has nothing of it.
    MovesNothing,
    /// It moves what nobody allowed it to.
    MovesUnasked,
    /// It says that it allowed something, and did not.
    AllowsNothing,
    /// People who were never given anything have something, and cannot move it.
    InventsBalances,
    /// Whoever it names as an item's owner has none.
    InventsOwners,
    /// ERC-165 names a standard, and none of the standard's functions answers.
    ClaimsInVain,
}

/// One call that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// What was tried.
    pub act: &'static str,
    /// In which trial.
    pub trial: u64,
    /// Who sent it.
    pub from: Address,
    /// Coins sent with it, in wei.
    pub value: U256,
    /// Its data.
    pub data: Bytes,
    /// How it ended.
    pub status: Status,
    /// Gas that it used.
    pub gas_used: u64,
    /// Whether the contract says that it was done.
    pub said: bool,
    /// What the recipient has more of it; nothing where none was to receive anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<U256>,
    /// What it bought besides.
    pub waste: BTreeSet<Waste>,
    /// Commits to its logs.
    pub logs_hash: B256,
}

/// Everything that was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Study {
    /// The standards by which it answers.
    pub claims: BTreeSet<Standard>,
    /// What it says and does not do.
    pub lies: BTreeSet<Lie>,
    /// What ordinary calls buy besides.
    pub waste: BTreeSet<Waste>,
    /// Why what was not found need not be absent; nothing where everything was tried.
    pub untried: Option<Why>,
    /// What was tried.
    pub acts: Vec<Act>,
}

impl Study {
    /// Whether it answers like a token and does not do what the standard says.
    ///
    /// # Errors
    /// [`Why`] that is not known.
    pub fn is_fake(&self) -> Result<bool, Why> {
        self.told(!self.lies.is_empty())
    }

    /// Whether ordinary calls buy something else at their sender's cost.
    ///
    /// # Errors
    /// [`Why`] that is not known.
    pub fn abuses_gas(&self) -> Result<bool, Why> {
        self.told(!self.waste.is_empty())
    }

    fn told(&self, is_found: bool) -> Result<bool, Why> {
        match self.untried {
            Some(why) if !is_found => Err(why),
            _ => Ok(is_found),
        }
    }
}

/// Tries a contract in the state of a snapshot.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub fn study(snapshot: &Snapshot, contract: Address) -> Result<Study, StateError> {
    let seed = Seed::new(snapshot, contract)?;
    let mut study = Study::default();
    for n in 0..TRIALS {
        let tried = Trial::new(snapshot, seed.nth(FIRST + n), contract, n, &mut study).and_then(Trial::run);
        let why = match tried {
            Ok(true) => continue,
            Ok(false) | Err(Stop::Market) => Why::UnsupportedContract,
            Err(Stop::Budget) => Why::OutOfGasBudget,
            Err(Stop::State(error)) => return Err(error),
        };
        // That it costs too much explains more than that something could not be tried.
        if study.untried != Some(Why::OutOfGasBudget) {
            study.untried = Some(why);
        }
    }
    Ok(study)
}

/// Those who take part. None of them ever did anything.
#[derive(Clone, Copy, Debug)]
struct People {
    holder: Address,
    other: Address,
    sink: Address,
    spender: Address,
    stranger: Address,
}

/// One trial.
struct Trial<'s> {
    session: Session,
    seed: Seed,
    contract: Address,
    n: u64,
    people: People,
    study: &'s mut Study,
}

impl<'s> Trial<'s> {
    fn new(snapshot: &Snapshot, seed: Seed, contract: Address, n: u64, study: &'s mut Study) -> Result<Self, Stop> {
        let limits = seed.limits(&Params { steps: STEPS, ..Params::default() });
        let mut session = realistic(snapshot, seed, Limits { gas: seed.trade_gas(), ..limits });
        let mut person = |what: &str| -> Result<Address, StateError> {
            let address = seed.address(what);
            session.set_balance(address, seed.purse(what, 16 + n % 3))?;
            session.set_nonce(address, seed.within(what, 5, 400))?;
            Ok(address)
        };
        let people = People {
            holder: person("holder")?,
            other: person("other")?,
            sink: person("sink")?,
            spender: person("spender")?,
            stranger: person("stranger")?,
        };
        Ok(Self { session, seed, contract, n, people, study })
    }

    /// Does everything. Whether all that the contract claims could be tried.
    fn run(mut self) -> Result<bool, Stop> {
        let before = self.session.checkpoint();
        let received = self.act("receive", self.people.holder, U256::from(COINS), Bytes::new())?;
        // Old code refuses by burning all gas that it is given; nobody sends to it twice.
        let waste = if received.status.is_success() { received.waste.clone() } else { BTreeSet::new() };
        self.keep(Act { waste, ..received });
        self.session.restore(&before);
        let claims = self.claims()?;
        let mut all = true;
        for standard in &claims {
            all &= match standard {
                Standard::Erc20 => self.fungible()?,
                Standard::Erc721 => self.items()?,
                Standard::Erc1155 => self.amounts_of_items()?,
            };
            self.session.restore(&before);
        }
        self.study.claims.extend(claims);
        Ok(all)
    }

    /// The standards by which it answers: what ERC-165 names, and ERC-20 by its functions.
    fn claims(&mut self) -> Result<BTreeSet<Standard>, Stop> {
        let mut claims = BTreeSet::new();
        // Who claims everything claims nothing: so ERC-165 tells its own from what answers any call.
        if self.names(INTROSPECTION)? && !self.names(NOBODYS)? {
            for (id, standard) in NAMES {
                if self.names(id)? {
                    claims.insert(standard);
                }
            }
        }
        let answers =
            self.balance(self.people.sink)?.is_some() && self.view(encode(&abi::totalSupplyCall {}))?.is_some();
        if claims.is_empty() && answers && self.has_transfer()? {
            claims.insert(Standard::Erc20);
        }
        Ok(claims)
    }

    fn names(&mut self, id: u32) -> Result<bool, Stop> {
        let answer = self.view(encode(&abi::supportsInterfaceCall(id.to_be_bytes().into())))?;
        Ok(answer == Some(U256::ONE))
    }

    /// Whether a transfer leads anywhere: it stands in the code, or succeeds.
    fn has_transfer(&mut self) -> Result<bool, Stop> {
        let call = abi::transferCall { _0: self.people.sink, _1: U256::ONE };
        let proxy = resolve(&mut self.session, self.contract)?;
        let selector = <abi::transferCall as alloy_sol_types::SolCall>::SELECTOR;
        let codes = targets(&self.session, self.contract, &proxy)?;
        let stands =
            codes.iter().any(|target| target.code.functions.iter().any(|function| function.selector == selector));
        let transfer = self.transaction(self.people.holder, U256::ZERO, encode(&call));
        Ok(stands || self.session.peek(&transfer)?.is_success())
    }

    fn balance(&mut self, of: Address) -> Result<Option<U256>, Stop> {
        self.view(encode(&abi::balanceOfCall(of)))
    }

    /// What it answers in a transaction of somebody ordinary: to those who only look, code may say something else.
    fn view(&mut self, data: Bytes) -> Result<Option<U256>, Stop> {
        let call = self.transaction(self.people.stranger, U256::ZERO, data);
        let outcome = self.session.peek(&call)?;
        if outcome.status == Status::OutOfBudget {
            return Err(Stop::Budget);
        }
        Ok(outcome.word())
    }

    fn transaction(&self, from: Address, value: U256, data: Bytes) -> Call {
        let price = u128::from(self.session.head().base_fee) + self.seed.tip();
        Call { gas_price: Some(price), ..Call::new(from, self.contract, data) }.value(value)
    }

    /// Sends a transaction, which stays.
    fn act(&mut self, act: &'static str, from: Address, value: U256, data: Bytes) -> Result<Act, Stop> {
        let outcome = self.session.run(&self.transaction(from, value, data.clone()))?;
        if outcome.trace.truncated || outcome.status == Status::OutOfBudget {
            return Err(Stop::Budget);
        }
        Ok(Act {
            act,
            trial: self.n,
            from,
            value,
            data,
            gas_used: outcome.gas_used,
            said: says_done(&outcome),
            got: None,
            waste: waste::of(&outcome),
            logs_hash: logs_hash(&outcome),
            status: outcome.status,
        })
    }

    /// Does what is to bring the sink something, which `has` measures. Whether it came, where the contract says that it did.
    fn moving(
        &mut self,
        act: &'static str,
        from: Address,
        data: Bytes,
        has: impl Fn(&mut Self) -> Result<Option<U256>, Stop>,
    ) -> Result<Option<bool>, Stop> {
        let before = has(self)?.unwrap_or_default();
        let done = self.act(act, from, U256::ZERO, data)?;
        let got = has(self)?.unwrap_or_default().saturating_sub(before);
        let arrived = done.said.then_some(!got.is_zero());
        if arrived == Some(false) {
            self.study.lies.insert(Lie::MovesNothing);
        }
        self.keep(Act { got: Some(got), ..done });
        Ok(arrived)
    }

    /// Does what nobody allowed.
    fn unasked(&mut self, data: Bytes, has: impl Fn(&mut Self) -> Result<Option<U256>, Stop>) -> Result<(), Stop> {
        if self.moving("transfer by nobody's leave", self.people.stranger, data, has)? == Some(true) {
            self.study.lies.insert(Lie::MovesUnasked);
        }
        Ok(())
    }

    fn keep(&mut self, act: Act) {
        self.study.waste.extend(&act.waste);
        self.study.acts.push(act);
    }
}

/// Whether a contract says that it did what it was asked: it returned, and not `false`; or its logs tell of a transfer.
fn says_done(outcome: &Outcome) -> bool {
    let denies = outcome.word().is_some_and(|word| word.is_zero());
    outcome.is_success()
        && (!denies || outcome.logs.iter().any(|log| log.topics().first() == Some(&super::ledger::TRANSFER)))
}

fn logs_hash(outcome: &Outcome) -> B256 {
    let mut bytes = Vec::new();
    for log in &outcome.logs {
        bytes.extend_from_slice(log.address.as_slice());
        bytes.extend(log.topics().iter().flat_map(|topic| topic.0));
        bytes.extend_from_slice(keccak256(&log.data.data).as_slice());
    }
    keccak256(bytes)
}
