//! The pools that a transaction brings into being, where a well-known exchange makes them and the sender owns what is in
//! them: first liquidity goes to an address that nobody used before, and comes back as shares of something that nobody
//! could try before.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256};
use surety_evm::{Session, Snapshot, StateError};

use crate::simulate::Simulated;
use crate::token::shares_of;
use crate::views::{balanceOfCall, totalSupplyCall, view};

/// Most contracts that are looked at; of more, those left out count as strangers.
const MAX_LOOKED_AT: usize = 8;
/// What the sender must have of a pool's shares, in parts of a hundred. The first of all shares are burnt.
const OWN: U256 = U256::from_limbs([99, 0, 0, 0]);

/// The sender's own among those that did not stand before, of everybody whose tokens moved. `session` is the state
/// afterwards.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(super) fn made(
    snapshot: &Snapshot,
    session: &mut Session,
    simulated: &Simulated,
) -> Result<BTreeSet<Address>, StateError> {
    let moved = &simulated.simulation.changes.tokens;
    let parties: BTreeSet<Address> = moved.iter().map(|change| change.account).collect();
    let mut pools = BTreeSet::new();
    let mut looked_at = 0;
    for party in parties {
        if session.code(party)?.is_empty() || snapshot.source.account(party)?.is_some_and(|known| known.has_code()) {
            continue;
        }
        looked_at += 1;
        if looked_at > MAX_LOOKED_AT {
            break;
        }
        if let Some(shares) = shares_of(session, party)?
            && is_own(session, simulated, party, shares)?
        {
            pools.insert(party);
        }
    }
    Ok(pools)
}

/// Whether what is in a pool is the sender's: all of its shares are; or the sender asked the well-known keeper of positions
/// itself, and has one.
fn is_own(session: &mut Session, simulated: &Simulated, pool: Address, shares: Address) -> Result<bool, StateError> {
    let sender = simulated.call.from;
    if shares != pool {
        let mut positions = simulated.simulation.changes.nfts.iter().filter(|item| item.token == shares);
        return Ok(simulated.call.to == Some(shares) && positions.any(|item| item.owner_after == Some(sender)));
    }
    let has = view(session, pool, &balanceOfCall { owner: sender })?.unwrap_or_default();
    let all = view(session, pool, &totalSupplyCall {})?.unwrap_or_default();
    Ok(!has.is_zero() && has.saturating_mul(U256::from(100)) >= all.saturating_mul(OWN))
}
