//! A chain in memory for tests that read as prose.

pub mod faults;
pub mod market;

use std::collections::BTreeMap;

use surety_primitives::bls::BlsSecret;
use surety_primitives::typed_data::Bytes32;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, Amount, Height, NetworkId, Seconds, hash};

use crate::action::AnyAction;
use crate::block::{ApplyError, BlockMeta, BlockRun, Failure, Receipt};
use crate::error::Error;
use crate::genesis::{Balance, Genesis, GenesisOperator};
use crate::modules::bank::{ACCOUNTS, TOTALS, Totals};
use crate::modules::operators::{Profile, possession_namespace};
use crate::modules::params::Params;
use crate::state::{Map, MemoryRows};
use crate::transaction::{SignedTransaction, Transaction, VerifiedTransaction};

/// The network of tests.
pub const NETWORK: NetworkId = NetworkId(1_337);
const START_MS: u64 = 1_700_000_000_000;

/// One operator of a test network; its BLS secret follows from the seed.
#[must_use]
pub fn operator(seed: u8, weight: Amount) -> (BlsSecret, GenesisOperator) {
    let secret = BlsSecret::generate(&[seed; 32]).unwrap_or_else(|_| unreachable!("32 bytes are enough"));
    let operator = GenesisOperator {
        account: AccountKey::from_label(&format!("operator-{seed}")).address(),
        peer: Bytes32([seed; 32]),
        bls_key: secret.key(),
        possession: secret.prove_possession(&possession_namespace(NETWORK)),
        weight,
        profile: Profile { name: format!("operator {seed}"), url: String::new(), gateway: String::new() },
    };
    (secret, operator)
}

/// A chain in memory with accounts that go by name. Each action is a block of its own unless said otherwise.
#[derive(Clone, Debug)]
pub struct Scenario {
    genesis: Genesis,
    rows: MemoryRows,
    height: u64,
    now: Seconds,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// A network of one operator and no other account.
    #[must_use]
    pub fn new() -> Self {
        let operators = vec![operator(200, Amount::call(1_000)).1];
        Self::from_genesis(Genesis {
            network: NETWORK,
            time_ms: START_MS,
            balances: Vec::new(),
            operators,
            params: Params::default(),
        })
    }

    /// The chain of a specification.
    #[must_use]
    pub fn from_genesis(genesis: Genesis) -> Self {
        let mut rows = MemoryRows::default();
        rows.absorb(BlockRun::genesis(&genesis).writes);
        let now = genesis.clock();
        Self { genesis, rows, height: 1, now }
    }

    /// Adds a named account with `call` whole CALL. Only before the first block.
    #[must_use]
    pub fn account(self, name: &str, call: u64) -> Self {
        assert_eq!(self.height, 1, "accounts are given out at genesis");
        let mut genesis = self.genesis;
        genesis.balances.push(Balance { account: account(name).address(), amount: Amount::call(call) });
        Self::from_genesis(genesis)
    }

    /// Changes parameters. Only before the first block.
    #[must_use]
    pub fn with_params(self, change: impl FnOnce(&mut Params)) -> Self {
        assert_eq!(self.height, 1, "parameters are set at genesis");
        let mut genesis = self.genesis;
        change(&mut genesis.params);
        Self::from_genesis(genesis)
    }

    /// The address behind a name.
    #[must_use]
    pub fn address(&self, name: &str) -> Address {
        account(name).address()
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.genesis.network
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.genesis.params
    }

    /// The ledger clock.
    #[must_use]
    pub const fn now(&self) -> Seconds {
        self.now
    }

