//! Live approvals of an owner, and what is known of one spender (`security-services.md` 3.6).
//!
//! History says who was ever approved; whether an approval still stands is read again at the block. Without history
//! nothing is listed and the answer says so: an empty list would read as "none".

mod live;
mod spender;

use alloy_primitives::Address;
use serde_json::value::RawValue;
use surety_evm::{Limits, StateError};

use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::evidence::{Item, Kind};
use crate::history::{Given, Past};
use crate::lists::address;
use crate::parties::Parties;
use crate::service::{Card, Gathered, Request, RestsOn, Service, Sources};
use crate::state::{Pinned, place, reason};

pub use live::{Live, live};
pub use spender::{ApprovalSecurity, Spender, spender};

#[cfg(test)]
mod tests;

/// Which kind of token the approvals are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// ERC-20.
    Erc20,
    /// ERC-721.
    Erc721,
    /// ERC-1155.
    Erc1155,
}

/// One of the services that list approvals.
#[derive(Debug)]
pub struct Approvals {
    name: &'static str,
    path: &'static str,
    standard: Standard,
}

/// `token_approval_security`.
pub static TOKENS: Approvals = Approvals {
    name: "token_approval_security",
    path: "/api/v2/token_approval_security/{chain_id}",
    standard: Standard::Erc20,
};

/// `nft721_approval_security`.
pub static NFT_721: Approvals = Approvals {
    name: "nft721_approval_security",
    path: "/api/v2/nft721_approval_security/{chain_id}",
    standard: Standard::Erc721,
};

/// `nft1155_approval_security`.
pub static NFT_1155: Approvals = Approvals {
    name: "nft1155_approval_security",
    path: "/api/v2/nft1155_approval_security/{chain_id}",
    standard: Standard::Erc1155,
};

/// The question.
struct Question {
    owner: Address,
    request: Request,
}

impl Service for Approvals {
    fn card(&self) -> Card {
        Card { reads_state: true, rests_on: Some(RestsOn::Addresses), ..Card::new(self.name, self.path) }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let (chain_id, block) = place(&request.segment, request)?;
        let owner = one_address(request, "addresses")?;
        let state = sources.pin(chain_id, block)?;
        Ok(Gathered::about(sources.lists, Question { owner, request: request.clone() }, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Some(Question { owner, request }) = gathered.question() else { return Err(Refusal::Address) };
        let Some(pinned) = gathered.state.pinned() else { return Ok(nothing(gathered.state.why_absent())) };
        let Some(history) = pinned.history() else { return Ok(nothing(Reason::NoHistory)) };
        let Some(given) = history.approvals(*owner) else { return Ok(nothing(Reason::NoHistory)) };
        let past = history.past();
        let mut parties = Parties::new(gathered.lists, request);
        match list(pinned, &given, *owner, self.standard, &mut parties) {
            Ok((result, mut unknown)) => {
                if given.is_cut {
                    unknown.push(Unknown::new("approved_list", Reason::OutOfGasBudget));
                }
                // What was approved before the first block that was replayed is not seen.
                if past.from_block > 0 {
                    unknown.push(Unknown::new("approved_list", Reason::NoHistory));
                }
                unknown.extend(parties.unknown("malicious_address"));
                Ok(Verdict::attested(result, unknown).resting_on(parties.into_looked(), vec![searched(&past, &given)]))
            }
            Err(error) => Ok(nothing(reason(&error))),
        }
    }
}

type Listed = (Box<RawValue>, Vec<Unknown>);

fn list(
    pinned: &Pinned,
    given: &Given,
    owner: Address,
    standard: Standard,
    parties: &mut Parties<'_>,
) -> Result<Listed, StateError> {
    let mut session = pinned.session(Limits::default());
    let live = live(&mut session, &given.list, owner, standard)?;
    let (tokens, unknown) = live::describe(&mut session, &live, owner, standard, parties)?;
    Ok((raw(&tokens), unknown))
}

/// The block range that was searched, and what was found there.
fn searched(past: &Past, given: &Given) -> Item {
    #[derive(serde::Serialize)]
    struct History {
        from_block: u64,
        to_block: u64,
        logs_root: surety_primitives::Hash32,
    }
    let logs_root = given.root();
    Item::new(
        Kind::History,
        &["approved_list"],
        &History { from_block: past.from_block, to_block: past.to_block, logs_root },
    )
}

/// No list at all, which is not an empty one.
fn nothing(why: Reason) -> Verdict<'static> {
    Verdict::attested(raw(&()), vec![Unknown::new("approved_list", why)])
}

/// The one address that a parameter names.
fn one_address(request: &Request, parameter: &str) -> Result<Address, Refusal> {
    let text = request.get(parameter).ok_or_else(|| Refusal::Parameter(format!("{parameter} is missing")))?;
    address(text).map(Address::from).ok_or(Refusal::Address)
}
