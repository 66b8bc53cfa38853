//! Chains of random actions: after every block the audit holds, and a failed action costs its fee and nothing else.

mod actions;
mod bytes;

use std::collections::{BTreeMap, BTreeSet};

use surety_ledger::audit::audit;
use surety_ledger::bank::{ACCOUNTS, TOTALS};
use surety_ledger::testing::{NETWORK, Scenario, account};
use surety_ledger::{
    AnyAction, ApplyError, BlockRun, Key, MemoryRows, Row, Rows, Transaction, VerifiedTransaction, prefetch,
};
use surety_primitives::Seconds;

/// Actions in a chain; then another one begins, so that an audit stays cheap.
const CHAIN: usize = 1_000;

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    /// A number below `sides`, which is at least 1.
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// Once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of a list, nothing of an empty one.
    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let length = u64::try_from(list.len()).ok().filter(|length| *length > 0)?;
        list.get(usize::try_from(self.below(length)).unwrap()).cloned()
    }
}

/// How often each action succeeded and failed.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, (u32, u32)>);

impl Tally {
    fn add(&mut self, name: &'static str, failed: bool) {
        let (done, refused) = self.0.entry(name).or_default();
        *if failed { refused } else { done } += 1;
    }

    // A generator that never gets an action through would prove nothing about it.
    fn assert_all_happened(&self) {
        for (_, name) in surety_ledger::action::ACTIONS {
            let done = self.0.get(name).map_or(0, |(done, _)| *done);
            assert!(done >= 5, "{name} succeeded {done} times: {:?}", self.0);
        }
    }
}

/// A state of which only some rows were read so far.
struct Piecemeal<'a> {
    all: &'a MemoryRows,
    known: BTreeSet<Key>,
}

impl Rows for Piecemeal<'_> {
    fn row(&self, key: &Key) -> Row<'_> {
        if self.known.contains(key) { self.all.row(key) } else { Row::Unknown }
    }
}

/// A chain with its accounts' next nonces inside the current block.
struct World {
    chain: Scenario,
    nonces: BTreeMap<&'static str, u64>,
}

impl World {
    fn new() -> Self {
        let chain = actions::NAMES.iter().fold(Scenario::new(), |chain, name| chain.account(name, 50_000));
        let chain = chain.with_params(|params| params.purchase_kept = Seconds(0));
        Self { chain, nonces: BTreeMap::new() }
    }

    fn nonce(&self, name: &'static str) -> u64 {
        let committed = || self.chain.get(ACCOUNTS, &actions::address(name)).unwrap_or_default().nonce;
        self.nonces.get(name).copied().unwrap_or_else(committed)
    }

    /// Runs the action again where rows come only when they are asked for, as in a node: the outcome is the same.
    fn assert_same_piecemeal(&self, before: BlockRun, transaction: &VerifiedTransaction, after: &BlockRun) {
        let mut rows = Piecemeal { all: self.chain.rows(), known: prefetch(transaction).into_iter().collect() };
        for _ in 0..100 {
            let mut run = before.clone();
            match run.apply(&rows, transaction) {
                Err(ApplyError::Missing(keys)) => rows.known.extend(keys),
                Ok(()) => {
                    return assert_eq!(run.finish(), after.clone().finish(), "the order of reading decides nothing");
                }
                Err(ApplyError::Rejected(error)) => panic!("{error}"),
            }
        }
        panic!("an action asks for a bounded number of rows, in few steps");
    }

    /// Runs one action in the open block. Says whether it failed; nothing if it never got into the block.
    fn run(&mut self, run: &mut BlockRun, name: &'static str, action: AnyAction) -> Option<bool> {
        let (nonce, fee) = (self.nonce(name), action.fee(self.chain.params()));
        let expires = self.chain.now();
        let transaction = Transaction { network: NETWORK, nonce, expires, fee, action };
        let verified = transaction.sign(&account(name)).verify(NETWORK).ok()?;
        let before = run.clone();
        match run.apply(self.chain.rows(), &verified) {
            Ok(()) => self.nonces.insert(name, nonce + 1),
            Err(ApplyError::Rejected(_)) => {
                assert_eq!(run.clone().finish(), before.finish(), "what is rejected leaves the block as it was");
                return None;
            }
            Err(ApplyError::Missing(keys)) => panic!("a state in memory is complete: {keys:?}"),
        };
        if nonce % 16 == 0 {
            self.assert_same_piecemeal(before.clone(), &verified, run);
        }
        let failed = run.receipts().last().is_some_and(|receipt| receipt.failure.is_some());
        if failed {
            self.assert_only_fee(name, before, run.clone());
        }
        Some(failed)
    }

    fn assert_only_fee(&self, name: &str, before: BlockRun, after: BlockRun) {
        let (before, after) = (before.finish().writes, after.finish().writes);
        let allowed = [ACCOUNTS.key(&actions::address(name)), TOTALS.key(&())];
        for (key, value) in &after {
            let same = before.get(key) == Some(value);
            assert!(same || allowed.contains(key), "a failed action writes only its signer's account and the totals");
        }
        assert!(before.keys().all(|key| after.contains_key(key)), "a failed action takes nothing back");
    }
}

fn play(seed: u64, actions: usize) -> Tally {
    let (mut dice, mut tally) = (Dice(seed), Tally::default());
    for _ in 0..actions.div_ceil(CHAIN) {
        let mut world = World::new();
        let mut left = CHAIN;
        while left > 0 {
            world.chain.wait(actions::pause(&mut dice));
            world.nonces.clear();
            let mut run = world.chain.begin();
            for _ in 0..left.min(1 + usize::try_from(dice.below(12)).unwrap()) {
                let Some((name, action)) = actions::next(&mut dice, &world.chain) else { continue };
                let title = action.name();
                if let Some(failed) = world.run(&mut run, name, action) {
                    tally.add(title, failed);
                    left -= 1;
                }
            }
            world.chain.commit(run);
            if let Err(reason) = audit(world.chain.rows()) {
                panic!("seed {seed}: {reason}");
            }
        }
    }
    tally
}

#[test]
fn random_actions_keep_every_invariant() {
    play(1, 50_000).assert_all_happened();
}

#[test]
fn other_random_actions_keep_every_invariant() {
    let seed = std::env::var("SURETY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2);
    play(seed, 50_000).assert_all_happened();
}
