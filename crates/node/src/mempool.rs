//! Transactions that wait for a block.
//!
//! Always true: at most one transaction an account and nonce; the counts and bytes are within [`Limits`]; what is in
//! the pool was signed by its sender and belongs to this network.
//! Never here: the state. Whether a transaction can pay is decided where it is executed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use surety_ledger::VerifiedTransaction;
use surety_primitives::{Address, Amount, Hash32, Seconds};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most transactions.
    pub transactions: usize,
    /// Most bytes of all together.
    pub bytes: usize,
    /// Most transactions of one account.
    pub per_account: usize,
    /// Most bytes of one.
    pub transaction_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { transactions: 20_000, bytes: 32 << 20, per_account: 64, transaction_bytes: 64 << 10 }
    }
}

/// Why a transaction is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MempoolError {
    /// The signature, network or form is wrong.
    #[error("the transaction is not valid: {0}")]
    Invalid(String),
    /// Executing it now would be refused; the ledger's code.
    #[error("the ledger refuses the transaction: {message}")]
    Refused {
        /// The ledger's stable name of the rejection.
        code: String,
        /// For people.
        message: String,
    },
    /// It is in the pool already.
    #[error("the transaction is in the pool already")]
    Known,
    /// Its expiry is before the ledger clock.
    #[error("the transaction expired at {expires}, the ledger clock is at {clock}")]
    Expired {
        /// The transaction's expiry, ledger seconds.
        expires: u64,
        /// The ledger clock, seconds.
        clock: u64,
    },
    /// One of the same account and nonce waits and pays nearly as much.
    #[error("another transaction with this nonce waits; replacing it takes a fee of at least {needed}")]
    Underpriced {
        /// Fee that replaces it.
        needed: Amount,
    },
    /// The account has too many waiting.
    #[error("the account has {0} transactions waiting, which is the limit")]
    AccountFull(usize),
    /// The pool is full of transactions that pay at least as much.
    #[error("the pool is full; a fee above {0} would be taken")]
    Full(Amount),
    /// Larger than one transaction may be.
    #[error("{size} bytes are more than the {limit} that a transaction may have")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The node is stopping or not yet started.
    #[error("the node does not take transactions now")]
    Unavailable,
}

impl MempoolError {
    /// A stable code for answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "transaction_invalid",
            Self::Refused { .. } => "transaction_refused",
            Self::Known => "transaction_known",
            Self::Expired { .. } => "transaction_expired",
            Self::Underpriced { .. } => "transaction_underpriced",
            Self::AccountFull(_) => "account_full",
            Self::Full(_) => "mempool_full",
            Self::TooLarge { .. } => "transaction_too_large",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// The transaction and its signer.
    pub transaction: Arc<VerifiedTransaction>,
    /// Whether it came in through this node: then this node repeats it to its peers until it is included.
    pub local: bool,
}

impl Pooled {
    fn hash(&self) -> Hash32 {
        self.transaction.hash()
    }

    fn size(&self) -> usize {
        self.transaction.bytes()
    }

    fn fee(&self) -> Amount {
        self.transaction.transaction().fee
    }

    fn expires(&self) -> Seconds {
        self.transaction.transaction().expires
    }

    fn nonce(&self) -> u64 {
        self.transaction.transaction().nonce
    }

    fn rank(&self) -> Rank {
        (self.fee(), self.hash())
    }
}

type Rank = (Amount, Hash32);

/// What the pool holds, for answers and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Transactions waiting.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Accounts that have some waiting.
    pub accounts: usize,
}

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    limits: Limits,
    clock: Seconds,
    by_account: BTreeMap<Address, BTreeMap<u64, Pooled>>,
    by_hash: HashMap<Hash32, (Address, u64)>,
    by_fee: BTreeSet<Rank>,
    bytes: usize,
}

