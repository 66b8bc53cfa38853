//! What a call or a message asks for, said the same way for all the standards that ask it.

use alloy_primitives::{Address, B256, U256};
use serde::Serialize;

use super::args::Args;
use super::call::{Call, Kind};
use super::role::Role;

/// A thing of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Item {
    /// The token's contract; nothing for the native coin.
    pub token: Option<Address>,
    /// Which one of an NFT collection; also the amount where a signature does not tell the two apart.
    pub id: Option<U256>,
    /// How much, in base units; 1 for a single NFT.
    pub amount: U256,
}

impl Item {
    /// An amount of the native coin, in wei.
    pub const fn native(amount: U256) -> Self {
        Self { token: None, id: None, amount }
    }

    /// An amount of a token, in base units.
    pub const fn token(token: Address, amount: U256) -> Self {
        Self { token: Some(token), id: None, amount }
    }

    /// One NFT.
    pub const fn nft(token: Address, id: U256) -> Self {
        Self { token: Some(token), id: Some(id), amount: U256::ONE }
    }
}

/// How far a grant reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Up to this many base units, or this one NFT: `approve` does not tell which.
    Amount(U256),
    /// One NFT.
    Nft(U256),
    /// Everything of the owner in that contract.
    Everything,
}

/// From here on an amount is unlimited in fact: 2^96 - 1, the largest of the tokens that count in 96 bits.
pub const UNLIMITED: U256 = U256::from_limbs([u64::MAX, 0xffff_ffff, 0, 0]);

impl Extent {
    /// Whether nothing is given: a revocation.
    pub fn is_nothing(self) -> bool {
        self == Self::Amount(U256::ZERO)
    }

    /// Whether no balance will exhaust it.
    pub fn is_unlimited(self) -> bool {
        match self {
            Self::Everything => true,
            Self::Amount(amount) => amount >= UNLIMITED,
            Self::Nft(_) => false,
        }
    }
}

/// By which standard something is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// `approve`.
    Approve,
    /// `increaseAllowance`.
    Increase,
    /// `setApprovalForAll` and other managers.
    ApproveAll,
    /// A signed ERC-2612 permit.
    Permit,
    /// A signed DAI permit.
    DaiPermit,
    /// A signed NFT permit.
    NftPermit,
    /// Permit2's own allowance.
    Permit2,
    /// A signed Permit2 transfer, used once.
    Permit2Transfer,
    /// A signed EIP-3009 transfer.
    Authorization,
}

/// Somebody may take something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Whose it is, where that is said.
    pub owner: Option<Address>,
    /// The token's contract, where that is said.
    pub token: Option<Address>,
    /// Who may take it.
    pub spender: Address,
    /// How much.
    pub extent: Extent,
    /// By which standard.
    pub means: Means,
    /// Until when, in seconds since 1970; nothing when for ever.
    pub until: Option<U256>,
}

/// Something changes hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Movement {
    /// What.
    pub item: Item,
    /// From whom, where that is said.
    pub from: Option<Address>,
    /// To whom.
    pub to: Address,
}

/// An offer that others can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// By which protocol.
    pub protocol: &'static str,
    /// Who offers.
    pub maker: Option<Address>,
    /// What the maker gives.
    pub gives: Vec<Item>,
    /// What the maker gets.
    pub gets: Vec<Item>,
    /// What goes to others, and to whom.
    pub others: Vec<(Address, Item)>,
    /// Who gets what the maker is paid, where that is not the maker.
    pub receiver: Option<Address>,
}

/// Code that will run as an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delegation {
    /// Whose account, where that is said.
    pub account: Option<Address>,
    /// Where the code is.
    pub code: Address,
    /// Whether it stays (EIP-7702), or runs within this call alone.
    pub stays: bool,
    /// The chain that it is signed for; 0 for every chain. Nothing for a delegatecall.
    pub chain_id: Option<U256>,
}

/// What about a contract changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// The owner.
    Owner,
    /// A role.
    Role,
    /// The code behind a proxy.
    Code,
    /// The admin of a proxy.
    Admin,
    /// A signer of a Safe.
    Signer,
    /// A module, guard or fallback handler of a Safe.
    Module,
    /// A hash that may be executed later.
    Hash(B256),
}

