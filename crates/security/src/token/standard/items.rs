//! ERC-721 and ERC-1155: items that have one owner, and items of which people have amounts.

use alloy_primitives::{Address, Bytes, U256};

use super::super::abi::{self, address_in, encode, word_of};
use super::super::lab::peek;
use super::super::{Stop, ledger};
use super::{Lie, Trial};

/// Items that a collection is likely to have.
const LIKELY: [u64; 7] = [1, 0, 2, 10, 100, 1_000, 10_000];
/// What is tried of an item that people have amounts of.
const AMOUNT: u64 = 4;

impl Trial<'_> {
    /// Tries items that have one owner. Whether one could be moved, or a lie was found instead.
    pub(super) fn items(&mut self) -> Result<bool, Stop> {
        let (holder, sink) = (self.people.holder, self.people.sink);
        if self.balance(holder)?.is_none() && self.is_mute()? {
            self.study.lies.insert(Lie::ClaimsInVain);
            return Ok(true);
        }
        if self.gives_everybody()? {
            self.study.lies.insert(Lie::InventsBalances);
        }
        let Some((id, owner)) = self.item()? else { return Ok(!self.study.lies.is_empty()) };
        if self.balance(owner)?.is_some_and(|has| has.is_zero()) {
            self.study.lies.insert(Lie::InventsOwners);
        }
        let found = self.session.checkpoint();
        let has = |trial: &mut Self| trial.owner(id).map(|owner| Some(U256::from(owner == Some(sink))));
        let take = encode(&abi::transferFromCall { _0: owner, _1: sink, _2: id });
        let moved = self.moving("transferFrom", owner, take.clone(), has)?;
        self.session.restore(&found);
        self.allow(owner)?;
        self.session.restore(&found);
        self.unasked(take, has)?;
        Ok(moved == Some(true) || !self.study.lies.is_empty())
    }

    /// Tries amounts of items. Whether some could be moved, or a lie was found instead.
    pub(super) fn amounts_of_items(&mut self) -> Result<bool, Stop> {
        let (holder, other, sink) = (self.people.holder, self.people.other, self.people.sink);
        let ids = [U256::ONE, U256::ZERO, self.unlikely()];
        if self.amount(holder, ids[0])?.is_none() && self.is_mute()? {
            self.study.lies.insert(Lie::ClaimsInVain);
            return Ok(true);
        }
        let mut stock = None;
        for id in ids {
            let has_some = |has: Option<U256>| has.is_some_and(|has| !has.is_zero());
            if has_some(self.amount(holder, id)?) && has_some(self.amount(other, id)?) {
                stock = Some((id, U256::ONE, true));
                break;
            }
        }
        let forged = stock.is_none() && self.forge_amount(holder, ids[0], U256::from(AMOUNT))?;
        let stock = stock.or(forged.then_some((ids[0], U256::from(AMOUNT / 2), false)));
        let Some((id, part, is_gift)) = stock else { return Ok(false) };
        let stocked = self.session.checkpoint();
        let has = |trial: &mut Self| trial.amount(sink, id);
        let take = abi::Multi::safeTransferFromCall { _0: holder, _1: sink, _2: id, _3: part, _4: Bytes::new() };
        let take = encode(&take);
        let moved = self.moving("safeTransferFrom", holder, take.clone(), has)?;
        if is_gift && moved != Some(true) {
            self.study.lies.insert(Lie::InventsBalances);
        }
        self.session.restore(&stocked);
        self.allow(holder)?;
        self.session.restore(&stocked);
        self.unasked(take, has)?;
        Ok(moved == Some(true) || !self.study.lies.is_empty())
    }

    /// Lets somebody move everything, for what that costs.
    fn allow(&mut self, owner: Address) -> Result<(), Stop> {
        let call = abi::setApprovalForAllCall { _0: self.people.spender, _1: true };
        let allowed = self.act("setApprovalForAll", owner, U256::ZERO, encode(&call))?;
        self.keep(allowed);
        Ok(())
    }

    /// Whether it does not even say who may move whose items.
    fn is_mute(&mut self) -> Result<bool, Stop> {
        let call = abi::isApprovedForAllCall { _0: self.people.holder, _1: self.people.spender };
        Ok(self.view(encode(&call))?.is_none())
    }

    /// Whether people have items who were never given any, and none that is numbered by its owner.
    fn gives_everybody(&mut self) -> Result<bool, Stop> {
        for person in [self.people.holder, self.people.other] {
            let has = self.balance(person)?.unwrap_or_default();
            if has.is_zero() || self.owner(word_of(person))? == Some(person) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An item with its owner: one that nobody can have made, where it has an owner all the same; one that is there; one
    /// that is written into the books.
    fn item(&mut self) -> Result<Option<(U256, Address)>, Stop> {
        let first = self.view(encode(&abi::tokenByIndexCall(U256::ZERO)))?;
        let likely = LIKELY.map(U256::from);
        for id in std::iter::once(self.unlikely()).chain(first).chain(likely) {
            if let Some(owner) = self.owner(id)? {
                return Ok(Some((id, owner)));
            }
        }
        self.forge_item(likely[0])
    }

    /// The number of an item that nobody would choose.
    fn unlikely(&self) -> U256 {
        U256::from_be_bytes(self.seed.hash("item").0)
    }

    fn owner(&mut self, id: U256) -> Result<Option<Address>, Stop> {
        Ok(self.view(encode(&abi::ownerOfCall(id)))?.and_then(address_in))
    }

    fn amount(&mut self, of: Address, id: U256) -> Result<Option<U256>, Stop> {
        self.view(encode(&abi::Multi::balanceOfCall { _0: of, _1: id }))
    }

    /// Makes somebody the owner of an item by writing the slot that says so.
    fn forge_item(&mut self, id: U256) -> Result<Option<(U256, Address)>, Stop> {
        let holder = self.people.holder;
        let asked = peek(&mut self.session, Address::ZERO, self.contract, encode(&abi::ownerOfCall(id)))?;
        for (address, slot) in asked.trace.reads.into_keys() {
            let old = self.session.storage(address, slot)?;
            self.session.set_storage(address, slot, word_of(holder))?;
            if self.owner(id)? == Some(holder) {
                ledger::forge(&mut self.session, self.contract, holder, U256::ONE)?;
                return Ok(Some((id, holder)));
            }
            self.session.set_storage(address, slot, old)?;
        }
        Ok(None)
    }

    /// Gives somebody an amount of an item by writing the slot that says so. Whether it could.
    fn forge_amount(&mut self, holder: Address, id: U256, amount: U256) -> Result<bool, Stop> {
        let asked = encode(&abi::Multi::balanceOfCall { _0: holder, _1: id });
        let asked = peek(&mut self.session, Address::ZERO, self.contract, asked)?;
        for (address, slot) in ledger::keyed_by(&asked, holder) {
            let old = self.session.storage(address, slot)?;
            self.session.set_storage(address, slot, amount)?;
            if self.amount(holder, id)? == Some(amount) {
                return Ok(true);
            }
            self.session.set_storage(address, slot, old)?;
        }
        Ok(false)
    }
}
