//! Which balances and allowances may have changed: from logs, parties and the keys of mappings that were written.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256, address};

use crate::{Call, Outcome};

/// The contract that keeps token allowances for others, at the same address on all chains.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");

/// Balances, allowances and owners read at most, each before and after the call.
const MAX_READS: usize = 256;
/// Mappings in mappings that are followed.
const MAX_KEYS: usize = 4;

/// What the logs say came in and went out.
pub(super) type Flow = (U256, U256);

/// An allowance: token, owner, spender, and the contract that keeps it when it is not the token.
pub(super) type AllowanceKey = (Address, Address, Address, Option<Address>);

/// What is read before and after the call, with what the logs say of it.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) balances: BTreeMap<(Address, Address), Flow>,
    /// Per token: minted and burned by the logs.
    pub(super) supplies: BTreeMap<Address, Flow>,
    pub(super) nfts: BTreeMap<(Address, U256), (Address, Address)>,
    pub(super) multi: BTreeMap<(Address, U256, Address), Flow>,
    pub(super) allowances: BTreeMap<AllowanceKey, Option<U256>>,
    pub(super) operators: BTreeSet<(Address, Address, Address, Option<U256>)>,
    pub(super) contracts: BTreeSet<Address>,
    pub(super) incomplete: bool,
}

impl Candidates {
    pub(super) fn find(call: &Call, outcome: &Outcome) -> Self {
        let mut candidates = Self::default();
        for log in &outcome.logs {
            super::logs::note(&mut candidates, log);
        }
        for write in &outcome.trace.writes {
            candidates.note_write(call.from, write.address, write.slot, &outcome.trace.preimages);
        }
        candidates
    }

    pub(super) fn transfer(&mut self, token: Address, from: Address, to: Address, amount: U256) {
        // The zero address stands for minting and burning. What is sent to it by a plain transfer counts as burnt too.
        let supply = self.supplies.entry(token).or_default();
        if from.is_zero() {
            supply.0 = supply.0.saturating_add(amount);
        }
        if to.is_zero() {
            supply.1 = supply.1.saturating_add(amount);
        }
        if let Some(flow) = self.balance(token, from) {
            flow.1 = flow.1.saturating_add(amount);
        }
        if let Some(flow) = self.balance(token, to) {
            flow.0 = flow.0.saturating_add(amount);
        }
    }

    pub(super) fn nft_transfer(&mut self, token: Address, id: U256, from: Address, to: Address) {
        if self.room(self.nfts.contains_key(&(token, id))) {
            self.nfts.entry((token, id)).or_insert((from, to)).1 = to;
        }
    }

    pub(super) fn multi_transfer(&mut self, token: Address, id: U256, from: Address, to: Address, amount: U256) {
        for (account, incoming) in [(from, false), (to, true)] {
            let key = (token, id, account);
            if account.is_zero() || !self.room(self.multi.contains_key(&key)) {
                continue;
            }
            let flow = self.multi.entry(key).or_default();
            let side = if incoming { &mut flow.0 } else { &mut flow.1 };
            *side = side.saturating_add(amount);
        }
    }

    pub(super) fn allowance(
        &mut self,
        token: Address,
        owner: Address,
        spender: Address,
        via: Option<Address>,
        logged: Option<U256>,
    ) {
        let key = (token, owner, spender, via);
        if self.room(self.allowances.contains_key(&key)) {
            let entry = self.allowances.entry(key).or_default();
            *entry = logged.or(*entry);
        }
    }

    pub(super) fn operator(&mut self, token: Address, owner: Address, operator: Address, id: Option<U256>) {
        let key = (token, owner, operator, id);
        if self.room(self.operators.contains(&key)) {
            self.operators.insert(key);
        }
    }

    fn balance(&mut self, token: Address, account: Address) -> Option<&mut Flow> {
        let key = (token, account);
        if account.is_zero() || !self.room(self.balances.contains_key(&key)) {
            return None;
        }
        Some(self.balances.entry(key).or_default())
    }

