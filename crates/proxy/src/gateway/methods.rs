//! The table of methods: only what is in it passes, by its exact name.

/// What kind of method it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Carries one signed transaction, or several that stand alone.
    Submission,
    /// Carries signed transactions that run one after the other.
    Bundle,
    /// Carries an operation of ERC-4337, or calls that a wallet makes one of.
    UserOperation,
    /// Asks the node to sign.
    NodeSigns,
    /// Changes the node: always refused.
    Administration,
    /// Runs something without sending it.
    DryRun,
    /// Takes a submission back.
    Cancel,
    /// Reads, and any node answers alike.
    Read,
    /// Reads what one node remembers of the reader, such as a filter.
    Local,
    /// Asks for news: on a websocket only.
    Subscribe,
    /// Answered by the gateway itself.
    Own,
}

impl Class {
    /// Its word, for metrics and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Bundle => "bundle",
            Self::UserOperation => "user_operation",
            Self::NodeSigns => "node_signs",
            Self::Administration => "administration",
            Self::DryRun => "dry_run",
            Self::Cancel => "cancel",
            Self::Read => "read",
            Self::Local => "local",
            Self::Subscribe => "subscribe",
            Self::Own => "own",
        }
    }

    /// Whether it may change the chain or the node: such a request goes to one node and is never hedged.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Submission | Self::Bundle | Self::UserOperation | Self::NodeSigns | Self::Cancel)
    }
}

/// Where in its parameters a method carries what is screened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing is.
    Nothing,
    /// It cannot be screened: refused whatever the policy says.
    Closed,
    /// The first parameter is a signed transaction; there are at most `most`.
    Raw {
        /// Most parameters.
        most: usize,
    },
    /// A signed transaction in a field of the one parameter, which may have these other fields.
    Field {
        /// The transaction.
        field: &'static str,
        /// What else may be there.
        others: &'static [&'static str],
    },
    /// The same with several.
    Fields {
        /// The transactions.
        field: &'static str,
        /// What else may be there.
        others: &'static [&'static str],
    },
    /// As [`Self::Field`], where the parameters are the object itself and hex has no prefix.
    Named {
        /// The transaction.
        field: &'static str,
        /// What else may be there.
        others: &'static [&'static str],
    },
    /// The same with several.
    NamedList {
        /// The transactions.
        field: &'static str,
        /// What else may be there.
        others: &'static [&'static str],
    },
    /// A bundle of MEV-Share, which may hold others.
    Share,
    /// An operation of ERC-4337 and its entry point.
    Operation,
    /// Operations that a wallet's server prepared.
    Prepared,
    /// Calls of EIP-5792.
    Calls,
    /// A transaction that is not signed yet, as first parameter; there are at most `most`.
    Call {
        /// Most parameters.
        most: usize,
    },
    /// A message for a key, at these places.
    Message {
        /// Whose key.
        signer: usize,
        /// The message.
        message: usize,
        /// Most parameters.
        most: usize,
    },
    /// Typed data for a key: the key first, or after it as version 1 has it.
    Typed {
        /// Whose key.
        signer: usize,
        /// The data.
        message: usize,
    },
    /// What a cancellation names, in this field.
    Names {
        /// The field.
        field: &'static str,
    },
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The exact name.
    pub name: &'static str,
    /// The kind.
    pub class: Class,
    /// What it carries.
    pub carrier: Carrier,
}

