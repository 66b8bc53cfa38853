//! What a call moved and granted: native value, tokens, NFTs, allowances, ownership.
//!
//! Balances and allowances are read before and after the call, and compared with what the logs say. A token whose logs and
//! balances disagree is shown with both: neither is taken for the truth.
//!
//! Accounts are found in the logs, among the parties of the call and in the keys of the mappings that were written, so that
//! a balance that moved without any log is seen too.

mod abi;
mod candidates;
mod logs;
mod reads;

use alloy_primitives::{Address, B256, U256, b256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Call, Outcome, Session, StateError};
use candidates::Candidates;
use reads::Reads;

pub use candidates::PERMIT2;

/// A call that was run, and what it changed for its parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulation {
    /// How the call went.
    pub outcome: Outcome,
    /// What it moved and granted.
    pub changes: AssetChanges,
}

/// What a call moved and granted. Every list is in order of its first fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AssetChanges {
    /// Native balances that differ.
    pub native: Vec<NativeChange>,
    /// Token balances that differ, or that logs say differ.
    pub tokens: Vec<TokenChange>,
    /// The supply of every token that moved.
    pub supplies: Vec<SupplyChange>,
    /// Tokens with an id (ERC-721) that moved.
    pub nfts: Vec<NftChange>,
    /// Tokens with id and amount (ERC-1155) that moved.
    pub multi_tokens: Vec<MultiTokenChange>,
    /// Allowances that differ or were set again.
    pub allowances: Vec<AllowanceChange>,
    /// Approvals of NFTs and of operators that differ or were set again.
    pub operators: Vec<OperatorChange>,
    /// Contracts whose owner, proxy admin, implementation or beacon differs.
    pub ownership: Vec<OwnershipChange>,
    /// Whether there were more tokens or accounts than are read: what is missing here is unknown, not unchanged.
    pub incomplete: bool,
}

impl AssetChanges {
    /// The tokens whose logs and balances disagree.
    pub fn disagreements(&self) -> impl Iterator<Item = &TokenChange> {
        self.tokens.iter().filter(|change| change.agrees() == Some(false) && !self.counts_nfts(change))
    }

    /// Whether a token is a collection: all that is known of its moves are NFTs, and balances count them.
    pub fn is_collection(&self, token: Address) -> bool {
        let mut nfts = self.nfts.iter().filter(|nft| nft.token == token).peekable();
        nfts.peek().is_some()
            && nfts.all(|nft| nft.to.is_zero() || nft.owner_after == Some(nft.to))
            && self.tokens.iter().filter(|change| change.token == token).all(|change| self.counts_nfts(change))
    }

    /// Whether the balance of a collection changed by as many of its NFTs as came and went.
    fn counts_nfts(&self, change: &TokenChange) -> bool {
        let Some((before, after)) = change.before.zip(change.after) else { return false };
        let moved = self.nfts.iter().filter(|nft| nft.token == change.token && nft.from != nft.to);
        let (mut came, mut went) = (0_u64, 0_u64);
        for nft in moved {
            came += u64::from(nft.to == change.account);
            went += u64::from(nft.from == change.account);
        }
        let is_silent = change.logged_in.is_zero() && change.logged_out.is_zero();
        is_silent && after.wrapping_sub(before) == U256::from(came).wrapping_sub(U256::from(went))
    }
}

/// A native balance, in wei.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct NativeChange {
    /// Whose.
    pub account: Address,
    /// Before the call.
    pub before: U256,
    /// After it.
    pub after: U256,
}

/// A token balance, in base units.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct TokenChange {
    /// The token.
    pub token: Address,
    /// Whose balance.
    pub account: Address,
    /// `balanceOf` before the call; absent when the token does not answer.
    pub before: Option<U256>,
    /// `balanceOf` after it.
    pub after: Option<U256>,
    /// What the logs say was received.
    pub logged_in: U256,
    /// What the logs say was sent.
    pub logged_out: U256,
}

impl TokenChange {
    /// Whether balances and logs say the same; unknown when the balance cannot be read.
    pub fn agrees(&self) -> Option<bool> {
        let (before, after) = (self.before?, self.after?);
        Some(after.wrapping_sub(before) == self.logged_in.wrapping_sub(self.logged_out))
    }
}

/// A token's supply, in base units.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SupplyChange {
    /// The token.
    pub token: Address,
    /// `totalSupply` before the call; absent when the token does not answer.
    pub before: Option<U256>,
    /// `totalSupply` after it.
    pub after: Option<U256>,
    /// What the logs say came into being.
    pub logged_minted: U256,
    /// What the logs say ceased to be.
    pub logged_burned: U256,
    /// Whether the balances that were read changed together by as much as the supply did; absent when one is not known.
    pub balanced: Option<bool>,
}

/// A token with an id that moved (ERC-721).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct NftChange {
    /// The collection.
    pub token: Address,
    /// Which of it.
    pub id: U256,
    /// The sender of the first log about it, zero for one that was minted.
    pub from: Address,
    /// The recipient of the last log about it, zero for one that was burnt.
    pub to: Address,
    /// `ownerOf` before the call; absent when there was none or the contract does not answer.
    pub owner_before: Option<Address>,
    /// `ownerOf` after it.
    pub owner_after: Option<Address>,
}

/// A balance of one id (ERC-1155).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct MultiTokenChange {
    /// The collection.
    pub token: Address,
    /// Which of it.
    pub id: U256,
    /// Whose balance.
    pub account: Address,
    /// `balanceOf` before the call; absent when the contract does not answer.
    pub before: Option<U256>,
    /// `balanceOf` after it.
    pub after: Option<U256>,
    /// What the logs say was received.
    pub logged_in: U256,
    /// What the logs say was sent.
    pub logged_out: U256,
}

