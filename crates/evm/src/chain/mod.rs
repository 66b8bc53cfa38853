//! A chain for development and tests: real transactions, real blocks, in memory.
//!
//! Invariant: every block's header commits to its transactions, receipts and state by the roots that Ethereum defines, and a
//! state never changes once its block is closed. An edit from outside is a block of its own, so that this holds after it too.
//! Never here: consensus, reorganisations, beacon roots (EIP-4788, EIP-2935) or requests of the consensus layer.

mod accounts;
mod block;
mod ledger;
mod pool;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_consensus::Header;
use alloy_consensus::Transaction as _;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{Address, B256, Log};

pub use accounts::{DEV_ACCOUNTS, DEV_KEYS, fund};
pub use block::{Block, Mined, PlacedLog, Signed};
pub use pool::{MAX_TX_GAS, Refusal};

use crate::index::Index;
use crate::{Chain, ExecuteError, Head, Limits, Session, Snapshot, StateError, Transaction, World};
use ledger::Ledger;
use pool::admit;

/// How a chain behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// Gas that fits in a block.
    pub gas_limit: u64,
    /// The first block's base fee, in wei a gas.
    pub base_fee: u64,
    /// The first block's time, in seconds since 1970.
    pub timestamp: u64,
    /// How the time of later blocks is told.
    pub clock: Clock,
    /// Whether a transaction is mined as it arrives; otherwise only [`DevChain::mine`] makes blocks.
    pub automine: bool,
    /// Who receives the tips.
    pub coinbase: Address,
    /// For how many blocks the state is kept, at least one.
    pub history: usize,
}

/// How the time of a block is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// By the machine's clock, but always after the block before.
    Wall,
    /// So many seconds after the block before: the same transactions then give the same hashes.
    Step(u64),
}

impl Default for Config {
    /// Chain 31337 with blocks of 60 million gas, mined by the machine's clock as transactions arrive.
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            gas_limit: 60_000_000,
            base_fee: 1_000_000_000,
            timestamp: 1_767_225_600,
            clock: Clock::Wall,
            automine: true,
            coinbase: Address::ZERO,
            history: 1024,
        }
    }
}

/// What a chain begins with: a state, and what is known of how it came about.
#[derive(Clone, Debug, Default)]
pub struct Genesis {
    /// The state of block 0.
    pub world: World,
    /// The logs that led to it, which the index takes as those of block 0. They are in no receipt.
    pub logs: Vec<Log>,
    /// The contracts in it and who created them.
    pub created: Vec<(Address, Address)>,
}

impl From<World> for Genesis {
    fn from(world: World) -> Self {
        Self { world, ..Self::default() }
    }
}

/// A chain in memory. All methods may be called from any thread.
#[derive(Debug)]
pub struct DevChain {
    config: Config,
    ledger: RwLock<Ledger>,
    index: Arc<Index>,
}

impl DevChain {
    /// A chain that begins with this state.
    pub fn new(config: Config, genesis: impl Into<Genesis>) -> Self {
        let genesis = genesis.into();
        let header = Header {
            gas_limit: config.gas_limit,
            base_fee_per_gas: Some(config.base_fee),
            timestamp: config.timestamp,
            beneficiary: config.coinbase,
            ..block::empty()
        };
        let block = block::seal(header, Vec::new(), genesis.world.root());
        let mut world = genesis.world;
        world.set_block_hash(0, block.hash);
        let index = Arc::new(Index::new(0));
        index.add_genesis(&genesis.logs, &genesis.created);
        Self { config, ledger: RwLock::new(Ledger::new(block, world)), index }
    }

    /// How the chain behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Accepts a raw transaction, and mines it at once when the chain does so and its turn has come.
    ///
    /// # Errors
    /// A [`Refusal`] in the words of geth; the chain is then unchanged.
    pub fn submit(&self, raw: &[u8]) -> Result<B256, Refusal> {
        let tx = Transaction::decode(raw)?;
        tx.check_blobs()?;
        let hash = tx.hash();
        let mut ledger = self.write();
        if ledger.by_tx.contains_key(&hash) {
            return Err(Refusal::Known);
        }
        admit(&tx, &ledger.world(), self.config.chain_id, self.config.gas_limit)?;
        ledger.pool.add(tx)?;
        if self.config.automine && self.has_ready(&ledger) {
            self.append(&mut ledger, |_| {});
        }
        Ok(hash)
    }

