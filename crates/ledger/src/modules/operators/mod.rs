//! Operators: who runs nodes, under which keys, and where their gateways are.
//!
//! Invariant: no BLS key and no network identity belongs to two operators, and every BLS key has proven its possession.

mod error;
mod register;
mod state;
mod update;

pub use error::Error;
pub use register::RegisterOperator;
pub use state::{BLS_KEYS, Event, OPERATORS, Operator, PEERS, Profile};
pub use update::UpdateOperator;

use surety_primitives::NetworkId;

use crate::context::Context;
use crate::error::Result;

/// The namespace of proofs of possession on a network.
#[must_use]
pub fn possession_namespace(network: NetworkId) -> Vec<u8> {
    [b"surety/possession/v1".as_slice(), &network.0.to_be_bytes()].concat()
}

/// Registers an operator whose fields have been checked; the genesis does so too.
pub(crate) fn enter(ctx: &mut Context<'_>, operator: &Operator) -> Result<()> {
    let id = operator.id;
    ensure!(!OPERATORS.has(ctx, &id), Error::AlreadyOperator);
    ensure!(!BLS_KEYS.has(ctx, &operator.bls_key) && !PEERS.has(ctx, &operator.peer), Error::KeyInUse);
    OPERATORS.set(ctx, &id, operator);
    BLS_KEYS.set(ctx, &operator.bls_key, &id);
    PEERS.set(ctx, &operator.peer, &id);
    ctx.emit(Event::OperatorRegistered { operator: id });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;
    use surety_primitives::bls::BlsSecret;
    use surety_primitives::typed_data::Bytes32;

    fn registration(chain: &Scenario, seed: u8, peer: u8) -> RegisterOperator {
        let secret = BlsSecret::generate(&[seed; 32]).unwrap_or_else(|_| unreachable!("32 bytes are enough"));
        RegisterOperator {
            peer: Bytes32([peer; 32]),
            bls_key: secret.key(),
            possession: secret.prove_possession(&possession_namespace(chain.network())),
            profile: Profile {
                name: "Orbit".to_owned(),
                url: "https://orbit.example".to_owned(),
                gateway: "https://gw.orbit.example".to_owned(),
            },
        }
    }

    #[test]
    fn an_operator_registers_once_and_only_with_keys_of_its_own() {
        let mut chain = Scenario::new().account("orbit", 10).account("comet", 10);
        let first = registration(&chain, 1, 1);
        chain.does("orbit", first.clone());
        chain.fails("orbit", registration(&chain, 2, 2), Error::AlreadyOperator);
        chain.fails("comet", first, Error::KeyInUse);
        chain.fails("comet", registration(&chain, 2, 1), Error::KeyInUse);
        chain.does("comet", registration(&chain, 2, 2));
        chain.assert_conserved();
    }

    #[test]
    fn a_key_without_its_secret_is_refused() {
        let mut chain = Scenario::new().account("orbit", 10);
        let stolen = RegisterOperator { bls_key: registration(&chain, 2, 2).bls_key, ..registration(&chain, 1, 1) };
        chain.fails("orbit", stolen, Error::NoPossession { reason: surety_primitives::bls::Error::Mismatch });
    }

    #[test]
    fn only_an_operator_updates_its_profile() {
        let mut chain = Scenario::new().account("orbit", 10).account("comet", 10);
        let first = registration(&chain, 1, 1);
        chain.does("orbit", first.clone());
        let profile = Profile { name: "Orbit II".to_owned(), ..first.profile };
        chain.does("orbit", UpdateOperator { profile: profile.clone() });
        chain.fails("comet", UpdateOperator { profile: profile.clone() }, Error::NotOperator);
        let long = Profile { name: "x".repeat(65), ..profile };
        assert_eq!(crate::Action::check(&UpdateOperator { profile: long }), Err(Error::BadProfile.into()));
    }
}
