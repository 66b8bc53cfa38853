//! The market in which a token is tried: the chain's own pool and router where there are some, ours where there are none.
//!
//! Ours has the interface of Uniswap V2 and is written for this project (`contracts/fixtures/src/Market.sol`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use alloy_primitives::aliases::U24;
use alloy_primitives::{Address, Bytes, U256, address};
use serde::{Deserialize, Serialize};
use surety_evm::{Session, StateError};

use super::abi::{self, address_in, encode, word_of};
use super::lab::ask;
use super::trial::Seed;
use super::{Dex, Params, Tiered};

/// The compiled contracts of our market.
static CONTRACTS: LazyLock<BTreeMap<String, Artifact>> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../../../../contracts/fixtures/market.json"))
        .unwrap_or_else(|error| unreachable!("the artifacts are written by our own script: {error}"));
    file.contracts
});

#[derive(Deserialize)]
struct File {
    contracts: BTreeMap<String, Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    runtime: Bytes,
}

/// The runtime code of one contract of our market: `Plain`, `Wrapped`, `Factory`, `Router` or `Wallet`.
pub fn runtime(name: &str) -> Bytes {
    CONTRACTS.get(name).map(|artifact| artifact.runtime.clone()).unwrap_or_default()
}

/// The exchanges that are asked for pools, by their canonical addresses.
pub(super) const DEXES: [Dex; 3] = [
    Dex {
        name: "UniswapV2",
        factory: address!("5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"),
        router: address!("7a250d5630B4cF539739dF2C5dAcb4c659F2488D"),
    },
    Dex {
        name: "SushiSwap",
        factory: address!("C0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac"),
        router: address!("d9e1cE17f2641f24aE83637ab66a2cca9C378B9F"),
    },
    Dex {
        name: "PancakeV2",
        factory: address!("cA143Ce32Fe78f1f7019d7d551a6402fC5350c73"),
        router: address!("10ED43C718714eb63d5aA57B78B54704E256024E"),
    },
];

/// The exchanges of the kind of Uniswap V3, by their canonical addresses, with the fees of their pools.
pub(super) const TIERED: [Tiered; 2] = [
    Tiered {
        name: "UniswapV3",
        factory: address!("1F98431c8aD98523631AE4a59f267346ea31F984"),
        fees: &[100, 500, 3_000, 10_000],
    },
    Tiered {
        name: "PancakeV3",
        factory: address!("0BFbCF9fa4f9C56B0F40a671Ad40E0805A091865"),
        fees: &[100, 500, 2_500, 10_000],
    },
];

/// What tokens are traded against: WETH, USDC, USDT, DAI, WBNB.
pub(super) const QUOTES: [Address; 5] = [
    address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
    address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
    address!("dAC17F958D2ee523a2206206994597C13D831ec7"),
    address!("6B175474E89094C44Da98b954EedeAC495271d0F"),
    address!("bb4CdB9CbD36B01bD1cBaEBF2De08d9173bc095c"),
];

/// A pool with less of either side, in base units, is as good as empty.
const SHALLOW: u64 = 10_000;

/// How a pool trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// As Uniswap V2: one price for what the pool has.
    V2,
    /// As Uniswap V3: everybody's liquidity at prices of their own.
    V3,
}

/// A pool that the chain has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How it trades.
    pub kind: Kind,
    /// The exchange, `None` for a pool of an unknown factory that the token itself names.
    pub dex: Option<&'static str>,
    /// The pool's address.
    pub pair: Address,
    /// What the token is traded against.
    pub quote: Address,
    /// The pool's factory.
    pub factory: Address,
    /// The token's amount in the pool, in base units.
    pub reserve: U256,
    /// The quote's amount in the pool, in base units.
    pub quote_reserve: U256,
}

impl Pool {
    /// Whether there is anything to trade with. A pool of V3 may have one side alone.
    pub fn is_live(&self) -> bool {
        let (token, quote) = (is_deep(self.reserve), is_deep(self.quote_reserve));
        if self.kind == Kind::V2 { token && quote } else { token || quote }
    }
}

/// Whether an amount is more than a trifle, in base units.
pub(crate) fn is_deep(amount: U256) -> bool {
    amount >= U256::from(SHALLOW)
}

/// Where the token is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) pair: Address,
    pub(crate) quote: Address,
    pub(crate) router: Address,
    pub(crate) factory: Address,
    /// The pools, quotes, factories and routers of all other places where it trades.
    pub(crate) others: BTreeSet<Address>,
}

impl Market {
    /// Whether this address belongs to trading as such, so that a token that calls it calls nobody else.
    pub(crate) fn has(&self, address: Address) -> bool {
        [self.pair, self.quote, self.router, self.factory].contains(&address) || self.others.contains(&address)
    }
}

