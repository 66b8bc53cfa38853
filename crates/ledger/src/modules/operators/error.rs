//! Why an operator is not registered or changed.

errors! {
    /// Rejections of the operators' registry.
    pub enum Error {
        /// The account is an operator already.
        #[error("this account is an operator already")]
        2001 => AlreadyOperator,
        /// The account is no operator.
        #[error("this account is not an operator")]
        2002 => NotOperator,
        /// Another operator uses the BLS key or the network identity.
        #[error("the BLS key or the network identity belongs to another operator")]
        2003 => KeyInUse,
        /// The proof of possession does not hold.
        #[error("the proof of possession does not hold: {reason}")]
        2004 => NoPossession {
            /// What is wrong with it.
            reason: surety_primitives::bls::Error,
        },
        /// A text of the profile is too long or holds control characters.
        #[error("the profile's name may have 64 bytes, its addresses 256, and none control characters")]
        2005 => BadProfile,
    }
}