const BUNDLE: &[&str] = &[
    "blockNumber",
    "minTimestamp",
    "maxTimestamp",
    "revertingTxHashes",
    "droppingTxHashes",
    "replacementUuid",
    "replacementNonce",
    "refundPercent",
    "refundIndex",
    "refundRecipient",
    "refundTxHashes",
    "delayedRefund",
    "builders",
    "uuid",
    "relaySignature",
    "stateBlockNumber",
    "timestamp",
    "targetPools",
    "maxBlockNumber",
];
const PRIVATE: &[&str] = &["maxBlockNumber", "preferences"];
const EXPRESS: &[&str] = &["chainId", "round", "auctionContractAddress", "sequenceNumber", "options", "signature"];
const BLOXROUTE: &[&str] = &[
    "mev_builders",
    "timeout",
    "node_validation",
    "frontrunning_protection",
    "nonce_monitoring",
    "next_validator",
    "validators_only",
    "fallback",
    "blockchain_network",
    "original_sender_account_id",
    "backrunme_reward_address",
];
const BLOXROUTE_BUNDLE: &[&str] = &[
    "block_number",
    "blockchain_network",
    "mev_builders",
    "min_timestamp",
    "max_timestamp",
    "reverting_hashes",
    "uuid",
    "bundle_price",
    "enforce_payout",
    "avoid_mixed_bundles",
    "priority_fee_refund",
    "incoming_refund_recipient",
];

/// Names that begin so change the node.
const ADMINISTRATION: &[&str] = &[
    "engine_",
    "admin_",
    "miner_",
    "clique_",
    "les_",
    "debug_setHead",
    "debug_chaindb",
    "anvil_",
    "hardhat_",
    "evm_",
    "tenderly_",
];

const fn line(name: &'static str, class: Class, carrier: Carrier) -> Method {
    Method { name, class, carrier }
}

const fn raw(name: &'static str, most: usize) -> Method {
    line(name, Class::Submission, Carrier::Raw { most })
}

const fn bundle(name: &'static str) -> Method {
    line(name, Class::Bundle, Carrier::Fields { field: "txs", others: BUNDLE })
}

const fn signs(name: &'static str, carrier: Carrier) -> Method {
    line(name, Class::NodeSigns, carrier)
}

const fn dry(name: &'static str, carrier: Carrier) -> Method {
    line(name, Class::DryRun, carrier)
}

const fn own(name: &'static str) -> Method {
    line(name, Class::Own, Carrier::Nothing)
}

const fn message(signer: usize, message: usize, most: usize) -> Carrier {
    Carrier::Message { signer, message, most }
}