/// What a spender may take of an owner's tokens, in base units.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AllowanceChange {
    /// The token.
    pub token: Address,
    /// Whose tokens.
    pub owner: Address,
    /// Who may take them.
    pub spender: Address,
    /// The contract that keeps the allowance when it is not the token: [`PERMIT2`].
    pub via: Option<Address>,
    /// Before the call; absent when the contract does not answer.
    pub before: Option<U256>,
    /// After it.
    pub after: Option<U256>,
    /// Seconds since 1970 until which it holds, where it ends at all.
    pub expiration: Option<u64>,
    /// What the last log says was granted, if there is one.
    pub logged: Option<U256>,
}

/// Who may move an owner's NFTs.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OperatorChange {
    /// The collection.
    pub token: Address,
    /// Whose tokens.
    pub owner: Address,
    /// Who may move them; zero when an approval was taken back.
    pub operator: Address,
    /// Which one; all of the collection when absent.
    pub id: Option<U256>,
    /// Whether the operator was approved before the call; absent when the contract does not answer.
    pub before: Option<bool>,
    /// Whether it is after it.
    pub after: Option<bool>,
}

/// What a contract's owner may be called.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What `owner()` answers.
    Owner,
    /// The admin of an EIP-1967 proxy.
    Admin,
    /// The code behind an EIP-1967 proxy.
    Implementation,
    /// The beacon that names the code behind an EIP-1967 proxy.
    Beacon,
    /// The code an account delegates to (EIP-7702).
    Delegate,
}

/// A contract that came into other hands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OwnershipChange {
    /// The contract.
    pub contract: Address,
    /// Which of its owners.
    pub role: Role,
    /// Before the call; zero for nobody.
    pub before: Address,
    /// After it; zero for nobody.
    pub after: Address,
}

impl Session {
    /// Runs a call, keeps its effects and says what it moved and granted.
    ///
    /// Reads of balances are calls too: they count against the session's limits, and a token that answers none of them in
    /// little gas is read no further.
    ///
    /// # Errors
    /// When state could not be read. A call that fails is an [`Outcome`], not an error.
    pub fn simulate(&mut self, call: &Call) -> Result<Simulation, StateError> {
        let before = self.checkpoint();
        let outcome = self.run(call)?;
        if !outcome.is_success() {
            let changes = AssetChanges { native: native_changes(&outcome), ..AssetChanges::default() };
            return Ok(Simulation { outcome, changes });
        }
        let candidates = Candidates::find(call, &outcome);
        let after = self.checkpoint();
        let reads_after = Reads::take(self, &candidates)?;
        self.restore(&before);
        let reads_before = Reads::take(self, &candidates)?;
        self.restore(&after);
        let mut changes = reads::compare(&candidates, &reads_before, &reads_after);
        changes.native = native_changes(&outcome);
        changes.ownership.extend(proxy_changes(&outcome));
        changes.ownership.extend(self.delegations(&before, &outcome)?);
        changes.ownership.sort_unstable_by_key(|change| (change.contract, change.role));
        // A session that has used itself up could not read all it wanted.
        changes.incomplete = candidates.incomplete || outcome.trace.truncated || self.steps_left() == 0;
        Ok(Simulation { outcome, changes })
    }

    /// Accounts whose delegation (EIP-7702) the call changed.
    fn delegations(
        &mut self,
        before: &crate::Checkpoint,
        outcome: &Outcome,
    ) -> Result<Vec<OwnershipChange>, StateError> {
        let mut changes = Vec::new();
        for (address, known) in &outcome.trace.accounts {
            let now = self.account(*address)?.unwrap_or_default();
            if now.code_hash == known.unwrap_or_default().code_hash || outcome.trace.created.contains(address) {
                continue;
            }
            let after = delegate_of(&self.code(*address)?);
            let here = self.checkpoint();
            self.restore(before);
            let code_before = self.code(*address);
            self.restore(&here);
            let before = delegate_of(&code_before?);
            changes.push(OwnershipChange { contract: *address, role: Role::Delegate, before, after });
        }
        Ok(changes)
    }
}

/// The account a delegation (EIP-7702) points to, zero when the code is none.
fn delegate_of(code: &[u8]) -> Address {
    match code.strip_prefix(&[0xef, 0x01, 0x00]) {
        Some(address) if address.len() == 20 => Address::from_slice(address),
        _ => Address::ZERO,
    }
}

fn native_changes(outcome: &Outcome) -> Vec<NativeChange> {
    let balances = outcome.trace.balances.iter();
    balances
        .map(|(account, (before, after))| NativeChange { account: *account, before: *before, after: *after })
        .collect()
}

/// Slots of EIP-1967: keccak-256 of their names, less one.
const PROXY_SLOTS: [(B256, Role); 3] = [
    (b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"), Role::Implementation),
    (b256!("b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103"), Role::Admin),
    (b256!("a3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"), Role::Beacon),
];

fn proxy_changes(outcome: &Outcome) -> Vec<OwnershipChange> {
    let mut changes = Vec::new();
    for write in &outcome.trace.writes {
        let Some((_, role)) = PROXY_SLOTS.iter().find(|(slot, _)| *slot == B256::from(write.slot)) else {
            continue;
        };
        let [before, after] = [write.before, write.after].map(|value| Address::from_word(B256::from(value)));
        changes.push(OwnershipChange { contract: write.address, role: *role, before, after });
    }
    changes
}
