//! Reading what may have changed, before and after the call, and comparing both.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;

use super::abi;
use super::candidates::{AllowanceKey, Candidates, PERMIT2};
use super::{
    AllowanceChange, AssetChanges, MultiTokenChange, NftChange, OperatorChange, OwnershipChange, Role, SupplyChange,
    TokenChange,
};
use crate::{Call, Session, StateError};

/// Gas of one read. Proxies and rebasing tokens need some ten thousand.
const READ_GAS: u64 = 250_000;

/// What contracts answer at one point. What they do not answer is not in it.
#[derive(Debug, Default)]
pub(super) struct Reads {
    balances: BTreeMap<(Address, Address), U256>,
    supplies: BTreeMap<Address, U256>,
    owners_of: BTreeMap<(Address, U256), Address>,
    multi: BTreeMap<(Address, U256, Address), U256>,
    allowances: BTreeMap<AllowanceKey, (U256, Option<u64>)>,
    operators: BTreeMap<(Address, Address, Address, Option<U256>), bool>,
    owners: BTreeMap<Address, Address>,
}

impl Reads {
    pub(super) fn take(session: &mut Session, candidates: &Candidates) -> Result<Self, StateError> {
        let mut reader = Reader { session, mute: BTreeSet::new() };
        let mut reads = Self::default();
        for (token, account) in candidates.balances.keys().copied() {
            let answer = reader.word(account, token, &abi::balanceOfCall { account })?;
            answer.and_then(|value| reads.balances.insert((token, account), value));
        }
        for token in candidates.balances.keys().map(|(token, _)| *token).collect::<BTreeSet<_>>() {
            let answer = reader.word(Address::ZERO, token, &abi::totalSupplyCall {})?;
            answer.and_then(|value| reads.supplies.insert(token, value));
        }
        for (token, id) in candidates.nfts.keys().copied() {
            let answer = reader.address(token, &abi::ownerOfCall { id })?;
            answer.and_then(|owner| reads.owners_of.insert((token, id), owner));
        }
        for (token, id, account) in candidates.multi.keys().copied() {
            let answer = reader.word(account, token, &abi::multi::balanceOfCall { account, id })?;
            answer.and_then(|value| reads.multi.insert((token, id, account), value));
        }
        for key in candidates.allowances.keys().copied() {
            let answer = reader.allowance(key)?;
            answer.and_then(|value| reads.allowances.insert(key, value));
        }
        for key in candidates.operators.iter().copied() {
            let answer = reader.operator(key)?;
            answer.and_then(|value| reads.operators.insert(key, value));
        }
        for contract in candidates.contracts.iter().copied() {
            let answer = reader.address(contract, &abi::ownerCall {})?;
            answer.and_then(|owner| reads.owners.insert(contract, owner));
        }
        Ok(reads)
    }
}

struct Reader<'a> {
    session: &'a mut Session,
    /// Contracts that burnt the gas of a read, with the function: they are not asked again.
    mute: BTreeSet<(Address, [u8; 4])>,
}

impl Reader<'_> {
    fn word<C: SolCall>(&mut self, from: Address, to: Address, call: &C) -> Result<Option<U256>, StateError> {
        Ok(self.words(from, to, call)?.and_then(|words| words.first().copied()))
    }

    fn words<C: SolCall>(&mut self, from: Address, to: Address, call: &C) -> Result<Option<Vec<U256>>, StateError> {
        if self.mute.contains(&(to, C::SELECTOR)) {
            return Ok(None);
        }
        let answer = self.session.ask(&Call::new(from, to, call.abi_encode()).gas(READ_GAS))?;
        if !answer.is_success() && answer.tx_gas_used() >= READ_GAS / 2 {
            self.mute.insert((to, C::SELECTOR));
        }
        let output = answer.output().filter(|output| answer.is_success() && output.len() >= 32);
        Ok(output.map(|output| output.chunks_exact(32).take(4).map(U256::from_be_slice).collect()))
    }

    fn address<C: SolCall>(&mut self, to: Address, call: &C) -> Result<Option<Address>, StateError> {
        let word = self.word(Address::ZERO, to, call)?;
        Ok(word.filter(|word| word.bit_len() <= 160).map(|word| Address::from_word(B256::from(word))))
    }

    fn allowance(&mut self, key: AllowanceKey) -> Result<Option<(U256, Option<u64>)>, StateError> {
        let (token, owner, spender, via) = key;
        if via.is_none() {
            let amount = self.word(owner, token, &abi::allowanceCall { owner, spender })?;
            return Ok(amount.map(|amount| (amount, None)));
        }
        let words = self.words(owner, PERMIT2, &abi::permit2::allowanceCall { owner, token, spender })?;
        Ok(words.filter(|words| words.len() >= 2).map(|words| (words[0], u64::try_from(words[1]).ok())))
    }

    fn operator(&mut self, key: (Address, Address, Address, Option<U256>)) -> Result<Option<bool>, StateError> {
        let (token, owner, operator, id) = key;
        match id {
            Some(id) => {
                let approved = self.address(token, &abi::getApprovedCall { id })?;
                Ok(approved.map(|approved| approved == operator && !operator.is_zero()))
            }
            None => {
                let approved = self.word(owner, token, &abi::isApprovedForAllCall { owner, operator })?;
                Ok(approved.map(|approved| !approved.is_zero()))
            }
        }
    }
}

