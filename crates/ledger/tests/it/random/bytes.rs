//! Bytes that nobody meant: nothing panics, whatever they decode to.

use surety_ledger::audit::audit;
use surety_ledger::testing::NETWORK;
use surety_ledger::{AnyAction, SignedTransaction};
use surety_primitives::codec;

use super::{Dice, World, actions};

fn scramble(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        let Some(at) = usize::try_from(dice.below(bytes.len() as u64 + 1)).ok().filter(|at| *at < bytes.len()) else {
            bytes.push(u8::try_from(dice.below(256)).unwrap());
            continue;
        };
        match dice.below(4) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][usize::try_from(dice.below(5)).unwrap()],
            2 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, 0),
        }
    }
}

#[test]
fn random_bytes_are_nobodys_transaction_and_never_panic() {
    let mut dice = Dice(3);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..dice.below(200)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        if let Ok(transaction) = SignedTransaction::decode(&bytes) {
            assert!(transaction.verify(NETWORK).is_err(), "nobody signed this");
        }
        // As a borsh action, a known tag in front.
        bytes.insert(0, dice.pick(surety_ledger::action::ACTIONS).unwrap().0);
        if let Ok(action) = codec::decode::<AnyAction>(&bytes, 1 << 16) {
            let _ = (action.check(), action.typed_parts());
        }
    }
}

#[test]
fn scrambled_actions_run_without_panic_and_keep_every_invariant() {
    let mut dice = Dice(4);
    for _ in 0..10 {
        let mut world = World::new();
        for _ in 0..60 {
            world.chain.wait(actions::pause(&mut dice));
            world.nonces.clear();
            let mut run = world.chain.begin();
            for _ in 0..20 {
                let Some((name, action)) = actions::next(&mut dice, &world.chain) else { continue };
                let mut bytes = codec::encode(&action);
                if dice.once_in(2) {
                    scramble(&mut dice, &mut bytes);
                }
                if let Ok(action) = codec::decode::<AnyAction>(&bytes, 1 << 16) {
                    let _ = world.run(&mut run, name, action);
                }
            }
            world.chain.commit(run);
            assert_eq!(audit(world.chain.rows()).err(), None);
        }
    }
}