/// Everything but plain reads.
const TABLE: &[Method] = &[
    raw("eth_sendRawTransaction", 1),
    raw("eth_sendRawTransactionSync", 2),
    raw("eth_sendRawTransactionConditional", 2),
    line("eth_sendPrivateTransaction", Class::Submission, Carrier::Field { field: "tx", others: PRIVATE }),
    raw("eth_sendPrivateRawTransaction", 2),
    raw("eth_sendRawPrivateTransaction", 2),
    line("eth_sendBlobs", Class::Submission, Carrier::Fields { field: "txs", others: &["maxBlockNumber"] }),
    raw("eth_submitTransaction", 1),
    bundle("eth_sendBundle"),
    bundle("eth_sendEndOfBlockBundle"),
    bundle("eth_sendMegabundle"),
    line("mev_sendBundle", Class::Bundle, Carrier::Share),
    raw("eea_sendRawTransaction", 1),
    raw("priv_distributeRawTransaction", 1),
    raw("zks_sendRawTransactionWithDetailedOutput", 1),
    raw("klay_sendRawTransaction", 1),
    raw("kaia_sendRawTransaction", 1),
    line(
        "timeboost_sendExpressLaneTransaction",
        Class::Submission,
        Carrier::Field { field: "transaction", others: EXPRESS },
    ),
    line("blxr_tx", Class::Submission, Carrier::Named { field: "transaction", others: BLOXROUTE }),
    line("blxr_private_tx", Class::Submission, Carrier::Named { field: "transaction", others: BLOXROUTE }),
    line("blxr_batch_tx", Class::Submission, Carrier::NamedList { field: "transactions", others: BLOXROUTE }),
    line("blxr_submit_bundle", Class::Bundle, Carrier::NamedList { field: "transaction", others: BLOXROUTE_BUNDLE }),
    line("eth_sendUserOperation", Class::UserOperation, Carrier::Operation),
    line("boost_sendUserOperation", Class::UserOperation, Carrier::Operation),
    line("pimlico_sendCompressedUserOperation", Class::UserOperation, Carrier::Closed),
    line("wallet_sendCalls", Class::UserOperation, Carrier::Calls),
    line("wallet_sendPreparedCalls", Class::UserOperation, Carrier::Prepared),
    line("wallet_sendTransaction", Class::UserOperation, Carrier::Call { most: 1 }),
    signs("eth_sendTransaction", Carrier::Call { most: 1 }),
    signs("eth_sendTransactionSync", Carrier::Call { most: 2 }),
    signs("eth_signTransaction", Carrier::Call { most: 1 }),
    signs("eth_sendUnsignedTransaction", Carrier::Call { most: 1 }),
    signs("eth_resend", Carrier::Closed),
    signs("eth_sign", message(0, 1, 2)),
    signs("eth_signTypedData", Carrier::Typed { signer: 0, message: 1 }),
    signs("eth_signTypedData_v1", Carrier::Typed { signer: 1, message: 0 }),
    signs("eth_signTypedData_v3", Carrier::Typed { signer: 0, message: 1 }),
    signs("eth_signTypedData_v4", Carrier::Typed { signer: 0, message: 1 }),
    signs("personal_sign", message(1, 0, 3)),
    signs("personal_signTransaction", Carrier::Call { most: 2 }),
    signs("personal_sendTransaction", Carrier::Call { most: 2 }),
    signs("personal_signAndSendTransaction", Carrier::Call { most: 2 }),
    signs("personal_unlockAccount", Carrier::Closed),
    signs("personal_importRawKey", Carrier::Closed),
    signs("account_signTransaction", Carrier::Call { most: 2 }),
    signs("account_signData", Carrier::Closed),
    signs("account_signTypedData", Carrier::Typed { signer: 0, message: 1 }),
    signs("parity_postTransaction", Carrier::Call { most: 1 }),
    signs("parity_postSign", message(0, 1, 2)),
    signs("signer_confirmRequest", Carrier::Closed),
    signs("signer_confirmRequestRaw", Carrier::Closed),
    signs("signer_confirmRequestWithToken", Carrier::Closed),
    signs("eea_sendTransaction", Carrier::Closed),
    signs("wallet_invokeMethod", Carrier::Closed),
    dry("eth_call", Carrier::Call { most: 4 }),
    dry("eth_estimateGas", Carrier::Call { most: 4 }),
    dry("eth_createAccessList", Carrier::Call { most: 3 }),
    dry("eth_simulateV1", Carrier::Nothing),
    dry("eth_callMany", Carrier::Nothing),
    dry("eth_callBundle", Carrier::Fields { field: "txs", others: BUNDLE }),
    dry("mev_simBundle", Carrier::Nothing),
    dry("debug_traceCall", Carrier::Call { most: 3 }),
    dry("trace_call", Carrier::Call { most: 3 }),
    dry("trace_callMany", Carrier::Nothing),
    dry("trace_rawTransaction", Carrier::Raw { most: 2 }),
    dry("eth_estimateUserOperationGas", Carrier::Nothing),
    line("eth_cancelPrivateTransaction", Class::Cancel, Carrier::Names { field: "txHash" }),
    line("eth_cancelBundle", Class::Cancel, Carrier::Names { field: "replacementUuid" }),
    line("eth_subscribe", Class::Subscribe, Carrier::Nothing),
    line("eth_unsubscribe", Class::Subscribe, Carrier::Nothing),
    own("surety_screen"),
    own("surety_verdict"),
    own("surety_release"),
];

/// What one node keeps for the reader.
const LOCAL: &[&str] = &[
    "eth_newFilter",
    "eth_newBlockFilter",
    "eth_newPendingTransactionFilter",
    "eth_uninstallFilter",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
];

