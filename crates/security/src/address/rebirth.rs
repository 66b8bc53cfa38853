//! `reinit`: whether code was put at an address more than once, or can be again (`security-services.md` 3.2).
//!
//! Code is put at an address where none is and no nonce was used (EIP-684). So it can be put there again only after it was
//! removed, by SELFDESTRUCT, and only by what makes the same address again: CREATE2, or a maker that is made again itself.
//! Since EIP-6780 SELFDESTRUCT removes only what the same transaction made: what stands stays, and what can come back are
//! addresses where code stood for the length of a transaction. Of the past only history tells.

use alloy_primitives::Address;
use serde::Serialize;
use surety_evm::{Limits, Session, StateError};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use super::contract::Found;
use crate::chains::keeps_code;
use crate::envelope::Reason;
use crate::evidence::{Item, Kind};
use crate::history::{History, Life};
use crate::state::Pinned;
use crate::token::{Doom, doom_at};
use crate::views::lower;

/// Nonces of a maker that are tried, to tell CREATE from CREATE2.
const MOST_NONCES: u64 = 8_192;
/// Instructions for following a contract to the code behind it.
const STEPS: u64 = 2_000_000;

/// What is known, and what it rests on.
pub(super) struct Rebirth {
    pub(super) is_possible: Result<bool, Reason>,
    pub(super) items: Vec<Item>,
}

/// The facts that decide.
struct Known<'a> {
    found: &'a Found,
    /// Every time that it was made, where that is known.
    lives: &'a [Life],
    /// Whether these are all since the chain began.
    is_whole: bool,
    /// Whether code that stands cannot be removed, by the rules of the chain (EIP-6780).
    keeps_code: Option<bool>,
    /// Whether the code could remove itself, where the rules let it.
    doom: Option<Doom>,
    /// Whether whoever made it could make it again; nothing where that takes too long to say.
    can_repeat: Option<bool>,
}

/// Finds out what is known of an address's code being replaced.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(super) fn rebirth(pinned: &Pinned, address: Address, found: &Found) -> Result<Rebirth, StateError> {
    let head = pinned.head();
    let lives = pinned.history().and_then(|history| history.lives(address));
    let is_whole = lives.is_some() && pinned.history().is_some_and(|history| history.span().0 == 0);
    let lives = lives.unwrap_or_default();
    let mut session = pinned.session(Limits { session_steps: STEPS, ..Limits::default() });
    let keeps_code = keeps_code(head.chain_id, head.timestamp);
    let is_contract = found.account.has_code() && found.delegates_to().is_none();
    let doom = match is_contract && keeps_code != Some(true) {
        true => Some(doom_at(&mut session, address)?),
        false => None,
    };
    let can_repeat = match lives.last() {
        Some(life) => can_repeat(&session, life, address)?,
        None => None,
    };
    let known = Known { found, lives: &lives, is_whole, keeps_code, doom, can_repeat };
    let is_possible = decide(&known);
    let history = pinned.history().map(|history| history_of(history, &lives));
    let items = std::iter::once(code_of(address, &known)).chain(history).collect();
    Ok(Rebirth { is_possible, items })
}

fn decide(known: &Known<'_>) -> Result<bool, Reason> {
    let Known { found, lives, is_whole, keeps_code, doom, .. } = *known;
    if lives.len() > 1 {
        return Ok(true);
    }
    if found.delegates_to().is_some() {
        // Its holder may choose other code at any time, and it is no contract that anybody redeploys.
        return Err(Reason::UnsupportedContract);
    }
    let past = if is_whole { Ok(false) } else { Err(Reason::NoHistory) };
    match (found.account.has_code(), keeps_code, doom) {
        (false, ..) if found.account.nonce > 0 => Ok(false),
        (false, ..) if lives.is_empty() => past,
        (false, ..) => known.can_repeat.ok_or(Reason::OutOfGasBudget),
        (true, Some(true), _) | (true, _, Some(Doom::OutOfReach)) => past,
        (true, rules, doom) => can_return(known, rules, doom).and_then(|can| if can { Ok(true) } else { past }),
    }
}

/// Whether code that stands can be removed and put there again, where SELFDESTRUCT may be within its reach.
fn can_return(known: &Known<'_>, keeps_code: Option<bool>, doom: Option<Doom>) -> Result<bool, Reason> {
    if known.lives.is_empty() {
        return Err(Reason::NoHistory);
    }
    match (known.can_repeat, keeps_code, doom) {
        (Some(false), ..) => Ok(false),
        (None, ..) => Err(Reason::OutOfGasBudget),
        (Some(true), Some(false), Some(Doom::InReach)) => Ok(true),
        (Some(true), Some(false), _) => Err(Reason::UnsupportedContract),
        // Nobody knows by which rules this chain goes.
        (Some(true), ..) => Err(Reason::NoSource),
    }
}

