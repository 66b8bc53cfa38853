//! Tries a transaction on the state at the tip before the pool takes it, so that what cannot pay fills no pool and the
//! sender hears at once why.

use surety_ledger::transaction::Error as TransactionError;
use surety_ledger::{BlockMeta, Error, Key, VerifiedTransaction, prefetch};
use surety_primitives::ids::Height;

use crate::core::Core;
use crate::execution::{Run, Source};
use crate::mempool::MempoolError;
use crate::storage::StateReader;

/// Refuses what the ledger would refuse now. A nonce above the account's next passes if the pool has those between.
pub(crate) async fn check(core: &Core, transaction: &VerifiedTransaction) -> Result<(), MempoolError> {
    loop {
        let (Some(reader), Some(tip)) = (core.reader(), core.tip()) else { return Err(MempoolError::Unavailable) };
        let height = Height(tip.height.0.saturating_add(1));
        let meta = BlockMeta { network: tip.network, height, now: tip.clock };
        let (expected, given) = match apply(reader.as_ref(), meta, transaction).await? {
            Ok(()) => return Ok(()),
            Err(Error::Transaction(TransactionError::BadNonce { expected, given })) if given > expected => {
                (expected, given)
            }
            Err(error) => return Err(refused(&error)),
        };
        let next = core.with_mempool(|pool| pool.next_nonce(&transaction.signer(), expected));
        // One that replaces a waiting one is below `next` and passes as well.
        if given <= next {
            return Ok(());
        }
        // A block that came in between took those before from the pool: the state has them now.
        if core.tip().is_some_and(|now| now.height == tip.height) {
            return Err(refused(&TransactionError::BadNonce { expected: next, given }.into()));
        }
    }
}

fn refused(error: &Error) -> MempoolError {
    MempoolError::Refused { code: error.name().to_owned(), message: error.to_string() }
}

async fn apply(
    reader: &dyn StateReader,
    meta: BlockMeta,
    transaction: &VerifiedTransaction,
) -> Result<Result<(), Error>, MempoolError> {
    let source = Tip(reader);
    let mut run = Run::begin(&source, meta, prefetch(transaction).into_iter().collect()).await?;
    // An action that fails still pays its fee; what waits in the pool may yet make it succeed.
    run.apply(&source, transaction).await
}

struct Tip<'a>(&'a dyn StateReader);

impl Source for Tip<'_> {
    type Error = MempoolError;

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, MempoolError> {
        self.0.rows(keys).await.map(|(values, _)| values).map_err(|_| MempoolError::Unavailable)
    }
}
