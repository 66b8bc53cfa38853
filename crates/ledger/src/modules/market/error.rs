//! Why the marketplace refuses.

use surety_primitives::{Amount, Seconds};

errors! {
    /// Rejections of the marketplace (`market.md` B3).
    pub enum Error {
        /// The account owns a live provider.
        #[error("this account is a provider already")]
        6001 => AlreadyProvider,
        /// Less stake than the fixed part.
        #[error("a provider stakes at least {least} CALL")]
        6002 => StakeBelowFixed {
            /// The fixed part.
            least: Amount,
        },
        /// Another provider answers under this key, or did.
        #[error("the key is or was a provider's")]
        6003 => KeyInUse,
        /// Not 32 bytes of a usable ed25519 key.
        #[error("not a usable ed25519 key")]
        6004 => BadKey,
        /// Someone else's.
        #[error("only the provider's owner may do this")]
        6005 => NotOwner,
        /// No such provider.
        #[error("there is no such provider")]
        6006 => UnknownProvider,
        /// No such service.
        #[error("there is no such service")]
        6007 => UnknownService,
        /// No such purchase.
        #[error("there is no such purchase")]
        6008 => UnknownPurchase,
        /// No such dataset or version.
        #[error("there is no such dataset or version")]
        6009 => UnknownDataset,
        /// The stake would fall below what revenue requires.
        #[error("at least {needed} CALL must stay staked")]
        6010 => StakeNeeded {
            /// What must stay.
            needed: Amount,
        },
        /// What is sold or promised would not be covered.
        #[error("not covered: {free} CALL are free, {needed} are needed")]
        6011 => CoverageShort {
            /// Backing less exposure and debts.
            free: Amount,
            /// What the action would take of it.
            needed: Amount,
        },
        /// Eight withdrawals wait already.
        #[error("at most 8 withdrawals of stake may wait")]
        6012 => TooManyUnbondings,
        /// Nothing's time has come.
        #[error("nothing is mature yet")]
        6013 => NotMature,
        /// Penalties are still owed.
        #[error("{owed} CALL of penalties are owed")]
        6014 => DebtOpen {
            /// How much.
            owed: Amount,
        },
        /// A field is outside its range.
        #[error("{field} is out of range: {rule}")]
        6015 => BadRange {
            /// Which field.
            field: &'static str,
            /// What holds for it.
            rule: &'static str,
        },
        /// More unacknowledged calls than a package may have.
        #[error("the window may have at most {most} calls here")]
        6016 => WindowTooWide {
            /// What it may have.
            most: u32,
        },
        /// More cover than k times the price, or a cap below one cover.
        #[error("the cover is out of range: {rule}")]
        6017 => BadCover {
            /// What holds for it.
            rule: &'static str,
        },
        /// The provider lists as many services as it may.
        #[error("a provider lists at most {most} services")]
        6018 => TooManyServices {
            /// How many.
            most: u32,
        },
        /// The pauses of 30 days are used up.
        #[error("the pause allowance of 30 days is used up")]
        6019 => PauseSpent,
        /// Paused or resumed already.
        #[error("nothing to change")]
        6020 => Unchanged,
        /// Someone else's dataset.
        #[error("only the publisher of the dataset may do this")]
        6021 => NotPublisher,
        /// Retired already.
        #[error("this version was retired at {at}")]
        6022 => Retired {
            /// When.
            at: Seconds,
        },
        /// The reference was used for other terms.
        #[error("the reference was used for a purchase on other terms")]
        6023 => RefReused,
        /// The service is not this provider's.
        #[error("the service is not this provider's")]
        6024 => ServiceMismatch,
        /// The listing changed.
        #[error("the listing is at version {current} now")]
        6025 => VersionChanged {
            /// Its version.
            current: u32,
        },
        /// The price is above what the buyer would pay.
        #[error("the price is {price} CALL, above the most that was offered")]
        6026 => FeeAboveMax {
            /// The price.
            price: Amount,
        },
        /// Provider or service sells nothing for now.
        #[error("not sold at the moment")]
        6027 => Paused,
        /// The provider left.
        #[error("the provider has left")]
        6028 => Stopped,
        /// Less stake than required, for longer than the grace.
        #[error("the provider has staked {stake} CALL, {needed} are required")]
        6029 => StakeShort {
            /// What it staked.
            stake: Amount,
            /// What is required.
            needed: Amount,
        },
        /// The package's end lies outside the listing's range.
        #[error("the package must last {least} to {most} seconds")]
        6030 => BadExpiry {
            /// Shortest life.
            least: Seconds,
            /// Longest life.
            most: Seconds,
        },
        /// No lane, or more than allowed.
        #[error("a purchase has 1 to {most} lanes")]
        6031 => TooManyLanes {
            /// Most lanes.
            most: u16,
        },
        /// Someone else's purchase.
        #[error("only the consumer may do this")]
        6032 => NotConsumer,
        /// Nothing is left of it.
        #[error("the purchase is settled")]
        6033 => Settled,
        /// No voucher acknowledges more than what is claimed.
        #[error("no voucher acknowledges anything new")]
        6034 => NothingNew,
        /// The time for claims is over.
        #[error("claims ended at {at}")]
        6035 => ClaimClosed {
            /// When.
            at: Seconds,
        },
        /// No tranche's delay is over.
        #[error("nothing is mature: the next release is possible at {at}")]
        6036 => NothingMature {
            /// When the earliest named tranche is due; the last moment of all where none exists.
            at: Seconds,
        },
        /// Not yet.
        #[error("too early: possible from {at}")]
        6037 => TooEarly {
            /// From when.
            at: Seconds,
        },
        /// No longer.
        #[error("too late: possible until {at}")]
        6038 => WindowOver {
            /// Until when.
            at: Seconds,
        },
        /// No signed opening call of the lane.
        #[error("the lane's opening call is missing or not valid")]
        6039 => NoOpening,
        /// More than may be unacknowledged.
        #[error("at most {most} calls can be shown")]
        6040 => AboveWindow {
            /// How many.
            most: u64,
        },
        /// Neither side of the purchase.
        #[error("only a party of the purchase may do this")]
        6041 => NotParty,
        /// The evidence does not prove the fault.
        #[error("the evidence proves no fault: {reason}")]
        6042 => BadProof {
            /// What is wrong with it.
            reason: String,
        },
        /// Signed by another key than the provider's at that time.
        #[error("the answer was not signed by the provider's key of its time")]
        6043 => NotThisKey,
        /// Reported before.
        #[error("this fault is known for this purchase")]
        6044 => Known,
        /// Proven too late.
        #[error("faults of this purchase could be proven until {at}")]
        6045 => TooOld {
            /// Until when.
            at: Seconds,
        },
        /// Nothing to collect.
        #[error("nothing is due")]
        6046 => NothingDue,
        /// The row is still needed.
        #[error("row {index} is not due for deletion")]
        6047 => NotDue {
            /// Which of the named rows.
            index: u32,
        },
        /// A list of the action is empty or too long.
        #[error("{field} has {least} to {most} entries")]
        6048 => BadCount {
            /// Which list.
            field: &'static str,
            /// Fewest.
            least: u32,
            /// Most.
            most: u32,
        },
        /// Bytes that are not what they should be.
        #[error("{field} cannot be read")]
        6049 => Malformed {
            /// Which field.
            field: &'static str,
        },
        /// Shown or contested before.
        #[error("this was done before")]
        6050 => AlreadyDone,
        /// Signed by no key that may, or for another purchase or lane, or above what its chain allows.
        #[error("the voucher does not count: {reason}")]
        6051 => BadVoucher {
            /// What is wrong with it.
            reason: String,
        },
    }
}