    /// Closes a block over what waits and fits, empty when nothing does.
    pub fn mine(&self) -> Arc<Block> {
        self.append(&mut self.write(), |_| {})
    }

    /// Changes the state by hand, in a block of its own that also holds what waits and fits.
    pub fn edit(&self, change: impl FnOnce(&mut World)) -> Arc<Block> {
        self.append(&mut self.write(), change)
    }

    /// Puts the clock forward by so many seconds; the next block shows it.
    pub fn increase_time(&self, seconds: u64) {
        let mut ledger = self.write();
        ledger.ahead = ledger.ahead.saturating_add(seconds);
    }

    /// Sets the exact time of the next block. Returns whether that is after the newest one; nothing changes otherwise.
    pub fn set_next_timestamp(&self, timestamp: u64) -> bool {
        let mut ledger = self.write();
        let later = timestamp > ledger.newest().header.timestamp;
        if later {
            ledger.next_timestamp = Some(timestamp);
        }
        later
    }

    /// The newest block.
    pub fn newest(&self) -> Arc<Block> {
        Arc::clone(self.read().newest())
    }

    /// The block with this number, when it exists and is still kept.
    pub fn block(&self, number: u64) -> Option<Arc<Block>> {
        self.read().block(number)
    }

    /// The block with this hash, when it is still kept.
    pub fn block_by_hash(&self, hash: &B256) -> Option<Arc<Block>> {
        let ledger = self.read();
        ledger.block(*ledger.by_hash.get(hash)?)
    }

    /// The block that has this transaction, and the transaction's index in it.
    pub fn find(&self, tx: &B256) -> Option<(Arc<Block>, usize)> {
        let ledger = self.read();
        let (number, index) = *ledger.by_tx.get(tx)?;
        Some((ledger.block(number)?, index))
    }

    /// The transaction with this hash, when it waits.
    pub fn waiting(&self, tx: &B256) -> Option<Signed> {
        self.read().pool.get(tx).map(Signed::from)
    }

    /// All transactions that wait, by sender and nonce.
    pub fn pool(&self) -> Vec<Signed> {
        self.read().pool.all().map(Signed::from).collect()
    }

    /// The nonce the next transaction of an account should have, after those that wait.
    pub fn next_nonce(&self, account: Address) -> u64 {
        let ledger = self.read();
        ledger.pool.next_nonce(account, nonce_in(&ledger.world(), account))
    }

    /// The state after a block, when it exists and its state is still kept.
    pub fn world(&self, number: u64) -> Option<Arc<World>> {
        self.read().world_at(number)
    }

