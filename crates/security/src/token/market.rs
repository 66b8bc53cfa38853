//! The market in which a token is tried: the chain's own pool and router where there are some, ours where there are none.
//!
//! Ours has the interface of Uniswap V2 and is written for this project (`contracts/fixtures/src/Market.sol`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_primitives::{Address, Bytes, U256, address, keccak256};
use serde::Deserialize;
use surety_evm::{Session, StateError};

use super::abi::{self, address_in, encode, word_of};
use super::lab::ask;
use super::{Dex, Params};

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

/// What tokens are traded against: WETH, USDC, USDT, DAI, WBNB.
pub(super) const QUOTES: [Address; 5] = [
    address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
    address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
    address!("dAC17F958D2ee523a2206206994597C13D831ec7"),
    address!("6B175474E89094C44Da98b954EedeAC495271d0F"),
    address!("bb4CdB9CbD36B01bD1cBaEBF2De08d9173bc095c"),
];

/// A pool that the chain has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
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

/// Where the token is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) pair: Address,
    pub(crate) quote: Address,
    pub(crate) router: Address,
    pub(crate) factory: Address,
}

impl Market {
    /// Whether this address belongs to trading as such, so that a token that calls it calls nobody else.
    pub(crate) fn has(&self, address: Address) -> bool {
        [self.pair, self.quote, self.router, self.factory].contains(&address)
    }
}

/// An address that nobody knows before the block is made: a token cannot have written it down to behave well for it.
pub(crate) fn fresh(session: &Session, token: Address, what: &str) -> Address {
    let head = session.head();
    let seed = [what.as_bytes(), head.hash.as_slice(), &head.chain_id.to_be_bytes(), token.as_slice()].concat();
    Address::from_word(keccak256(seed))
}

/// Every pool of this token: those of the exchanges, and those among `named`, addresses that the token's own storage has.
/// In order of exchange and quote.
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
    Ok(found)
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
    Ok(Some(Pool { dex, pair, quote, factory, reserve, quote_reserve }))
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

/// Chooses the pool to trade in, the deepest first, or makes one. `None` when a factory refuses to make a pool.
pub(crate) fn open(
    session: &mut Session,
    token: Address,
    params: &Params,
    pools: &[Pool],
) -> Result<Option<Market>, StateError> {
    // A pool of an unknown factory counts only where no exchange has one: its code could be anything.
    let best = pools
        .iter()
        .rev()
        .max_by_key(|pool| (!pool.reserve.is_zero(), pool.dex.is_some(), quote_rank(params, pool.quote)));
    let made = match best {
        Some(pool) => Some((pool.pair, pool.quote, pool.factory)),
        None => make(session, token, params)?,
    };
    let Some((pair, quote, factory)) = made else { return Ok(None) };
    let known = params.dexes.iter().find(|dex| dex.factory == factory).map(|dex| dex.router);
    let router = match known {
        Some(router) if !session.code(router)?.is_empty() => router,
        _ => place_router(session, token, factory)?,
    };
    Ok(Some(Market { pair, quote, router, factory }))
}

/// Better quotes rank higher.
fn quote_rank(params: &Params, quote: Address) -> usize {
    params.quotes.iter().rev().position(|known| *known == quote).map_or(0, |rank| rank + 1)
}

/// A new pool: of an exchange that is there, or of our own.
fn make(
    session: &mut Session,
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
        None => place(session, token, "Plain")?,
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
        None => place(session, token, "Factory")?,
    };
    let maker = fresh(session, token, "maker");
    let call = encode(&abi::createPairCall { _0: token, _1: quote });
    let outcome = session.run(&surety_evm::Call::new(maker, factory, call))?;
    Ok(outcome.word().and_then(address_in).map(|pair| (pair, quote, factory)))
}

/// Places one of our contracts at a fresh address.
pub(crate) fn place(session: &mut Session, token: Address, name: &str) -> Result<Address, StateError> {
    let address = fresh(session, token, name);
    session.set_code(address, runtime(name))?;
    Ok(address)
}

fn place_router(session: &mut Session, token: Address, factory: Address) -> Result<Address, StateError> {
    let router = place(session, token, "Router")?;
    // The router's only variable.
    session.set_storage(router, U256::ZERO, word_of(factory))?;
    Ok(router)
}

/// A plain token beside the one that is tried, with a pool of the same shape: its address and the pool's.
pub(crate) fn control(lab: &mut super::lab::Lab) -> Result<Option<(Address, Address)>, super::Stop> {
    let (quote, factory, router) = (lab.market.quote, lab.market.factory, lab.market.router);
    let plain = fresh(&lab.session, lab.token, "control");
    let maker = fresh(&lab.session, lab.token, "maker");
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