    /// Lets ledger time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Seconds(seconds));
    }

    /// The state.
    #[must_use]
    pub const fn rows(&self) -> &MemoryRows {
        &self.rows
    }

    /// A record of a table.
    #[must_use]
    pub fn get<K, V>(&self, table: Map<K, V>, id: &K) -> Option<V>
    where
        K: borsh::BorshSerialize + borsh::BorshDeserialize,
        V: borsh::BorshDeserialize,
    {
        self.rows.0.get(&table.key(id)).and_then(|value| table.read_row(value)).map(|(_, record)| record)
    }

    /// Sets a record of a table as no action would, to begin a test in the middle. The audit still has to hold.
    pub fn put<K, V>(&mut self, table: Map<K, V>, id: &K, record: &V)
    where
        K: borsh::BorshSerialize,
        V: borsh::BorshSerialize,
    {
        self.rows.0.insert(table.key(id), table.encode(id, record));
    }

    /// What an account holds.
    #[must_use]
    pub fn balance(&self, name: &str) -> Amount {
        self.get(ACCOUNTS, &self.address(name)).unwrap_or_default().balance
    }

    /// Pools and supply.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.get(TOTALS, &()).unwrap_or_default()
    }

    /// What the account would sign for this action now.
    #[must_use]
    pub fn draft(&self, name: &str, action: impl Into<AnyAction>) -> Transaction {
        let action = action.into();
        let nonce = self.get(ACCOUNTS, &self.address(name)).unwrap_or_default().nonce;
        let fee = action.fee(self.params());
        let expires = self.now.after(Seconds(3_600));
        Transaction { network: self.network(), nonce, expires, fee, action }
    }

    /// Signs an action with the account's next nonce.
    #[must_use]
    pub fn sign(&self, name: &str, action: impl Into<AnyAction>) -> VerifiedTransaction {
        let signed = self.draft(name, action).sign(&account(name));
        signed.verify(self.network()).unwrap_or_else(|error| unreachable!("refused before it was sent: {error}"))
    }

    /// Runs one block with one transaction and keeps what it did.
    pub fn block(&mut self, transaction: &VerifiedTransaction) -> Result<Receipt, ApplyError> {
        let mut run = self.begin();
        run.apply(&self.rows, transaction)?;
        self.height += 1;
        let outcome = run.finish();
        self.rows.absorb(outcome.writes);
        let mut receipts = outcome.receipts;
        Ok(receipts.pop().unwrap_or_else(|| unreachable!("one transaction, one receipt")))
    }

    /// Opens the next block.
    #[must_use]
    pub fn begin(&self) -> BlockRun {
        let meta = BlockMeta { network: self.network(), height: Height(self.height + 1), now: self.now };
        BlockRun::begin(&self.rows, meta).unwrap_or_else(|_| unreachable!("a state in memory is complete"))
    }

    /// Takes over a block's writes.
    pub fn commit(&mut self, run: BlockRun) -> Vec<Receipt> {
        self.height += 1;
        let outcome = run.finish();
        self.rows.absorb(outcome.writes);
        outcome.receipts
    }

    /// The account does this, and it works.
    pub fn does(&mut self, name: &str, action: impl Into<AnyAction>) -> Receipt {
        let transaction = self.sign(name, action);
        let receipt = self.block(&transaction).unwrap_or_else(|error| panic!("{name}: not includable: {error:?}"));
        assert!(receipt.failure.is_none(), "{name}: {:?}", receipt.failure);
        receipt
    }

    /// The account tries this, and it fails with this error and no other effect than the fee.
    pub fn fails(&mut self, name: &str, action: impl Into<AnyAction>, error: impl Into<Error>) {
        let (failure, error) = (self.refused(name, action), error.into());
        assert_eq!((failure.code, failure.message.as_str()), (error.code(), error.to_string().as_str()), "{name}");
    }

    /// The account tries this, and it fails with no other effect than the fee.
    pub fn refused(&mut self, name: &str, action: impl Into<AnyAction>) -> Failure {
        let receipt = self.costs_only_the_fee(name, action);
        assert!(receipt.events.is_empty(), "a failed action leaves no event");
        receipt.failure.unwrap_or_else(|| panic!("{name}: succeeded"))
    }

    /// The account does this, and whether it succeeds or not, nothing but fee and nonce changes.
    pub fn costs_only_the_fee(&mut self, name: &str, action: impl Into<AnyAction>) -> Receipt {
        let transaction = self.sign(name, action);
        let mut without = self.clone();
        let receipt = self.block(&transaction).unwrap_or_else(|error| panic!("{name}: not includable: {error:?}"));
        without.only_fee(&transaction);
        assert_eq!(self.digest(), without.digest(), "nothing changes but fee and nonce");
        receipt
    }

    /// These bytes come as a transaction, and can stand in no block: the block is as if they had not come.
    pub fn turns_away(&mut self, bytes: &[u8]) -> Error {
        let mut without = self.clone();
        without.commit(without.begin());
        let mut run = self.begin();
        let verified = SignedTransaction::decode(bytes).map_err(Error::from).and_then(|tx| tx.verify(self.network()));
        let error = match verified.map(|verified| run.apply(&self.rows, &verified)) {
            Err(error) | Ok(Err(ApplyError::Rejected(error))) => error,
            other => panic!("not turned away: {other:?}"),
        };
        assert!(self.commit(run).is_empty(), "what cannot stand in a block has no receipt");
        assert_eq!(self.digest(), without.digest(), "what cannot stand in a block changes nothing");
        error
    }

    // What the state looks like where only nonce and fee were taken.
    fn only_fee(&mut self, transaction: &VerifiedTransaction) {
        let mut before = self.get(ACCOUNTS, &transaction.signer()).unwrap_or_default();
        let mut totals = self.totals();
        let fee = transaction.transaction().fee;
        let burned = fee.bps_down(self.params().fee_burned_bps);
        before.nonce += 1;
        before.balance = before.balance.saturating_sub(fee);
        totals.burned = totals.burned.saturating_add(burned);
        totals.rewards = totals.rewards.saturating_add(fee.saturating_sub(burned));
        // What a new epoch sets, it sets with or without the action.
        let run = self.begin();
        self.commit(run);
        let account = ACCOUNTS.encode(&transaction.signer(), &before);
        self.rows.0.insert(ACCOUNTS.key(&transaction.signer()), account);
        self.rows.0.insert(TOTALS.key(&()), TOTALS.encode(&(), &totals));
    }

    /// Value is conserved: accounts and pools hold what was minted less what was burned.
    pub fn assert_conserved(&self) {
        assert_conserved(&self.rows);
    }

    /// Root-like digest of the whole state, to compare two states.
    #[must_use]
    pub fn digest(&self) -> surety_primitives::Hash32 {
        let parts: BTreeMap<_, _> = self.rows.0.iter().collect();
        hash::h("surety/test-state/v1", &[&surety_primitives::codec::encode(&parts)])
    }
}

/// The key of a named test account.
#[must_use]
pub fn account(name: &str) -> AccountKey {
    AccountKey::from_label(name)
}

/// Value is conserved, and the market's pools are what its rows say.
///
/// # Panics
/// If not.
pub fn assert_conserved(rows: &MemoryRows) {
    if let Err(reason) = crate::audit::audit(rows) {
        panic!("{reason}");
    }
}
