//! ERC-20: amounts that are moved, allowed and taken.

use alloy_primitives::{Address, U256};

use super::super::abi::{self, encode};
use super::super::{Stop, ledger};
use super::{Lie, Trial};

/// What is tried, in base units: a thousandth of the supply within these bounds. Some tokens keep 96 bits of a balance.
const LEAST: u64 = 10_000;
const MOST_BITS: usize = 90;

/// Somebody who has some of it.
struct Stock {
    holder: Address,
    amount: U256,
    /// Whether nobody gave it to him: everybody has some.
    is_gift: bool,
}

impl Trial<'_> {
    /// Tries amounts. Whether they could be moved, or a lie was found instead.
    pub(super) fn fungible(&mut self) -> Result<bool, Stop> {
        let Some(Stock { holder, amount, is_gift }) = self.stock()? else { return Ok(false) };
        let stocked = self.session.checkpoint();
        let (sink, spender) = (self.people.sink, self.people.spender);
        let part = (amount / U256::from(2)).max(U256::ONE);
        let has = |trial: &mut Self| trial.balance(sink);

        let moved = self.moving("transfer", holder, encode(&abi::transferCall { _0: sink, _1: part }), has)?;
        if is_gift && moved != Some(true) {
            self.study.lies.insert(Lie::InventsBalances);
        }
        self.session.restore(&stocked);

        let approve = encode(&abi::approveCall { _0: spender, _1: part });
        let approved = self.act("approve", holder, U256::ZERO, approve)?;
        let allows = approved.said;
        self.keep(approved);
        let allowed = self.view(encode(&abi::allowanceCall { _0: holder, _1: spender }))?;
        let take = encode(&abi::transferFromCall { _0: holder, _1: sink, _2: part });
        let taken = self.moving("transferFrom", spender, take.clone(), has)?;
        if allows && allowed == Some(U256::ZERO) && taken != Some(true) {
            self.study.lies.insert(Lie::AllowsNothing);
        }
        self.session.restore(&stocked);

        self.unasked(take, has)?;
        Ok(moved == Some(true) || !self.study.lies.is_empty())
    }

    /// Finds somebody who has some: anybody, where everybody has; somebody whose balance can be written; somebody whom
    /// the contract's storage names.
    fn stock(&mut self) -> Result<Option<Stock>, Stop> {
        let (holder, other) = (self.people.holder, self.people.other);
        let gift = self.balance(holder)?.unwrap_or_default();
        if !gift.is_zero() && self.balance(other)?.is_some_and(|gift| !gift.is_zero()) {
            return Ok(Some(Stock { holder, amount: gift, is_gift: true }));
        }
        let supply = self.view(encode(&abi::totalSupplyCall {}))?.unwrap_or_default();
        let amount = (supply / U256::from(1_000)).clamp(U256::from(LEAST), U256::ONE << MOST_BITS);
        if ledger::forge(&mut self.session, self.contract, holder, amount)? {
            return Ok(Some(Stock { holder, amount, is_gift: false }));
        }
        for named in ledger::named(&mut self.session, self.contract)? {
            let amount = self.balance(named)?.unwrap_or_default();
            if !amount.is_zero() {
                return Ok(Some(Stock { holder: named, amount, is_gift: false }));
            }
        }
        Ok(None)
    }
}
