//! Steps of a scenario on the canonical world: deploy, wrap, provide liquidity, buy, sell.
//!
//! Each step is a [`Call`], to be tried in a session by [`perform`] or signed for a chain by [`sign`].

use alloy_consensus::crypto::secp256k1::sign_message;
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, sol};

use super::{V2_FACTORY, V2_PAIR_CODE, V2_ROUTER, WETH};
use crate::{Call, Outcome, Session, StateError, Status};

sol! {
    interface IToken {
        function balanceOf(address account) returns (uint256);
        function approve(address spender, uint256 amount);
        function transfer(address to, uint256 amount);
        function deposit();
    }
    interface IFactory {
        function createPair(address tokenA, address tokenB) returns (address pair);
    }
    interface IRouter {
        function addLiquidity(address tokenA, address tokenB, uint256 amountA, uint256 amountB, uint256 minA, uint256 minB, address to, uint256 deadline);
        function addLiquidityETH(address token, uint256 amount, uint256 minToken, uint256 minEth, address to, uint256 deadline);
        function swapExactETHForTokensSupportingFeeOnTransferTokens(uint256 min, address[] path, address to, uint256 deadline);
        function swapExactTokensForETHSupportingFeeOnTransferTokens(uint256 amount, uint256 min, address[] path, address to, uint256 deadline);
        function swapExactTokensForTokensSupportingFeeOnTransferTokens(uint256 amount, uint256 min, address[] path, address to, uint256 deadline);
    }
}

/// Why a step did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The call failed.
    #[error("{status:?}: {reason}")]
    Failed {
        /// How it ended.
        status: Status,
        /// The words of a revert, if it had any.
        reason: String,
    },
    /// The call succeeded and returned too little.
    #[error("the answer is too short")]
    ShortAnswer,
}

/// Runs a step and keeps its effects.
///
/// # Errors
/// When it fails; its effects are then none.
pub fn perform(session: &mut Session, step: &Call) -> Result<Outcome, StepError> {
    let outcome = session.run(step)?;
    if outcome.is_success() {
        return Ok(outcome);
    }
    Err(StepError::Failed { reason: outcome.revert_reason().unwrap_or_default(), status: outcome.status })
}

/// Deploys a contract: init code followed by the encoded arguments of its constructor.
///
/// # Errors
/// When the constructor fails.
pub fn deploy(session: &mut Session, from: Address, init_code: &[u8], arguments: &[u8]) -> Result<Address, StepError> {
    let outcome = perform(session, &Call::create(from, [init_code, arguments].concat()))?;
    outcome.created.ok_or(StepError::ShortAnswer)
}

/// What an account holds of a token, by the token's own words.
///
/// # Errors
/// When the token does not answer with a number.
pub fn balance_of(session: &mut Session, token: Address, account: Address) -> Result<U256, StepError> {
    let call = Call::new(account, token, IToken::balanceOfCall { account }.abi_encode());
    session.peek(&call)?.word().ok_or(StepError::ShortAnswer)
}

/// Gives an account native value, in wei, out of nothing.
///
/// # Errors
/// When the account cannot be read.
pub fn endow(session: &mut Session, account: Address, wei: U256) -> Result<(), StepError> {
    let balance = session.balance(account)?;
    Ok(session.set_balance(account, balance.saturating_add(wei))?)
}

/// Wraps ether.
pub fn wrap(from: Address, wei: U256) -> Call {
    Call::new(from, WETH, IToken::depositCall {}.abi_encode()).value(wei)
}

/// Sends tokens.
pub fn transfer(from: Address, token: Address, to: Address, amount: U256) -> Call {
    Call::new(from, token, IToken::transferCall { to, amount }.abi_encode())
}

/// Lets a spender take tokens.
pub fn approve(from: Address, token: Address, spender: Address, amount: U256) -> Call {
    Call::new(from, token, IToken::approveCall { spender, amount }.abi_encode())
}

