//! The tables that describe the protocol: actions with their EIP-712 members, and every code.

use std::io::{self, Read as _};

use borsh::BorshDeserialize as _;
use serde_json::{Value, json};
use surety_ledger::AnyAction;
use surety_ledger::action::ACTIONS;
use surety_primitives::typed_data::{Member, Types};

use super::extract::{Asked, Nothing, Reply};
use super::problem::{Kind, URN, kebab};

/// What wallets must know of an action.
pub(crate) struct Described {
    pub(crate) tag: u8,
    pub(crate) name: &'static str,
    /// Its fields, then the transaction's own.
    pub(crate) members: Vec<Member>,
    /// Structs that they refer to.
    pub(crate) types: Types,
}

/// Members of the transaction itself, behind the action's.
pub(crate) const COMMON: [&str; 3] = ["tx_nonce", "tx_expires", "tx_fee"];

/// Every action of the table. Types do not depend on values, so an action that is read from zeros shows them.
pub(crate) fn described() -> Vec<Described> {
    let describe = |(tag, name): &(u8, &'static str)| {
        let tags = [*tag];
        let mut zeros = tags.as_slice().chain(io::repeat(0));
        let action = AnyAction::deserialize_reader(&mut zeros).ok()?;
        let (members, types, _) = action.typed_parts();
        Some(Described { tag: *tag, name, members, types })
    };
    ACTIONS.iter().filter_map(describe).collect()
}

fn list(members: &[Member]) -> Value {
    members.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect()
}

pub(crate) async fn actions(Asked(Nothing {}): Asked<Nothing>) -> Reply<Value> {
    let items: Vec<Value> = described()
        .iter()
        .map(|action| {
            let types: serde_json::Map<String, Value> =
                action.types.iter().map(|(name, members)| (name.clone(), list(members))).collect();
            json!({"tag": action.tag, "name": action.name, "members": list(&action.members), "types": types})
        })
        .collect();
    Reply(json!({"items": items}))
}

pub(crate) async fn errors(Asked(Nothing {}): Asked<Nothing>) -> Reply<Value> {
    let ledger = surety_ledger::Error::codes().into_iter().map(|(code, name)| {
        json!({"code": code, "name": name, "type": format!("{URN}{}", kebab(name)), "status": 422, "source": "ledger"})
    });
    let own = Kind::ALL.iter().map(|kind| {
        let urn = format!("{URN}{}", kind.name());
        json!({"code": kind.code(), "name": kind.name(), "type": urn, "status": kind.status(), "source": "api"})
    });
    Reply(json!({"items": ledger.chain(own).collect::<Vec<Value>>()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_table_is_described() {
        let described = described();
        assert_eq!(described.len(), ACTIONS.len());
        for action in &described {
            let last: Vec<&str> = action.members.iter().rev().take(3).rev().map(|(name, _)| *name).collect();
            assert_eq!(last, COMMON, "{}", action.name);
        }
    }
}