    /// A slot that changed may be a balance or an allowance: its keys say whose.
    fn note_write(&mut self, sender: Address, contract: Address, slot: U256, preimages: &BTreeMap<B256, Bytes>) {
        // An owner stands in a slot of its own, never in a mapping.
        if !preimages.contains_key(&B256::from(slot)) && self.room(self.contracts.contains(&contract)) {
            self.contracts.insert(contract);
        }
        let keys = keys_of(slot.into(), preimages);
        match keys.as_slice() {
            [] => {}
            [spender, token, owner] if contract == PERMIT2 => {
                self.allowance(*token, *owner, *spender, Some(PERMIT2), None);
            }
            [account] => {
                self.balance(contract, *account);
                // A drain that logs nothing still changes the slot of its victim; whoever sends is always looked at.
                self.balance(contract, sender);
            }
            [spender, owner, ..] => self.allowance(contract, *owner, *spender, None, None),
        }
    }

    fn room(&mut self, known: bool) -> bool {
        let all = self.balances.len()
            + self.nfts.len()
            + self.multi.len()
            + self.allowances.len()
            + self.operators.len()
            + self.contracts.len();
        self.incomplete |= !known && all >= MAX_READS;
        known || all < MAX_READS
    }
}

/// The addresses by which a slot of a mapping is found, the innermost mapping's key first.
///
/// Solidity hashes key and slot, Vyper slot and key, and hand-written code addresses packed with a short seed.
fn keys_of(mut slot: B256, preimages: &BTreeMap<B256, Bytes>) -> Vec<Address> {
    let mut keys = Vec::new();
    while let Some(preimage) = preimages.get(&slot)
        && keys.len() < MAX_KEYS
    {
        if preimage.len() < 64 {
            keys.extend(packed_keys(preimage));
            break;
        }
        if preimage.len() != 64 {
            break;
        }
        let [first, second] = [&preimage[..32], &preimage[32..]].map(B256::from_slice);
        let (key, next) = match (preimages.contains_key(&first), looks_like_address(first)) {
            (false, true) => (first, second),
            _ => (second, first),
        };
        if !looks_like_address(key) {
            break;
        }
        keys.push(Address::from_word(key));
        slot = next;
    }
    keys
}

/// The addresses in a packed preimage: an owner with a seed or a slot, and a spender at the end where there is one.
fn packed_keys(preimage: &[u8]) -> Vec<Address> {
    let Some(owner) = preimage.first_chunk::<20>() else {
        return Vec::new();
    };
    let spender = preimage.last_chunk::<20>().filter(|_| preimage.len() == 52);
    let spender = spender.map(Address::from).filter(|spender| looks_like_address(spender.into_word()));
    spender.into_iter().chain([Address::from(owner)]).collect()
}

/// Numbers of slots are small and hashes are long; an address is in between.
fn looks_like_address(word: B256) -> bool {
    word[..12].iter().all(|byte| *byte == 0) && word[12..28].iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    const OWNER: Address = Address::repeat_byte(0xaa);
    const SPENDER: Address = Address::repeat_byte(0xbb);

    fn keys(preimages: &[Vec<u8>]) -> Vec<Address> {
        let known = preimages.iter().map(|bytes| (keccak256(bytes), Bytes::copy_from_slice(bytes))).collect();
        keys_of(preimages.last().map(keccak256).unwrap_or_default(), &known)
    }

    fn pair(first: B256, second: B256) -> Vec<u8> {
        [first, second].concat()
    }

    #[test]
    fn keys_are_found_in_every_layout() {
        let slot = B256::with_last_byte(3);
        let (owner, spender) = (OWNER.into_word(), SPENDER.into_word());
        let solidity = pair(owner, slot);
        assert_eq!(keys(std::slice::from_ref(&solidity)), [OWNER]);
        let nested = pair(spender, keccak256(&solidity));
        assert_eq!(keys(&[solidity, nested]), [SPENDER, OWNER]);
        let vyper = pair(slot, owner);
        assert_eq!(keys(std::slice::from_ref(&vyper)), [OWNER]);
        let nested = pair(keccak256(&vyper), spender);
        assert_eq!(keys(&[vyper, nested]), [SPENDER, OWNER]);
        assert_eq!(keys(&[[OWNER.as_slice(), &[7; 12]].concat()]), [OWNER]);
        assert_eq!(keys(&[[OWNER.as_slice(), &[7; 12], SPENDER.as_slice()].concat()]), [SPENDER, OWNER]);
        assert_eq!(keys(&[[OWNER.as_slice(), slot.as_slice()].concat()]), [OWNER]);
    }

    #[test]
    fn a_mapping_of_numbers_has_no_address() {
        assert_eq!(keys(&[pair(B256::with_last_byte(9), B256::with_last_byte(3))]), [] as [Address; 0]);
    }
}
