//! Who made a pool: whether it is what a well-known exchange's factory makes, and nothing that looks like it.
//!
//! The address of a contract made by CREATE2 commits to its maker and to its whole init code. A pool at the address that
//! follows from a known factory, the hash of its pools' init code and the pool's own two tokens runs that code, whatever it
//! and whoever stands at the factory say; that the factory lists it besides says that it is the pool of these two.

use alloy_primitives::aliases::U24;
use alloy_primitives::{Address, B256, U256, address, b256, keccak256};
use alloy_sol_types::SolValue;
use surety_evm::{Session, StateError};

use super::abi::{self, address_in, encode};
use super::lab::ask;

/// How an exchange derives the salt of a pool, and how its factory lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `keccak256(token0, token1)`, packed; `getPair`.
    V2,
    /// `keccak256(token0, token1, fee)`, as words; `getPool`.
    V3,
}

/// Who makes an exchange's pools, and out of what.
struct Maker {
    kind: Kind,
    factory: Address,
    /// The account that runs CREATE2, which is not always the factory.
    deployer: Address,
    /// Hash of a pool's init code.
    init_code: B256,
    /// The collection whose items are shares of its pools; nothing where each pool is the token of its own shares.
    positions: Option<Address>,
}

const UNISWAP_V2: Address = address!("5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f");
const SUSHISWAP: Address = address!("C0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac");
const PANCAKE_V2: Address = address!("cA143Ce32Fe78f1f7019d7d551a6402fC5350c73");
const UNISWAP_V3: Address = address!("1F98431c8aD98523631AE4a59f267346ea31F984");
const PANCAKE_V3: Address = address!("0BFbCF9fa4f9C56B0F40a671Ad40E0805A091865");

/// The constants that each exchange's own router computes its pools' addresses with.
const MAKERS: [Maker; 5] = [
    Maker {
        kind: Kind::V2,
        factory: UNISWAP_V2,
        deployer: UNISWAP_V2,
        init_code: b256!("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"),
        positions: None,
    },
    Maker {
        kind: Kind::V2,
        factory: SUSHISWAP,
        deployer: SUSHISWAP,
        init_code: b256!("e18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303"),
        positions: None,
    },
    Maker {
        kind: Kind::V2,
        factory: PANCAKE_V2,
        deployer: PANCAKE_V2,
        init_code: b256!("00fb7f630766e6a796048ea87d01acd3068e8ff67d078148a3fa3f4a84f69bd5"),
        positions: None,
    },
    Maker {
        kind: Kind::V3,
        factory: UNISWAP_V3,
        deployer: UNISWAP_V3,
        init_code: b256!("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"),
        positions: Some(address!("C36442b4a4522E871399CD717aBDD847Ab11FE88")),
    },
    Maker {
        kind: Kind::V3,
        factory: PANCAKE_V3,
        deployer: address!("41ff9AA7e16B8B1a8a8dc4f0eFacd93D02d071c9"),
        init_code: b256!("6ce8eb472fa82df5469c6ab6d485f17c3ad13c8cd7af59b3d4a8026c5ce0f7e2"),
        positions: Some(address!("46A15B0b27311cedF172AB29E4f4766fbE7F4364")),
    },
];

/// The token by which people own what is in a pool: the pool itself, or a collection of positions. Nothing for what no
/// well-known exchange made.
pub(crate) fn shares_of(session: &mut Session, pool: Address) -> Result<Option<Address>, StateError> {
    if session.code(pool)?.is_empty() {
        return Ok(None);
    }
    let token0 = ask(session, pool, encode(&abi::token0Call {}))?.and_then(address_in);
    let token1 = ask(session, pool, encode(&abi::token1Call {}))?.and_then(address_in);
    let Some(tokens) = token0.zip(token1) else { return Ok(None) };
    let fee = ask(session, pool, encode(&abi::feeCall {}))?.unwrap_or_default();
    let Some(maker) = MAKERS.iter().find(|maker| maker.place(tokens, fee) == pool) else { return Ok(None) };
    let is_listed = maker.listed(session, tokens, fee)? == Some(pool);
    Ok(is_listed.then_some(maker.positions.unwrap_or(pool)))
}

impl Maker {
    /// Where its pool of two tokens is, or would be.
    fn place(&self, (token0, token1): (Address, Address), fee: U256) -> Address {
        let salt = match self.kind {
            Kind::V2 => keccak256([token0.as_slice(), token1.as_slice()].concat()),
            Kind::V3 => keccak256((token0, token1, fee).abi_encode()),
        };
        self.deployer.create2(salt, self.init_code)
    }

    /// The pool that its factory lists.
    fn listed(
        &self,
        session: &mut Session,
        tokens: (Address, Address),
        fee: U256,
    ) -> Result<Option<Address>, StateError> {
        let (token0, token1) = tokens;
        let call = match self.kind {
            Kind::V2 => encode(&abi::getPairCall { _0: token0, _1: token1 }),
            Kind::V3 => encode(&abi::getPoolCall { _0: token0, _1: token1, _2: U24::saturating_from(fee) }),
        };
        Ok(ask(session, self.factory, call)?.and_then(address_in))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WETH: Address = address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");
    const USDC: Address = address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
    const CAKE: Address = address!("0E09FaBB73Bd3Ade0a17ECC321fD13a19e81cE82");
    const WBNB: Address = address!("bb4CdB9CbD36B01bD1cBaEBF2De08d9173bc095c");

    #[test]
    fn pools_are_where_everybody_knows_them() {
        let at = |maker: usize, tokens, fee: u64| MAKERS[maker].place(tokens, U256::from(fee));
        assert_eq!(at(0, (USDC, WETH), 0), address!("B4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"));
        assert_eq!(at(1, (USDC, WETH), 0), address!("397FF1542f962076d0BFE58eA045FfA2d347ACa0"));
        assert_eq!(at(2, (CAKE, WBNB), 0), address!("0eD7e52944161450477ee417DE9Cd3a859b14fD0"));
        assert_eq!(at(3, (USDC, WETH), 500), address!("88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640"));
        assert_eq!(at(4, (USDC, WETH), 500), address!("1ac1A8FEaAEa1900C4166dEeed0C11cC10669D36"));
    }
}
