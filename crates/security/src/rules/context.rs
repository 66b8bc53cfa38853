//! The facts that the rules judge by. Whoever has them fills them in; what is left out is unknown, never clean.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, I256, U256};

use crate::decode::action::{Extent, Power};

/// Everything that is known around a transaction or message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The chain that is guarded.
    pub chain_id: Option<u64>,
    /// Who signs.
    pub signer: Option<Address>,
    /// The reference block's time, in seconds since 1970.
    pub now: Option<u64>,
    /// The host of the site that asks for the signature.
    pub site: Option<String>,
    /// What is known of addresses.
    pub addresses: BTreeMap<Address, AddressFacts>,
    /// Whom the signer dealt with before.
    pub counterparties: Option<BTreeSet<Address>>,
    /// What the simulation saw.
    pub outcome: Option<Outcome>,
    /// The transaction around the call.
    pub transaction: Option<Transaction>,
    /// The contracts that come to be; nothing for one that was not scanned.
    pub deployments: Vec<Option<Deployment>>,
    /// From where on something is remarkable.
    pub thresholds: Thresholds,
}

impl Context {
    /// What is known of an address, where anything is.
    pub fn facts(&self, address: Address) -> Option<&AddressFacts> {
        self.addresses.get(&address)
    }
}

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressFacts {
    /// Whether there is code. The designator of an EIP-7702 delegation is none: such an account is a wallet.
    pub has_code: Option<bool>,
    /// Blocks since its first transaction or creation.
    pub age_blocks: Option<u64>,
    /// Whether it was never used: no coins, no transactions, no code.
    pub is_unused: Option<bool>,
    /// Whether the run makes it, as a pool of a well-known exchange whose shares are then the sender's.
    pub is_own_pool: bool,
    /// What the lists say; empty when they were asked and say nothing.
    pub labels: Option<Vec<Label>>,
    /// The listed address that this one looks like.
    pub look_alike_of: Option<Address>,
    /// What it is as a token.
    pub token: Option<Token>,
    /// What the contract is called.
    pub contract_name: Option<String>,
    /// What the contract is for.
    pub description: Option<String>,
}

impl AddressFacts {
    /// Whether a list calls it malicious; nothing when no list was asked.
    pub fn is_malicious(&self) -> Option<bool> {
        self.labels.as_ref().map(|labels| labels.iter().any(|label| label.standing == Standing::Malicious))
    }

    /// Whether a list trusts it.
    pub fn is_trusted(&self) -> bool {
        self.labels.iter().flatten().any(|label| label.standing == Standing::Trusted)
    }
}

/// A list's entry about an address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Label {
    /// The list.
    pub list: String,
    /// What it says, as `phishing_activities`.
    pub name: String,
    /// What that means.
    pub standing: Standing,
}

/// What a label means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Known and in good standing.
    Trusted,
    /// Doubted.
    Doubtful,
    /// Malicious or sanctioned.
    Malicious,
}

/// A token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Its name, as the contract gives it.
    pub name: String,
    /// Its symbol.
    pub symbol: String,
    /// `erc20`, `erc721` or `erc1155`.
    pub standard: String,
    /// Digits after the point.
    pub decimals: Option<u8>,
    /// All there is, in base units.
    pub total_supply: Option<U256>,
    /// The listed token whose name or symbol has the same skeleton.
    pub imitates: Option<Address>,
}

/// What a simulation saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was undone: nothing changed then.
    pub is_reverted: bool,
    /// What each owner has more or less afterwards.
    pub deltas: Vec<Delta>,
    /// Allowances that are higher afterwards.
    pub grants: Vec<SeenGrant>,
    /// Tokens whose logs and balances disagree.
    pub disagreeing: Vec<Address>,
    /// Contracts whose owner, admin or code changed.
    pub handovers: Vec<(Address, Power)>,
    /// Code that ran as the signer's account: the account and the code.
    pub delegated: Vec<(Address, Address)>,
    /// What differed when the environment did: the name of each difference.
    pub environments: Vec<&'static str>,
    /// Whether another environment could not be tried though the code asks for its environment.
    pub is_elsewhere_unknown: bool,
}

/// A change of a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delta {
    /// Whose.
    pub owner: Address,
    /// The token; nothing for the native coin (fees left out).
    pub token: Option<Address>,
    /// Which NFT.
    pub id: Option<U256>,
    /// By how many base units.
    pub change: I256,
}

/// An allowance that rose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenGrant {
    /// The token.
    pub token: Address,
    /// Whose tokens.
    pub owner: Address,
    /// Who may take them.
    pub spender: Address,
    /// How much afterwards.
    pub left: Extent,
}

/// The transaction around a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Its chain; nothing for one before EIP-155, which any chain takes.
    pub chain_id: Option<u64>,
    /// Its nonce.
    pub nonce: u64,
    /// The nonce that the sender's account has.
    pub account_nonce: Option<u64>,
    /// Whether a held transaction of the sender has the same nonce.
    pub replaces_held: bool,
    /// Gas limit.
    pub gas_limit: u64,
    /// The most it pays for a unit of gas, in wei.
    pub max_fee: u128,
    /// Of that, what goes to the block's producer, in wei.
    pub max_priority_fee: u128,
    /// The base fee of the reference block, in wei.
    pub base_fee: Option<u128>,
}

/// A contract that is about to be deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Where it would be.
    pub address: Option<Address>,
    /// The lists that know this code as malicious; nothing when no list of codes was asked.
    pub listed_in: Option<Vec<String>>,
    /// Whether its runtime code can destroy itself.
    pub self_destructs: bool,
    /// Whether its code can be replaced by other code at the same address.
    pub changes_code: bool,
    /// Powers over others' tokens that the scan found, in words.
    pub privileges: Vec<String>,
}

/// From where on something is remarkable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A contract is young below this age, in blocks.
    pub young_blocks: u64,
    /// A transaction is dear above this much gas money, in wei.
    pub fee: U256,
    /// Native amounts up to this are dust, in wei; for tokens, amounts of the same worth in decimals.
    pub dust: U256,
    /// Init code is too long above this many bytes (EIP-3860).
    pub init_code: usize,
    /// That many transfers out of one victim, or tokens swept in one call, are many.
    pub many: usize,
    /// How far from 70:30 or 80:20 a split may be, in basis points of the sum.
    pub split_bps: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            young_blocks: 7_200,
            fee: U256::from(500_000_000_000_000_000_u64),
            dust: U256::from(10_000_000_000_000_u64),
            init_code: 49_152,
            many: 3,
            split_bps: 50,
        }
    }
}