/// What differs, or what logs say differs.
pub(super) fn compare(candidates: &Candidates, before: &Reads, after: &Reads) -> AssetChanges {
    AssetChanges {
        tokens: tokens(candidates, before, after),
        supplies: supplies(candidates, before, after),
        nfts: nfts(candidates, before, after),
        multi_tokens: multi_tokens(candidates, before, after),
        allowances: allowances(candidates, before, after),
        operators: operators(candidates, before, after),
        ownership: owners(candidates, before, after),
        ..AssetChanges::default()
    }
}

fn tokens(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<TokenChange> {
    let changes = candidates.balances.iter().map(|((token, account), (logged_in, logged_out))| TokenChange {
        token: *token,
        account: *account,
        before: before.balances.get(&(*token, *account)).copied(),
        after: after.balances.get(&(*token, *account)).copied(),
        logged_in: *logged_in,
        logged_out: *logged_out,
    });
    let differs = |change: &TokenChange| {
        change.before != change.after || !change.logged_in.is_zero() || !change.logged_out.is_zero()
    };
    changes.filter(differs).collect()
}

fn supplies(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<SupplyChange> {
    let tokens: BTreeSet<Address> = tokens(candidates, before, after).iter().map(|change| change.token).collect();
    let change = |token: Address| {
        let (minted, burned) = candidates.supplies.get(&token).copied().unwrap_or_default();
        let supply = (before.supplies.get(&token).copied(), after.supplies.get(&token).copied());
        SupplyChange {
            token,
            before: supply.0,
            after: supply.1,
            logged_minted: minted,
            logged_burned: burned,
            balanced: balanced(token, supply, before, after),
        }
    };
    tokens.into_iter().map(change).collect()
}

/// Whether balances moved together by as much as the supply. Sums wrap, so that their difference is right in any case.
fn balanced(token: Address, supply: (Option<U256>, Option<U256>), before: &Reads, after: &Reads) -> Option<bool> {
    let supply = supply.1?.wrapping_sub(supply.0?);
    let sum = |reads: &Reads| {
        let range = (token, Address::ZERO)..=(token, Address::repeat_byte(0xff));
        reads.balances.range(range).fold(U256::ZERO, |sum, (_, balance)| sum.wrapping_add(*balance))
    };
    Some(sum(after).wrapping_sub(sum(before)) == supply)
}

fn nfts(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<NftChange> {
    let change = |(key, (from, to)): (&(Address, U256), &(Address, Address))| NftChange {
        token: key.0,
        id: key.1,
        from: *from,
        to: *to,
        owner_before: before.owners_of.get(key).copied(),
        owner_after: after.owners_of.get(key).copied(),
    };
    candidates.nfts.iter().map(change).collect()
}

fn multi_tokens(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<MultiTokenChange> {
    let change = |(key, (logged_in, logged_out)): (&(Address, U256, Address), &(U256, U256))| MultiTokenChange {
        token: key.0,
        id: key.1,
        account: key.2,
        before: before.multi.get(key).copied(),
        after: after.multi.get(key).copied(),
        logged_in: *logged_in,
        logged_out: *logged_out,
    };
    candidates.multi.iter().map(change).collect()
}

fn allowances(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<AllowanceChange> {
    let change = |(key, logged): (&AllowanceKey, &Option<U256>)| {
        let (token, owner, spender, via) = *key;
        let now = after.allowances.get(key);
        AllowanceChange {
            token,
            owner,
            spender,
            via,
            before: before.allowances.get(key).map(|(amount, _)| *amount),
            after: now.map(|(amount, _)| *amount),
            expiration: now.and_then(|(_, expiration)| *expiration),
            logged: *logged,
        }
    };
    let differs = |change: &AllowanceChange| change.before != change.after || change.logged.is_some();
    candidates.allowances.iter().map(change).filter(differs).collect()
}

fn operators(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<OperatorChange> {
    let change = |key: &(Address, Address, Address, Option<U256>)| OperatorChange {
        token: key.0,
        owner: key.1,
        operator: key.2,
        id: key.3,
        before: before.operators.get(key).copied(),
        after: after.operators.get(key).copied(),
    };
    candidates.operators.iter().map(change).collect()
}

fn owners(candidates: &Candidates, before: &Reads, after: &Reads) -> Vec<OwnershipChange> {
    let change = |contract: &Address| {
        let owner = |reads: &Reads| reads.owners.get(contract).copied().unwrap_or_default();
        OwnershipChange { contract: *contract, role: Role::Owner, before: owner(before), after: owner(after) }
    };
    candidates.contracts.iter().map(change).filter(|change| change.before != change.after).collect()
}