    /// The base fee of the next block, in wei a gas.
    pub fn next_base_fee(&self) -> u64 {
        self.next_header(&self.read()).base_fee_per_gas.unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ledger> {
        self.ledger.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ready(&self, ledger: &Ledger) -> bool {
        let base_fee = self.next_header(ledger).base_fee_per_gas.unwrap_or_default();
        let world = ledger.world();
        ledger.pool.best(|sender| nonce_in(&world, sender), base_fee, &[]).is_some()
    }

    fn next_header(&self, ledger: &Ledger) -> Header {
        let parent = ledger.newest();
        let timestamp = ledger.next_timestamp.unwrap_or_else(|| {
            let told = match self.config.clock {
                Clock::Step(seconds) => parent.header.timestamp.saturating_add(seconds),
                Clock::Wall => wall_clock(),
            };
            told.saturating_add(ledger.ahead).max(parent.header.timestamp.saturating_add(1))
        });
        block::open(parent, timestamp, self.config.coinbase, self.config.gas_limit)
    }

    fn append(&self, ledger: &mut Ledger, change: impl FnOnce(&mut World)) -> Arc<Block> {
        let mut header = self.next_header(ledger);
        let mut world = World::clone(&ledger.world());
        change(&mut world);
        let transactions = self.fill(ledger, &mut header, &mut world);
        let block = Arc::new(block::seal(header, transactions, world.root()));
        world.set_block_hash(block.header.number, block.hash);
        self.index.add(&block);
        ledger.keep(Arc::clone(&block), world, self.config.history.max(1));
        if matches!(self.config.clock, Clock::Step(_)) {
            ledger.ahead = 0;
        }
        ledger.next_timestamp = None;
        block
    }

    /// Takes what waits into the open block, until nothing more fits.
    fn fill(&self, ledger: &mut Ledger, header: &mut Header, world: &mut World) -> Vec<Mined> {
        let parent = ledger.newest();
        let before = head_of(&parent.header, parent.hash, self.config.chain_id);
        let mut session = Session::new(&Snapshot { head: before, source: Arc::new(world.clone()) }, Limits::default());
        *session.head_mut() = head_of(header, B256::ZERO, self.config.chain_id);
        let base_fee = session.head().base_fee;
        let (mut mined, mut skipped) = (Vec::new(), Vec::new());
        loop {
            let nonce = |sender| session.nonce(sender).unwrap_or_default();
            let Some(tx) = ledger.pool.best(nonce, base_fee, &skipped).cloned() else { break };
            if !fits(&tx, header) {
                skipped.push(tx.sender());
                continue;
            }
            match session.execute(&tx) {
                Ok(outcome) => {
                    ledger.pool.remove(tx.sender(), tx.envelope().nonce());
                    block::include(header, &mut mined, Signed::from(&tx), outcome);
                }
                Err(error) if may_pass_later(&error) => skipped.push(tx.sender()),
                Err(error) => {
                    tracing::debug!(hash = %tx.hash(), %error, "a waiting transaction can be in no block");
                    ledger.pool.remove(tx.sender(), tx.envelope().nonce());
                }
            }
        }
        world.apply(session.changes());
        ledger.pool.prune(|sender| nonce_in(world, sender));
        mined
    }
}

fn fits(tx: &Transaction, header: &Header) -> bool {
    let blobs = header.blob_gas_used.unwrap_or_default() + tx.envelope().blob_gas_used().unwrap_or_default();
    tx.envelope().gas_limit() <= header.gas_limit - header.gas_used
        && blobs <= BlobParams::osaka().max_blob_gas_per_block()
}

/// Blobs may become cheaper, and the sender may receive something.
fn may_pass_later(error: &ExecuteError) -> bool {
    matches!(error, ExecuteError::Refused { rule: "blob_fee_too_low" | "insufficient_funds", .. })
}

fn nonce_in(world: &World, account: Address) -> u64 {
    world.get(account).map_or(0, |account| account.nonce())
}

fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

impl Chain for DevChain {
    fn chain_id(&self) -> u64 {
        self.config.chain_id
    }

    fn index(&self) -> Option<Arc<Index>> {
        Some(Arc::clone(&self.index))
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        let ledger = self.read();
        let number = block.unwrap_or(ledger.newest().header.number);
        let absent = || StateError::Absent { what: format!("block {number}") };
        let block = ledger.block(number).ok_or_else(absent)?;
        let source = ledger.world_at(number).ok_or_else(absent)?;
        Ok(Snapshot { head: head_of(&block.header, block.hash, self.config.chain_id), source })
    }
}

/// A block's header as calls see it.
fn head_of(header: &Header, hash: B256, chain_id: u64) -> Head {
    Head {
        chain_id,
        number: header.number,
        hash,
        parent_hash: header.parent_hash,
        timestamp: header.timestamp,
        gas_limit: header.gas_limit,
        base_fee: header.base_fee_per_gas.unwrap_or_default(),
        coinbase: header.beneficiary,
        prevrandao: header.mix_hash,
        excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
    }
}
