//! What the chain keeps: blocks, the states after the newest of them, and what waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;

use super::block::Block;
use super::pool::Pool;
use crate::World;

/// How many blocks are kept, with their transactions and receipts.
const BLOCKS_KEPT: usize = 65_536;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) blocks: VecDeque<Arc<Block>>,
    /// The states after the newest blocks, in the same order.
    pub(super) worlds: VecDeque<Arc<World>>,
    pub(super) by_hash: HashMap<B256, u64>,
    pub(super) by_tx: HashMap<B256, (u64, usize)>,
    pub(super) pool: Pool,
    /// Seconds by which the clock was put forward: for good under [`Clock::Wall`], for the next block under [`Clock::Step`].
    pub(super) ahead: u64,
    /// The exact time of the next block, when someone has set it.
    pub(super) next_timestamp: Option<u64>,
}

impl Ledger {
    /// A ledger that has only its first block.
    pub(super) fn new(genesis: Block, world: World) -> Self {
        Self {
            by_hash: HashMap::from([(genesis.hash, genesis.header.number)]),
            blocks: VecDeque::from([Arc::new(genesis)]),
            worlds: VecDeque::from([Arc::new(world)]),
            by_tx: HashMap::new(),
            pool: Pool::default(),
            ahead: 0,
            next_timestamp: None,
        }
    }

    pub(super) fn newest(&self) -> &Arc<Block> {
        self.blocks.back().unwrap_or_else(|| unreachable!("there is always a block"))
    }

    pub(super) fn world(&self) -> Arc<World> {
        Arc::clone(self.worlds.back().unwrap_or_else(|| unreachable!("there is always a state")))
    }

    pub(super) fn block(&self, number: u64) -> Option<Arc<Block>> {
        self.blocks.get(self.place(number, self.blocks.len())?).cloned()
    }

    pub(super) fn world_at(&self, number: u64) -> Option<Arc<World>> {
        self.worlds.get(self.place(number, self.worlds.len())?).cloned()
    }

    /// Where the block with this number stands among the newest `kept` ones.
    fn place(&self, number: u64, kept: usize) -> Option<usize> {
        let back = usize::try_from(self.newest().header.number.checked_sub(number)?).ok()?;
        kept.checked_sub(back.checked_add(1)?)
    }

    pub(super) fn keep(&mut self, block: Arc<Block>, world: World, history: usize) {
        self.by_hash.insert(block.hash, block.header.number);
        for (index, mined) in block.transactions.iter().enumerate() {
            self.by_tx.insert(mined.tx.hash(), (block.header.number, index));
        }
        self.blocks.push_back(block);
        self.worlds.push_back(Arc::new(world));
        while self.worlds.len() > history {
            self.worlds.pop_front();
        }
        if self.blocks.len() > BLOCKS_KEPT
            && let Some(old) = self.blocks.pop_front()
        {
            self.by_hash.remove(&old.hash);
            for mined in &old.transactions {
                self.by_tx.remove(&mined.tx.hash());
            }
        }
    }
}