/// Power over a contract is handed to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handover {
    /// Over which contract.
    pub contract: Option<Address>,
    /// Which power.
    pub power: Power,
    /// To whom; the zero address gives it up, nothing where nobody is named.
    pub to: Option<Address>,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An approval or permit.
    Grant(Grant),
    /// A transfer.
    Move(Movement),
    /// An order.
    Offer(Offer),
    /// Foreign code as an account.
    Delegate(Delegation),
    /// Ownership, roles, upgrades.
    Handover(Handover),
    /// A call named as draining contracts name theirs, with the coins sent along.
    Claim {
        /// The contract.
        contract: Address,
        /// The method's name.
        method: String,
        /// Native coin sent along, in wei.
        value: U256,
    },
    /// A deployment, with the length of its init code in bytes.
    Deploy {
        /// Bytes of init code.
        init_code: usize,
    },
}

/// Everything that a call and the calls inside it ask for, outermost first.
pub fn of_call(call: &Call) -> Vec<Action> {
    let mut actions = Vec::new();
    for one in call.walk() {
        of_one(one, &mut actions);
    }
    actions
}

fn of_one(call: &Call, actions: &mut Vec<Action>) {
    let raw = &call.raw;
    let Some(to) = raw.to else {
        actions.push(Action::Deploy { init_code: raw.data.len() });
        return;
    };
    if !raw.value.is_zero() {
        actions.push(Action::Move(Movement { item: Item::native(raw.value), from: raw.from, to }));
    }
    if raw.kind == Kind::Delegate {
        actions.push(Action::Delegate(Delegation { account: raw.from, code: to, stays: false, chain_id: None }));
    }
    for reading in &call.readings {
        let args = Args(&reading.values);
        actions.extend(granted(call, reading.role, args));
        actions.extend(moves(call, reading.role, args));
        actions.extend(handed_over(to, reading.role, args));
        actions.extend(super::order::in_call(call, reading.role, args));
        if reading.role == Role::Claim {
            let method = reading.method.name.clone();
            actions.push(Action::Claim { contract: to, method, value: raw.value });
        }
    }
}

fn granted(call: &Call, role: Role, args: Args<'_>) -> Vec<Action> {
    let token = call.executing();
    let from = call.raw.from;
    let grant = |owner, token, spender: Option<Address>, extent: Option<Extent>, means, until| {
        Some(Grant { owner, token, spender: spender?, extent: extent?, means, until })
    };
    let amount = |at| args.uint(at).map(Extent::Amount);
    let all = |at| args.flag(at).map(everything);
    let one = match role {
        Role::Approve | Role::ApproveAndCall => grant(from, token, args.address(0), amount(1), Means::Approve, None),
        Role::MultiApprove => grant(from, token, args.address(0), amount(2), Means::Approve, None),
        Role::IncreaseAllowance => grant(from, token, args.address(0), amount(1), Means::Increase, None),
        Role::ApproveAll => grant(from, token, args.address(0), all(1), Means::ApproveAll, None),
        Role::AuthorizeOperator => {
            grant(from, token, args.address(0), Some(Extent::Everything), Means::ApproveAll, None)
        }
        Role::Permit => grant(args.address(0), token, args.address(1), amount(2), Means::Permit, args.uint(3)),
        Role::DaiPermit => {
            // An expiry of zero means for ever.
            let until = args.uint(3).filter(|until| !until.is_zero());
            grant(args.address(0), token, args.address(1), all(4), Means::DaiPermit, until)
        }
        Role::NftPermit => {
            grant(None, token, args.address(0), args.uint(1).map(Extent::Nft), Means::NftPermit, args.uint(2))
        }
        Role::Permit2Approve => grant(from, args.address(0), args.address(1), amount(2), Means::Permit2, args.uint(3)),
        _ => return permit2(call, role, args).into_iter().map(Action::Grant).collect(),
    };
    one.into_iter().map(Action::Grant).collect()
}

const fn everything(given: bool) -> Extent {
    if given { Extent::Everything } else { Extent::Amount(U256::ZERO) }
}

/// The grants of Permit2's signed permits, in a call.
fn permit2(call: &Call, role: Role, args: Args<'_>) -> Vec<Grant> {
    let (owner, permit) = match role {
        Role::Permit2Permit | Role::Permit2PermitBatch => (args.address(0), args.tuple(1)),
        Role::RouterPermit | Role::RouterPermitBatch => (call.raw.from, args.tuple(0)),
        _ => return Vec::new(),
    };
    let Some(permit) = permit else { return Vec::new() };
    let single = permit.tuple(0).into_iter();
    single
        .chain(permit.tuples(0))
        .filter_map(|details| {
            let (token, spender) = (details.address(0), permit.address(1)?);
            let extent = Extent::Amount(details.uint(1)?);
            Some(Grant { owner, token, spender, extent, means: Means::Permit2, until: details.uint(2) })
        })
        .collect()
}