/// Every pool of this token: those of the exchanges, and those among `named`, addresses that the token's own storage has.
/// The pool to trade in comes first: one of V2 that has something, of a known exchange, with the most of the token. What a
/// pool of an unknown factory does could be anything, and amounts of different quotes cannot be compared.
pub(crate) fn pools(
    session: &mut Session,
    token: Address,
    params: &Params,
    named: &[Address],
) -> Result<Vec<Pool>, StateError> {
    let mut found: Vec<Pool> = Vec::new();
    for dex in &params.dexes {
        if session.code(dex.factory)?.is_empty() {
            continue;
        }
        for quote in params.quotes.iter().copied().filter(|quote| *quote != token) {
            let call = encode(&abi::getPairCall { _0: token, _1: quote });
            let pair = ask(session, dex.factory, call)?.and_then(address_in);
            if let Some(pair) = pair
                && let Some(pool) = look(session, token, pair, Some(dex.name))?
            {
                found.push(pool);
            }
        }
    }
    for pair in named.iter().copied() {
        if found.iter().all(|pool| pool.pair != pair)
            && let Some(pool) = look(session, token, pair, None)?
        {
            found.push(pool);
        }
    }
    for dex in &params.tiered {
        if !session.code(dex.factory)?.is_empty() {
            tiers(session, token, params, dex, &mut found)?;
        }
    }
    found.sort_by_key(|pool| {
        let depth = (pool.is_live(), pool.dex.is_some(), pool.reserve, quote_rank(params, pool.quote));
        (pool.kind, Reverse(depth))
    });
    Ok(found)
}

/// The pools of one exchange of the kind of V3, one a quote and fee.
fn tiers(
    session: &mut Session,
    token: Address,
    params: &Params,
    dex: &Tiered,
    found: &mut Vec<Pool>,
) -> Result<(), StateError> {
    for quote in params.quotes.iter().copied().filter(|quote| *quote != token) {
        for fee in dex.fees {
            let call = encode(&abi::getPoolCall { _0: token, _1: quote, _2: U24::from(*fee) });
            let Some(pair) = ask(session, dex.factory, call)?.and_then(address_in) else { continue };
            // It keeps no reserves of its own: what it has is what it may pay.
            let mut has = |of: Address| ask(session, of, encode(&abi::balanceOfCall(pair)));
            let (reserve, quote_reserve) = (has(token)?.unwrap_or_default(), has(quote)?.unwrap_or_default());
            found.retain(|pool| pool.pair != pair);
            let (kind, dex, factory) = (Kind::V3, Some(dex.name), dex.factory);
            found.push(Pool { kind, dex, pair, quote, factory, reserve, quote_reserve });
        }
    }
    Ok(())
}

/// Whether an address is a pool of this token, by what it answers.
fn look(
    session: &mut Session,
    token: Address,
    pair: Address,
    dex: Option<&'static str>,
) -> Result<Option<Pool>, StateError> {
    if session.code(pair)?.is_empty() {
        return Ok(None);
    }
    let mut get =
        |call: Bytes| -> Result<Option<Address>, StateError> { Ok(ask(session, pair, call)?.and_then(address_in)) };
    let (Some(token0), Some(token1)) = (get(encode(&abi::token0Call {}))?, get(encode(&abi::token1Call {}))?) else {
        return Ok(None);
    };
    let factory = get(encode(&abi::factoryCall {}))?.unwrap_or_default();
    if token0 != token && token1 != token {
        return Ok(None);
    }
    let first = token0 == token;
    let (reserve, quote_reserve) = reserves(session, pair, first)?;
    let quote = if first { token1 } else { token0 };
    Ok(Some(Pool { kind: Kind::V2, dex, pair, quote, factory, reserve, quote_reserve }))
}

/// What a pool says it has of the token and of the other side; `first` where the token is its token0.
pub(crate) fn reserves(session: &mut Session, pair: Address, first: bool) -> Result<(U256, U256), StateError> {
    let out = super::lab::peek(session, Address::ZERO, pair, encode(&abi::getReservesCall {}))?;
    if !out.is_success() || out.output.len() < 64 {
        return Ok((U256::ZERO, U256::ZERO));
    }
    let (a, b) = (U256::from_be_slice(&out.output[..32]), U256::from_be_slice(&out.output[32..64]));
    Ok(if first { (a, b) } else { (b, a) })
}

