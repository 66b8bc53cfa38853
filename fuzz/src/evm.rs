//! Decoders of `surety-evm`.

use surety_evm::{Transaction, Witness};

/// Raw transactions of every type, with and without blobs: what is taken has one encoding and one sender.
pub fn transaction(bytes: &[u8]) {
    let Ok(transaction) = Transaction::decode(bytes) else { return };
    assert_eq!(transaction.raw().as_ref(), bytes);
    assert_eq!(Transaction::decode(transaction.raw()).map(|again| again.sender()).ok(), Some(transaction.sender()));
    let call = transaction.call(1);
    assert_eq!(call.from, transaction.sender());
    let _ = transaction.check_blobs();
}

/// Recorded state: what is read is written the same.
pub fn witness(bytes: &[u8]) {
    if let Ok(witness) = borsh::from_slice::<Witness>(bytes) {
        assert_eq!(borsh::to_vec(&witness).ok().as_deref(), Some(bytes));
    }
}