fn moved(item: Item, from: Option<Address>, to: Option<Address>) -> Option<Action> {
    Some(Action::Move(Movement { item, from, to: to? }))
}

fn moves(call: &Call, role: Role, args: Args<'_>) -> Vec<Action> {
    let Some(token) = call.executing() else { return Vec::new() };
    let from = call.raw.from;
    let fungible = |at: usize| args.uint(at).map(|amount| Item::token(token, amount));
    let one = match role {
        Role::Transfer => fungible(1).and_then(|item| moved(item, from, args.address(0))),
        // The same signature moves an amount of an ERC-20 or one ERC-721; the id is kept beside the amount.
        Role::TransferFrom => fungible(2)
            .map(|item| Item { id: Some(item.amount), ..item })
            .and_then(|item| moved(item, args.address(0), args.address(1))),
        Role::AuthorizedTransfer => fungible(2).and_then(|item| moved(item, args.address(0), args.address(1))),
        Role::NftTransfer => args.uint(2).and_then(|id| moved(Item::nft(token, id), args.address(0), args.address(1))),
        Role::MultiTransfer => args.uint(3).and_then(|amount| {
            moved(Item { token: Some(token), id: args.uint(2), amount }, args.address(0), args.address(1))
        }),
        Role::OwnMultiTransfer => args
            .uint(2)
            .and_then(|amount| moved(Item { token: Some(token), id: args.uint(1), amount }, from, args.address(0))),
        Role::MultiTransferBatch => return many(token, args),
        Role::Permit2Move => permit2_move(args, 0),
        Role::Permit2Moves => return args.tuples(0).filter_map(|one| permit2_move(one, 0)).collect(),
        Role::RouterPull => {
            let item = args.address(0).zip(args.uint(2)).map(|(token, amount)| Item::token(token, amount));
            item.and_then(|item| moved(item, from, args.address(1)))
        }
        Role::Permit2TransferFrom | Role::Permit2TransferFromBatch => return permit2_transfers(args),
        _ => None,
    };
    one.into_iter().collect()
}

/// `(from, to, amount, token)`.
fn permit2_move(args: Args<'_>, at: usize) -> Option<Action> {
    moved(Item::token(args.address(at + 3)?, args.uint(at + 2)?), args.address(at), args.address(at + 1))
}

/// `(permit, details, owner, …)`, single or in a batch.
fn permit2_transfers(args: Args<'_>) -> Vec<Action> {
    let Some(permit) = args.tuple(0) else { return Vec::new() };
    let permitted = permit.tuple(0).into_iter().chain(permit.tuples(0));
    let details = args.tuple(1).into_iter().chain(args.tuples(1));
    permitted
        .zip(details)
        .filter_map(|(permitted, details)| {
            moved(Item::token(permitted.address(0)?, details.uint(1)?), args.address(2), details.address(0))
        })
        .collect()
}

fn many(token: Address, args: Args<'_>) -> Vec<Action> {
    let numbers = |at: usize| args.list(at).iter().filter_map(|value| value.as_uint().map(|(number, _)| number));
    numbers(2)
        .zip(numbers(3))
        .filter_map(|(id, amount)| {
            moved(Item { token: Some(token), id: Some(id), amount }, args.address(0), args.address(1))
        })
        .collect()
}

fn handed_over(contract: Address, role: Role, args: Args<'_>) -> Vec<Action> {
    let over = |contract, power, to| Action::Handover(Handover { contract, power, to });
    let here = Some(contract);
    match role {
        Role::TransferOwnership => vec![over(here, Power::Owner, args.address(0))],
        Role::RenounceOwnership => vec![over(here, Power::Owner, Some(Address::ZERO))],
        Role::GrantRole => vec![over(here, Power::Role, args.address(1))],
        Role::Upgrade | Role::UpgradeAndCall => vec![over(here, Power::Code, args.address(0))],
        Role::UpgradeProxy => vec![over(args.address(0), Power::Code, args.address(1))],
        Role::ChangeAdmin => vec![over(here, Power::Admin, args.address(0))],
        Role::SafeOwner => vec![over(here, Power::Signer, args.address(0))],
        Role::SafeSwapOwner => vec![over(here, Power::Signer, args.address(2))],
        Role::SafeModule => vec![over(here, Power::Module, args.address(0))],
        Role::InstallModule => vec![over(here, Power::Module, args.address(1))],
        Role::ApproveHash => args.word(0).map(|hash| over(here, Power::Hash(hash), None)).into_iter().collect(),
        _ => Vec::new(),
    }
}
