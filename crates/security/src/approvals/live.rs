//! Which approvals still stand, and how they are shown.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use serde::Serialize;
use surety_evm::{Session, StateError};

use super::Standard;
use crate::envelope::{Reason, Unknown};
use crate::history::PastApproval;
use crate::parties::{AddressInfo, Parties};
use crate::views::{
    Permit2, allowanceCall, balanceOfCall, getApprovedCall, is_unlimited, isApprovedForAllCall, lower, named,
    ownerOfCall, supportsInterfaceCall, view,
};

/// An approval that stands at the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// When it was given.
    pub given: PastApproval,
    /// How much may be spent, in base units; nothing for NFTs.
    pub amount: Option<U256>,
    /// Until when, in seconds since 1970, where Permit2 keeps it.
    pub expiration: Option<u64>,
}

/// Reads again which approvals stand.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub fn live(
    session: &mut Session,
    past: &[PastApproval],
    owner: Address,
    standard: Standard,
) -> Result<Vec<Live>, StateError> {
    let mut standing = Vec::new();
    for given in past {
        if let Some(live) = stands(session, given, owner, standard)? {
            standing.push(live);
        }
    }
    Ok(standing)
}

fn stands(
    session: &mut Session,
    given: &PastApproval,
    owner: Address,
    standard: Standard,
) -> Result<Option<Live>, StateError> {
    let (token, spender) = (Address::from(given.token), Address::from(given.spender));
    let live = |amount, expiration| Some(Live { given: given.clone(), amount, expiration });
    if given.for_all || given.token_id.is_some() {
        let stands = is_of(session, token, standard)? && nft_stands(session, given, owner)?;
        return Ok(if stands { live(None, None) } else { None });
    }
    if standard != Standard::Erc20 {
        return Ok(None);
    }
    let Some(via) = given.via else {
        let allowed = view(session, token, &allowanceCall { owner, spender })?.unwrap_or_default();
        return Ok(if allowed.is_zero() { None } else { live(Some(allowed), None) });
    };
    let kept = view(session, Address::from(via), &Permit2::allowanceCall { owner, token, spender })?;
    let Some(kept) = kept else { return Ok(None) };
    let (amount, expiration) = (U256::from(kept.amount), kept.expiration.to::<u64>());
    let ended = expiration < session.head().timestamp;
    Ok(if amount.is_zero() || ended { None } else { live(Some(amount), Some(expiration)) })
}

fn nft_stands(session: &mut Session, given: &PastApproval, owner: Address) -> Result<bool, StateError> {
    let (token, spender) = (Address::from(given.token), Address::from(given.spender));
    let Some(id) = given.token_id.map(U256::from_be_bytes) else {
        return Ok(view(session, token, &isApprovedForAllCall { owner, operator: spender })?.unwrap_or_default());
    };
    let approved = view(session, token, &getApprovedCall { id })?;
    Ok(approved == Some(spender) && view(session, token, &ownerOfCall { id })? == Some(owner))
}

/// Whether the collection says that it follows the standard (ERC-165).
fn is_of(session: &mut Session, token: Address, standard: Standard) -> Result<bool, StateError> {
    let id = match standard {
        Standard::Erc20 => return Ok(false),
        Standard::Erc721 => [0x80, 0xac, 0x58, 0xcd],
        Standard::Erc1155 => [0xd9, 0xb6, 0x7a, 0x26],
    };
    Ok(view(session, token, &supportsInterfaceCall { id: id.into() })?.unwrap_or_default())
}

/// One token with its approvals, as GoPlus writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    #[serde(skip_serializing_if = "Option::is_none")]
    token_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nft_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nft_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nft_symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decimals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<String>,
    chain_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    malicious_address: Option<u8>,
    malicious_behavior: Vec<&'static str>,
    approved_list: Vec<Approved>,
}

#[derive(Debug, Serialize)]
struct Approved {
    approved_contract: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlimited: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_for_all: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_time: Option<u64>,
    hash: String,
    address_info: AddressInfo,
}

/// Writes the approvals token by token.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(crate) fn describe(
    session: &mut Session,
    live: &[Live],
    owner: Address,
    standard: Standard,
    parties: &mut Parties<'_>,
) -> Result<(Vec<Token>, Vec<Unknown>), StateError> {
    let mut by_token: BTreeMap<Address, Vec<&Live>> = BTreeMap::new();
    for approval in live {
        by_token.entry(Address::from(approval.given.token)).or_default().push(approval);
    }
    let mut tokens = Vec::new();
    let mut unknown = vec![
        Unknown::new("is_open_source", Reason::NoSource),
        Unknown::new("initial_approval_time", Reason::NoHistory),
        Unknown::new("initial_approval_hash", Reason::NoHistory),
    ];
    for (token, approvals) in by_token {
        let mut approved_list = Vec::new();
        for approval in approvals {
            approved_list.push(approved(session, approval, standard, parties)?);
        }
        let described = head(session, token, owner, standard, parties, approved_list)?;
        if described.balance.is_none() {
            unknown.push(Unknown::of(&lower(token), "balance", Reason::UnsupportedContract));
        }
        tokens.push(described);
    }
    Ok((tokens, unknown))
}

fn head(
    session: &mut Session,
    token: Address,
    owner: Address,
    standard: Standard,
    parties: &mut Parties<'_>,
    approved_list: Vec<Approved>,
) -> Result<Token, StateError> {
    let named = named(session, token)?;
    let is_nft = standard != Standard::Erc20;
    // ERC-1155 keeps a balance for each id and none for the collection.
    let balance = match standard {
        Standard::Erc1155 => None,
        _ => view(session, token, &balanceOfCall { owner })?.map(|balance| balance.to_string()),
    };
    let standing = parties.ask(token);
    let shown = |text: Option<String>, of_nft: bool| text.filter(|_| of_nft == is_nft);
    Ok(Token {
        token_address: shown(Some(lower(token)), false),
        token_name: shown(named.name.clone(), false),
        token_symbol: shown(named.symbol.clone(), false),
        nft_address: shown(Some(lower(token)), true),
        nft_name: shown(named.name, true),
        nft_symbol: shown(named.symbol, true),
        decimals: named.decimals.filter(|_| !is_nft),
        balance,
        chain_id: session.head().chain_id.to_string(),
        malicious_address: standing.malicious(),
        malicious_behavior: standing.flags.clone(),
        approved_list,
    })
}

fn approved(
    session: &Session,
    live: &Live,
    standard: Standard,
    parties: &mut Parties<'_>,
) -> Result<Approved, StateError> {
    let given = &live.given;
    let spender = Address::from(given.spender);
    let has_code = session.account(spender)?.is_some_and(|account| account.has_code());
    Ok(Approved {
        approved_contract: lower(spender),
        approved_amount: live.amount.map(|amount| amount.to_string()),
        unlimited: live.amount.map(|amount| u8::from(is_unlimited(amount))),
        approved_token_id: given.token_id.map(|id| U256::from_be_bytes(id).to_string()),
        approved_for_all: (standard != Standard::Erc20).then_some(u8::from(given.for_all)),
        via: given.via.map(lower),
        expiration: live.expiration,
        approved_time: given.last.time,
        hash: lower(given.last.transaction),
        address_info: AddressInfo::new(parties.ask(spender), has_code),
    })
}