/// Whether a maker could make a contract at the same address again: by CREATE2 it can, by CREATE never, since a nonce comes
/// back only to a maker that is made again. Nothing where it has used more nonces than are tried.
fn can_repeat(session: &Session, life: &Life, contract: Address) -> Result<Option<bool>, StateError> {
    let maker = Address::from(life.creator);
    let nonce = session.nonce(maker)?;
    Ok(match nonce {
        0 => Some(true),
        1..=MOST_NONCES => Some((0..nonce).all(|nonce| maker.create(nonce) != contract)),
        _ => None,
    })
}

/// What stands there and by which rules, as evidence.
fn code_of(address: Address, known: &Known<'_>) -> Item {
    #[derive(Serialize)]
    struct Code {
        address: String,
        codehash: String,
        nonce: u64,
        eip_6780: Option<bool>,
        selfdestruct: Option<Doom>,
        can_repeat: Option<bool>,
    }
    let code = Code {
        address: lower(address),
        codehash: lower(known.found.account.code_hash),
        nonce: known.found.account.nonce,
        eip_6780: known.keeps_code,
        selfdestruct: known.doom,
        can_repeat: known.can_repeat,
    };
    Item::new(Kind::Static, &["reinit"], &code)
}

/// When it was made, as evidence.
fn history_of(history: &History, lives: &[Life]) -> Item {
    #[derive(Serialize)]
    struct Made {
        from_block: u64,
        to_block: u64,
        made_in: Vec<u64>,
        logs_root: Hash32,
    }
    let (from_block, to_block) = history.span();
    let made_in = lives.iter().map(|life| life.block).collect();
    let logs_root = h("surety/security/lives/v1", &[&codec::encode(&lives)]);
    Item::new(Kind::History, &["reinit"], &Made { from_block, to_block, made_in, logs_root })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY};
    use surety_evm::Account;

    use super::*;

    const LIFE: Life = Life { creator: [1; 20], origin: [2; 20], block: 5 };

    fn found(has_code: bool, nonce: u64) -> Found {
        let code_hash = if has_code { B256::repeat_byte(1) } else { KECCAK256_EMPTY };
        let code = if has_code { Bytes::from_static(&[0xff]) } else { Bytes::new() };
        Found { account: Account { nonce, code_hash, ..Account::default() }, code }
    }

    /// A contract made once by CREATE2 that can destroy itself, its whole history known.
    fn fuse(found: &Found, keeps_code: Option<bool>) -> Known<'_> {
        let doom = Some(Doom::InReach);
        Known { found, lives: &[LIFE], is_whole: true, keeps_code, doom, can_repeat: Some(true) }
    }

    #[test]
    fn what_stands_stays_since_cancun_and_did_not_before() {
        let found = found(true, 1);
        assert_eq!(decide(&fuse(&found, Some(true))), Ok(false));
        assert_eq!(decide(&fuse(&found, Some(false))), Ok(true));
        assert_eq!(decide(&fuse(&found, None)), Err(Reason::NoSource));
        let by_create = Known { can_repeat: Some(false), ..fuse(&found, Some(false)) };
        assert_eq!(decide(&by_create), Ok(false));
        let without = Known { doom: Some(Doom::OutOfReach), ..fuse(&found, None) };
        assert_eq!(decide(&without), Ok(false));
        let unclear = Known { doom: Some(Doom::Unclear), ..fuse(&found, Some(false)) };
        assert_eq!(decide(&unclear), Err(Reason::UnsupportedContract));
        let crowded = Known { can_repeat: None, ..fuse(&found, Some(false)) };
        assert_eq!(decide(&crowded), Err(Reason::OutOfGasBudget));
    }

    #[test]
    fn of_the_past_only_history_tells() {
        let found = found(true, 1);
        for rules in [Some(true), Some(false), None] {
            assert_eq!(decide(&Known { lives: &[LIFE, LIFE], ..fuse(&found, rules) }), Ok(true));
            let without = Known { lives: &[], is_whole: false, can_repeat: None, ..fuse(&found, rules) };
            assert_eq!(decide(&without), Err(Reason::NoHistory));
        }
        let since_later = Known { is_whole: false, ..fuse(&found, Some(true)) };
        assert_eq!(decide(&since_later), Err(Reason::NoHistory));
    }

    #[test]
    fn where_code_is_gone_it_can_come_back_and_where_a_wallet_is_it_cannot() {
        let gone = found(false, 0);
        assert_eq!(decide(&fuse(&gone, Some(true))), Ok(true));
        assert_eq!(decide(&Known { can_repeat: Some(false), ..fuse(&gone, Some(true)) }), Ok(false));
        assert_eq!(decide(&Known { lives: &[], ..fuse(&gone, Some(true)) }), Ok(false));
        assert_eq!(decide(&Known { lives: &[], is_whole: false, ..fuse(&gone, None) }), Err(Reason::NoHistory));
        assert_eq!(decide(&Known { lives: &[], is_whole: false, ..fuse(&found(false, 3), None) }), Ok(false));
    }
}