/// Opens the first pool, or a new one where there is none to trade in. `None` when a factory refuses to make a pool.
pub(crate) fn open(
    session: &mut Session,
    seed: Seed,
    token: Address,
    params: &Params,
    pools: &[Pool],
) -> Result<Option<Market>, StateError> {
    let made = match pools.first().filter(|pool| pool.kind == Kind::V2) {
        Some(pool) => Some((pool.pair, pool.quote, pool.factory)),
        None => make(session, seed, token, params)?,
    };
    let Some(made) = made else { return Ok(None) };
    let mut others = BTreeSet::new();
    // A pool of an unknown factory may be anything that the token asks for leave.
    for pool in pools.iter().filter(|pool| pool.dex.is_some()) {
        others.extend([pool.quote, pool.factory]);
        // What a token asks a pool of V3, on its way into it, could decide whether it gets there.
        others.extend((pool.kind == Kind::V2).then_some(pool.pair));
        others.extend(params.dexes.iter().filter(|dex| dex.factory == pool.factory).map(|dex| dex.router));
    }
    Ok(Some(enter(session, seed, params, made, others)?))
}

/// A pool of V2, its quote and its factory as a place to trade in, with the exchange's router or ours.
pub(crate) fn enter(
    session: &mut Session,
    seed: Seed,
    params: &Params,
    (pair, quote, factory): (Address, Address, Address),
    others: BTreeSet<Address>,
) -> Result<Market, StateError> {
    let known = params.dexes.iter().find(|dex| dex.factory == factory).map(|dex| dex.router);
    let router = match known {
        Some(router) if !session.code(router)?.is_empty() => router,
        _ => place_router(session, seed, factory)?,
    };
    Ok(Market { pair, quote, router, factory, others })
}

/// Better quotes rank higher.
fn quote_rank(params: &Params, quote: Address) -> usize {
    params.quotes.iter().rev().position(|known| *known == quote).map_or(0, |rank| rank + 1)
}

/// A new pool: of an exchange that is there, or of our own.
fn make(
    session: &mut Session,
    seed: Seed,
    token: Address,
    params: &Params,
) -> Result<Option<(Address, Address, Address)>, StateError> {
    let mut quote = None;
    for candidate in params.quotes.iter().copied().filter(|quote| *quote != token) {
        if !session.code(candidate)?.is_empty() {
            quote = Some(candidate);
            break;
        }
    }
    let quote = match quote {
        Some(quote) => quote,
        None => place(session, seed, "Plain")?,
    };
    let mut factory = None;
    for dex in &params.dexes {
        if !session.code(dex.factory)?.is_empty() {
            factory = Some(dex.factory);
            break;
        }
    }
    let factory = match factory {
        Some(factory) => factory,
        None => place(session, seed, "Factory")?,
    };
    let maker = seed.address("maker");
    let call = encode(&abi::createPairCall { _0: token, _1: quote });
    let outcome = session.run(&surety_evm::Call::new(maker, factory, call))?;
    Ok(outcome.word().and_then(address_in).map(|pair| (pair, quote, factory)))
}

/// Places one of our contracts where nobody knows it.
pub(crate) fn place(session: &mut Session, seed: Seed, name: &str) -> Result<Address, StateError> {
    let address = seed.address(name);
    session.set_code(address, disguised(seed, name))?;
    Ok(address)
}

/// The code of one of our contracts with a tail like the one that compilers leave, so that its hash tells nobody what it is.
pub(crate) fn disguised(seed: Seed, name: &str) -> Bytes {
    [&runtime(name)[..], &[0xfe], seed.hash(name).as_slice()].concat().into()
}

fn place_router(session: &mut Session, seed: Seed, factory: Address) -> Result<Address, StateError> {
    let router = place(session, seed, "Router")?;
    // The router's only variable.
    session.set_storage(router, U256::ZERO, word_of(factory))?;
    Ok(router)
}

/// A plain token beside the one that is tried, with a pool of the same shape: its address and the pool's.
pub(crate) fn control(lab: &mut super::lab::Lab) -> Result<Option<(Address, Address)>, super::Stop> {
    let (quote, factory, router) = (lab.market.quote, lab.market.factory, lab.market.router);
    let (plain, maker) = (lab.seed.address("control"), lab.seed.address("maker"));
    lab.session.set_code(plain, runtime("Plain"))?;
    let call = encode(&abi::createPairCall { _0: plain, _1: quote });
    let made = lab.session.run(&surety_evm::Call::new(maker, factory, call))?;
    let Some(pair) = made.word().and_then(address_in) else { return Ok(None) };
    let (reserve, quote_reserve) = (lab.reserve, lab.quote_reserve);
    let session = &mut lab.session;
    if !super::ledger::forge(session, plain, pair, reserve)?
        || !super::ledger::forge(session, quote, pair, quote_reserve)?
    {
        return Ok(None);
    }
    session.run(&surety_evm::Call::new(maker, pair, encode(&abi::syncCall {})))?;
    let buyer = lab.wallets.buyer;
    let unlimited = encode(&abi::approveCall { _0: router, _1: U256::MAX });
    session.run(&surety_evm::Call::new(buyer, plain, unlimited))?;
    Ok(Some((plain, pair)))
}
