//! Why money does not move.

use surety_primitives::Amount;

errors! {
    /// Rejections of the bank.
    pub enum Error {
        /// An amount of nothing.
        #[error("the amount is zero")]
        1001 => ZeroAmount,
        /// The account does not hold that much.
        #[error("insufficient funds: the account holds {balance} CALL, {needed} are needed")]
        1002 => InsufficientFunds {
            /// What it holds.
            balance: Amount,
            /// What is needed.
            needed: Amount,
        },
    }
}