/// Plain reads, in order.
const READS: &[&str] = &[
    "debug_getRawBlock",
    "debug_getRawHeader",
    "debug_getRawReceipts",
    "debug_getRawTransaction",
    "debug_traceBlockByHash",
    "debug_traceBlockByNumber",
    "debug_traceTransaction",
    "erigon_getHeaderByHash",
    "erigon_getHeaderByNumber",
    "eth_accounts",
    "eth_baseFee",
    "eth_blobBaseFee",
    "eth_blockNumber",
    "eth_chainId",
    "eth_coinbase",
    "eth_config",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getAccount",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getCode",
    "eth_getHeaderByHash",
    "eth_getHeaderByNumber",
    "eth_getLogs",
    "eth_getProof",
    "eth_getRawTransactionByHash",
    "eth_getStorageAt",
    "eth_getStorageValues",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByHash",
    "eth_getTransactionBySenderAndNonce",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_getUncleByBlockHashAndIndex",
    "eth_getUncleByBlockNumberAndIndex",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_getUserOperationByHash",
    "eth_getUserOperationReceipt",
    "eth_getWitness",
    "eth_hashrate",
    "eth_maxPriorityFeePerGas",
    "eth_mining",
    "eth_protocolVersion",
    "eth_supportedEntryPoints",
    "eth_syncing",
    "net_listening",
    "net_peerCount",
    "net_version",
    "ots_getApiLevel",
    "ots_getBlockDetails",
    "ots_getContractCreator",
    "ots_getInternalOperations",
    "ots_getTransactionError",
    "ots_hasCode",
    "ots_searchTransactionsAfter",
    "ots_searchTransactionsBefore",
    "ots_traceTransaction",
    "pimlico_getUserOperationGasPrice",
    "pimlico_getUserOperationStatus",
    "trace_block",
    "trace_filter",
    "trace_get",
    "trace_replayBlockTransactions",
    "trace_replayTransaction",
    "trace_transaction",
    "txpool_content",
    "txpool_contentFrom",
    "txpool_inspect",
    "txpool_status",
    "wallet_getCallsStatus",
    "wallet_getCapabilities",
    "web3_clientVersion",
    "web3_sha3",
];

/// The line of a method, by its exact name.
#[must_use]
pub fn find(name: &str) -> Option<Method> {
    if let Ok(at) = READS.binary_search(&name) {
        return Some(line(READS[at], Class::Read, Carrier::Nothing));
    }
    if let Some(method) = TABLE.iter().find(|method| method.name == name) {
        return Some(*method);
    }
    if let Some(name) = LOCAL.iter().find(|local| **local == name) {
        return Some(line(name, Class::Local, Carrier::Nothing));
    }
    let administers = ADMINISTRATION.iter().find(|prefix| name.starts_with(*prefix));
    administers.map(|prefix| line(prefix, Class::Administration, Carrier::Closed))
}

/// All lines that carry something, for tests and for `describe`.
pub fn carrying() -> impl Iterator<Item = &'static Method> {
    TABLE.iter()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_in_order_and_no_name_comes_twice() {
        assert!(READS.is_sorted());
        let mut names: Vec<&str> =
            TABLE.iter().map(|method| method.name).chain(LOCAL.iter().copied()).chain(READS.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn names_are_matched_to_the_letter() {
        assert_eq!(find("eth_sendRawTransaction").unwrap().class, Class::Submission);
        assert_eq!(find("engine_newPayloadV4").unwrap().class, Class::Administration);
        for name in
            ["eth_sendrawtransaction", "ETH_sendRawTransaction", " eth_call", "eth_call ", "eth_call\0", "", "eth_"]
        {
            assert_eq!(find(name), None, "{name:?}");
        }
    }

    #[test]
    fn whatever_sends_says_where_it_carries_its_load() {
        for method in carrying().filter(|method| method.class.sends()) {
            assert_ne!(method.carrier, Carrier::Nothing, "{}", method.name);
        }
    }
}
