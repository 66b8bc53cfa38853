//! What stands at an address and does not come from lists: whether there is code, what it says and does not do, what it
//! costs those who use it, and whether other code can stand there.

use alloy_primitives::{Address, Bytes};
use serde::Serialize;
use surety_evm::{Account, Snapshot, StateError};

use super::rebirth::{Rebirth, rebirth};
use crate::envelope::Reason;
use crate::evidence::{Item, Kind};
use crate::state::{Pinned, State, reason};
use crate::token::standard::{Study, study};

/// How the code of an account that delegates begins (EIP-7702).
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

/// The flags that code and state tell, in the order in which they are written.
pub(super) const TOLD: [&str; 3] = ["fake_standard_interface", "gas_abuse", "reinit"];

/// What the code at an address says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnChain {
    pub(super) is_contract: bool,
    pub(super) delegates_to: Option<[u8; 20]>,
}

/// What the chain tells of an address.
pub(super) struct Told {
    pub(super) on_chain: Result<OnChain, Reason>,
    /// By the order of [`TOLD`].
    pub(super) flags: [Result<bool, Reason>; TOLD.len()],
    pub(super) items: Vec<Item>,
}

/// An account with its code.
pub(super) struct Found {
    pub(super) account: Account,
    pub(super) code: Bytes,
}

impl Found {
    fn at(snapshot: &Snapshot, address: Address) -> Result<Self, StateError> {
        let account = snapshot.source.account(address)?.unwrap_or_default();
        let code = match account.has_code() {
            true => snapshot.source.code(address, account.code_hash)?,
            false => Bytes::new(),
        };
        Ok(Self { account, code })
    }

    /// Whom it lets act for it. An account that delegates is its holder's still, and no contract.
    pub(super) fn delegates_to(&self) -> Option<[u8; 20]> {
        self.code.strip_prefix(&DELEGATION).and_then(|target| target.try_into().ok())
    }
}

/// Looks at an address, and tries what stands there.
pub(super) fn told(state: &State, address: Address) -> Told {
    let nothing = |why: Reason| Told { on_chain: Err(why), flags: [Err(why); TOLD.len()], items: Vec::new() };
    let Some(pinned) = state.pinned() else { return nothing(state.why_absent()) };
    match Found::at(pinned.snapshot(), address) {
        Ok(found) => told_of(pinned, address, &found),
        Err(error) => nothing(reason(&error)),
    }
}

fn told_of(pinned: &Pinned, address: Address, found: &Found) -> Told {
    let delegates_to = found.delegates_to();
    let on_chain = OnChain { is_contract: !found.code.is_empty() && delegates_to.is_none(), delegates_to };
    let unread = |error| reason(&error);
    let mut items = Vec::new();
    let [fake, gas] = match tried(pinned.snapshot(), address, found) {
        Ok(Some(study)) => {
            items.push(shown(address, &study));
            [study.is_fake(), study.abuses_gas()].map(|told| told.map_err(Reason::from))
        }
        // Where there is no code, nothing answers and nothing runs.
        Ok(None) => [Ok(false); 2],
        Err(error) => [Err(unread(error)); 2],
    };
    let reinit = match rebirth(pinned, address, found) {
        Ok(Rebirth { is_possible, items: more }) => {
            items.extend(more);
            is_possible
        }
        Err(error) => Err(unread(error)),
    };
    Told { on_chain: Ok(on_chain), flags: [fake, gas, reinit], items }
}

fn tried(snapshot: &Snapshot, address: Address, found: &Found) -> Result<Option<Study>, StateError> {
    if found.code.is_empty() { Ok(None) } else { study(snapshot, address).map(Some) }
}

/// What was tried, as evidence.
fn shown(address: Address, study: &Study) -> Item {
    #[derive(Serialize)]
    struct Shown<'a> {
        scenario: &'static str,
        address: Address,
        #[serde(flatten)]
        study: &'a Study,
    }
    Item::new(Kind::Sim, &TOLD[..2], &Shown { scenario: "ordinary calls", address, study })
}