/// Creates the V2 pair of two tokens.
pub fn create_pair(from: Address, a: Address, b: Address) -> Call {
    Call::new(from, V2_FACTORY, IFactory::createPairCall { tokenA: a, tokenB: b }.abi_encode())
}

/// Where the V2 pair of two tokens is or will be.
pub fn pair_of(a: Address, b: Address) -> Address {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    V2_FACTORY.create2(keccak256([low.as_slice(), high.as_slice()].concat()), V2_PAIR_CODE)
}

/// Adds liquidity of a token and ether, creating the pair when there is none. The router must be allowed the amount.
pub fn add_liquidity(from: Address, token: Address, amount: U256, wei: U256) -> Call {
    let step = IRouter::addLiquidityETHCall {
        token,
        amount,
        minToken: U256::ZERO,
        minEth: U256::ZERO,
        to: from,
        deadline: U256::MAX,
    };
    Call::new(from, V2_ROUTER, step.abi_encode()).value(wei)
}

/// Adds liquidity of two tokens, creating the pair when there is none. The router must be allowed both amounts.
pub fn add_token_liquidity(from: Address, a: (Address, U256), b: (Address, U256)) -> Call {
    let step = IRouter::addLiquidityCall {
        tokenA: a.0,
        tokenB: b.0,
        amountA: a.1,
        amountB: b.1,
        minA: U256::ZERO,
        minB: U256::ZERO,
        to: from,
        deadline: U256::MAX,
    };
    Call::new(from, V2_ROUTER, step.abi_encode())
}

/// Buys a token with ether at whatever price the pool gives.
pub fn buy(from: Address, token: Address, wei: U256) -> Call {
    let step = IRouter::swapExactETHForTokensSupportingFeeOnTransferTokensCall {
        min: U256::ZERO,
        path: vec![WETH, token],
        to: from,
        deadline: U256::MAX,
    };
    Call::new(from, V2_ROUTER, step.abi_encode()).value(wei)
}

/// Sells a token for ether at whatever price the pool gives. The router must be allowed the amount.
pub fn sell(from: Address, token: Address, amount: U256) -> Call {
    let step = IRouter::swapExactTokensForETHSupportingFeeOnTransferTokensCall {
        amount,
        min: U256::ZERO,
        path: vec![token, WETH],
        to: from,
        deadline: U256::MAX,
    };
    Call::new(from, V2_ROUTER, step.abi_encode())
}

/// Swaps tokens along a path at whatever price the pools give. The router must be allowed the amount.
pub fn swap(from: Address, path: Vec<Address>, amount: U256) -> Call {
    let step = IRouter::swapExactTokensForTokensSupportingFeeOnTransferTokensCall {
        amount,
        min: U256::ZERO,
        path,
        to: from,
        deadline: U256::MAX,
    };
    Call::new(from, V2_ROUTER, step.abi_encode())
}

/// What a signed transaction needs beside its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The sender's nonce.
    pub nonce: u64,
    /// The gas limit, for calls that name none.
    pub gas: u64,
    /// The highest price of a unit of gas, in wei.
    pub max_fee: u128,
    /// The tip for a unit of gas, in wei.
    pub tip: u128,
}

/// Signs a step as a transaction of type 2, raw and ready to be sent. The sender is the one whose key this is.
///
/// Nothing when the key is not a secp256k1 secret.
pub fn sign(key: B256, step: &Call, terms: Terms) -> Option<Bytes> {
    let tx = TxEip1559 {
        chain_id: terms.chain_id,
        nonce: terms.nonce,
        gas_limit: step.gas.unwrap_or(terms.gas),
        max_fee_per_gas: terms.max_fee,
        max_priority_fee_per_gas: terms.tip,
        to: step.to.map_or(TxKind::Create, TxKind::Call),
        value: step.value,
        access_list: step.access_list.clone(),
        input: step.data.clone(),
    };
    let signature = sign_message(key, tx.signature_hash()).ok()?;
    Some(TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into())
}