impl Mempool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            clock: Seconds(0),
            by_account: BTreeMap::new(),
            by_hash: HashMap::new(),
            by_fee: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { transactions: self.by_hash.len(), bytes: self.bytes, accounts: self.by_account.len() }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Whether this transaction waits.
    #[must_use]
    pub fn contains(&self, hash: &Hash32) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// The nonce after the highest that waits for this account, where the nonces from `next` on are all there.
    #[must_use]
    pub fn next_nonce(&self, account: &Address, next: u64) -> u64 {
        let waiting = self.by_account.get(account);
        (next..).find(|nonce| !waiting.is_some_and(|queue| queue.contains_key(nonce))).unwrap_or(next)
    }

    /// Takes a transaction, in place of one with the same nonce that pays at least 10 % less.
    ///
    /// # Errors
    /// See [`MempoolError`]; the pool is unchanged then.
    pub fn insert(&mut self, new: Pooled) -> Result<(), MempoolError> {
        if new.size() > self.limits.transaction_bytes {
            return Err(MempoolError::TooLarge { size: new.size(), limit: self.limits.transaction_bytes });
        }
        if self.contains(&new.hash()) {
            return Err(MempoolError::Known);
        }
        if new.expires() < self.clock {
            return Err(MempoolError::Expired { expires: new.expires().0, clock: self.clock.0 });
        }
        let account = new.transaction.signer();
        let nonce = new.nonce();
        let queue = self.by_account.get(&account);
        match queue.and_then(|queue| queue.get(&nonce)) {
            Some(old) => {
                let needed = replacement_fee(old.fee());
                if new.fee() < needed {
                    return Err(MempoolError::Underpriced { needed });
                }
            }
            None if queue.is_some_and(|queue| queue.len() >= self.limits.per_account) => {
                return Err(MempoolError::AccountFull(self.limits.per_account));
            }
            None => {}
        }
        self.check_room(&new)?;
        self.remove(&account, nonce);
        self.add(account, nonce, new);
        while self.is_over() {
            self.drop_cheapest();
        }
        Ok(())
    }

    /// Candidates for a block: accounts by the fee of their first transaction, each account's in the order of nonces, from the
    /// first one on that is not `used` by a block that is not final yet.
    #[must_use]
    pub fn candidates(&self, most: usize, most_bytes: usize, used: &HashSet<Hash32>) -> Vec<Arc<VerifiedTransaction>> {
        let mut heads: BTreeSet<(Amount, Hash32, Address, u64)> = BTreeSet::new();
        let head = |account: &Address, first: &Pooled| (first.fee(), first.hash(), *account, first.nonce());
        for (account, queue) in &self.by_account {
            let first = queue.values().find(|pooled| !used.contains(&pooled.hash()));
            heads.extend(first.map(|first| head(account, first)));
        }
        let mut chosen = Vec::new();
        let mut bytes = 0_usize;
        while let Some((_, _, account, nonce)) = heads.pop_last() {
            let Some(queue) = self.by_account.get(&account) else { continue };
            let mut rest = queue.range(nonce..);
            let Some((_, pooled)) = rest.next() else { continue };
            if chosen.len() == most || bytes.saturating_add(pooled.size()) > most_bytes {
                break;
            }
            bytes = bytes.saturating_add(pooled.size());
            chosen.push(Arc::clone(&pooled.transaction));
            heads.extend(rest.next().map(|(_, next)| head(&account, next)));
        }
        chosen
    }

    /// What came in here and still waits: it is repeated to peers, who may have been away.
    #[must_use]
    pub fn local(&self) -> Vec<Arc<VerifiedTransaction>> {
        let all = self.by_account.values().flat_map(BTreeMap::values);
        all.filter(|pooled| pooled.local).map(|pooled| Arc::clone(&pooled.transaction)).collect()
    }

    /// Forgets a transaction that the ledger refuses, unless it came in here and its turn may yet come. A peer's is
    /// forgotten either way, or transactions that never come due could crowd out all others; the peer repeats its own.
    pub fn refused(&mut self, hash: &Hash32, may_pass_later: bool) {
        let Some((account, nonce)) = self.by_hash.get(hash).copied() else { return };
        let is_local = self.by_account.get(&account).and_then(|queue| queue.get(&nonce)).is_some_and(|one| one.local);
        if !(may_pass_later && is_local) {
            self.remove(&account, nonce);
        }
    }

    /// Follows a final block: what it included (with every lower nonce of the account) and what has expired goes.
    pub fn finalized(&mut self, included: &[(Address, u64)], clock: Seconds) {
        let ticked = clock > self.clock;
        self.clock = self.clock.max(clock);
        for (account, nonce) in included {
            let queue = self.by_account.get(account);
            let used: Vec<u64> = queue.map(|q| q.range(..=*nonce).map(|(n, _)| *n).collect()).unwrap_or_default();
            for nonce in used {
                self.remove(account, nonce);
            }
        }
        if !ticked {
            return;
        }
        let all = self.by_account.iter().flat_map(|(account, queue)| queue.iter().map(move |(n, p)| (account, n, p)));
        let expired = all.filter(|(_, _, pooled)| pooled.expires() < self.clock);
        let expired: Vec<(Address, u64)> = expired.map(|(account, nonce, _)| (*account, *nonce)).collect();
        for (account, nonce) in expired {
            self.remove(&account, nonce);
        }
    }

    fn check_room(&self, new: &Pooled) -> Result<(), MempoolError> {
        let full =
            self.by_hash.len() >= self.limits.transactions || self.bytes.saturating_add(new.size()) > self.limits.bytes;
        match self.by_fee.first() {
            Some((cheapest, _)) if full && new.fee() <= *cheapest => Err(MempoolError::Full(*cheapest)),
            _ => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.by_hash.len() > self.limits.transactions || self.bytes > self.limits.bytes
    }

    fn drop_cheapest(&mut self) {
        if let Some((_, hash)) = self.by_fee.first().copied() {
            self.refused(&hash, false);
        }
    }

    fn add(&mut self, account: Address, nonce: u64, new: Pooled) {
        self.bytes = self.bytes.saturating_add(new.size());
        self.by_hash.insert(new.hash(), (account, nonce));
        self.by_fee.insert(new.rank());
        self.by_account.entry(account).or_default().insert(nonce, new);
    }

    fn remove(&mut self, account: &Address, nonce: u64) {
        let Some(queue) = self.by_account.get_mut(account) else { return };
        if let Some(old) = queue.remove(&nonce) {
            self.bytes = self.bytes.saturating_sub(old.size());
            self.by_hash.remove(&old.hash());
            self.by_fee.remove(&old.rank());
        }
        if queue.is_empty() {
            self.by_account.remove(account);
        }
    }
}

/// A tenth more than the fee that waits, rounded up: anything less would let a sender fill the network for nothing.
fn replacement_fee(fee: Amount) -> Amount {
    Amount(fee.0.saturating_add(fee.0.div_ceil(10)).max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use surety_ledger::Transaction;
    use surety_ledger::bank::Transfer;
    use surety_primitives::NetworkId;
    use surety_primitives::wallet::AccountKey;

    const LIMITS: Limits = Limits { transactions: 4, bytes: 10_000, per_account: 3, transaction_bytes: 1_000 };

    fn pooled(label: &str, nonce: u64, fee: u128, expires: u64) -> Pooled {
        let to = AccountKey::from_label("bob").address();
        let transaction = Transaction {
            network: NetworkId(7),
            nonce,
            expires: Seconds(expires),
            fee: Amount(fee),
            action: Transfer { to, amount: Amount(1) }.into(),
        };
        let signed = transaction.sign(&AccountKey::from_label(label));
        Pooled { transaction: Arc::new(signed.verify(NetworkId(7)).unwrap()), local: false }
    }

    fn order(pool: &Mempool) -> Vec<(u128, u64)> {
        let candidates = pool.candidates(10, 10_000, &HashSet::new());
        candidates.iter().map(|one| (one.transaction().fee.0, one.transaction().nonce)).collect()
    }

    #[test]
    fn candidates_come_by_fee_and_each_account_in_the_order_of_nonces() {
        let mut pool = Mempool::new(LIMITS);
        for one in [pooled("ana", 5, 1, 9), pooled("ana", 6, 100, 9), pooled("eve", 0, 10, 9)] {
            pool.insert(one).unwrap();
        }
        assert_eq!(order(&pool), [(10, 0), (1, 5), (100, 6)]);
        assert_eq!(pool.candidates(1, 10_000, &HashSet::new()).len(), 1);
        assert!(pool.candidates(10, 10, &HashSet::new()).is_empty());
        let under_way = HashSet::from([pooled("ana", 5, 1, 9).transaction.hash()]);
        let rest = pool.candidates(10, 10_000, &under_way);
        assert_eq!(rest.iter().map(|one| one.transaction().nonce).collect::<Vec<_>>(), [6, 0]);
        assert_eq!(pool.next_nonce(&pooled("ana", 5, 1, 9).transaction.signer(), 5), 7);
    }

    #[test]
    fn a_tenth_more_replaces_and_less_changes_nothing() {
        let mut pool = Mempool::new(LIMITS);
        pool.insert(pooled("ana", 5, 101, 9)).unwrap();
        let needed = Amount(112);
        assert_eq!(pool.insert(pooled("ana", 5, 111, 9)), Err(MempoolError::Underpriced { needed }));
        assert_eq!(pool.insert(pooled("ana", 5, 101, 9)), Err(MempoolError::Known));
        assert_eq!(order(&pool), [(101, 5)]);
        pool.insert(pooled("ana", 5, 112, 9)).unwrap();
        assert_eq!(order(&pool), [(112, 5)]);
        assert_eq!(pool.stats().transactions, 1);
    }

    #[test]
    fn a_full_pool_takes_only_what_pays_more_and_drops_the_cheapest() {
        let mut pool = Mempool::new(LIMITS);
        for (i, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            pool.insert(pooled(name, 0, 10 + i as u128, 9)).unwrap();
        }
        assert_eq!(pool.insert(pooled("e", 0, 10, 9)), Err(MempoolError::Full(Amount(10))));
        pool.insert(pooled("e", 0, 50, 9)).unwrap();
        assert_eq!(order(&pool), [(50, 0), (13, 0), (12, 0), (11, 0)]);
    }

    #[test]
    fn one_account_cannot_fill_the_pool_and_size_and_expiry_are_checked() {
        let mut pool = Mempool::new(LIMITS);
        for nonce in 0..3 {
            pool.insert(pooled("ana", nonce, 5, 9)).unwrap();
        }
        assert_eq!(pool.insert(pooled("ana", 3, 5, 9)), Err(MempoolError::AccountFull(3)));
        pool.finalized(&[], Seconds(8));
        assert_eq!(pool.insert(pooled("eve", 0, 5, 7)), Err(MempoolError::Expired { expires: 7, clock: 8 }));
        let mut small = Mempool::new(Limits { transaction_bytes: 10, ..LIMITS });
        assert!(matches!(small.insert(pooled("ana", 0, 5, 9)), Err(MempoolError::TooLarge { limit: 10, .. })));
    }

    #[test]
    fn what_was_included_or_has_expired_goes_and_the_books_balance() {
        let mut pool = Mempool::new(LIMITS);
        for one in [pooled("ana", 1, 5, 20), pooled("ana", 2, 5, 20), pooled("ana", 3, 5, 20), pooled("eve", 0, 5, 10)]
        {
            pool.insert(one).unwrap();
        }
        let ana = pooled("ana", 1, 5, 20).transaction.signer();
        pool.finalized(&[(ana, 2)], Seconds(10));
        assert_eq!(order(&pool).len(), 2, "an expiry at the clock itself is still good");
        pool.finalized(&[], Seconds(11));
        assert_eq!(order(&pool), [(5, 3)]);
        pool.finalized(&[], Seconds(21));
        assert_eq!(pool.stats(), Stats::default());
        assert!(pool.by_fee.is_empty() && pool.by_account.is_empty());
    }

    #[test]
    fn a_nonce_that_is_not_due_is_kept_only_where_it_came_in() {
        let mut pool = Mempool::new(LIMITS);
        let (own, other) = (Pooled { local: true, ..pooled("ana", 5, 1, 9) }, pooled("eve", 5, 1, 9));
        let hashes = [own.hash(), other.hash()];
        pool.insert(own).unwrap();
        pool.insert(other).unwrap();
        hashes.iter().for_each(|hash| pool.refused(hash, true));
        assert!(pool.contains(&hashes[0]) && !pool.contains(&hashes[1]));
        assert_eq!(pool.local().len(), 1);
        pool.refused(&hashes[0], false);
        assert!(pool.is_empty());
    }
}
