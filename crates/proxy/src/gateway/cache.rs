//! Results of reads that cannot change any more.
//!
//! Always true: what is kept was named by a block's hash, or lies at or below the final block.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::hex;
use super::json::Json;

/// What an entry costs besides its texts, about.
const OVERHEAD: u64 = 128;

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<String, Bytes> for ByBytes {
    fn weight(&self, key: &String, result: &Bytes) -> u64 {
        OVERHEAD + key.len() as u64 + result.len() as u64
    }
}

/// The cache.
pub(crate) struct Reads(Option<Cache<String, Bytes, ByBytes>>);

impl Reads {
    /// A cache of so many bytes; none for 0.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / 1_024).unwrap_or(usize::MAX).max(16);
        Self((bytes > 0).then(|| Cache::with_weighter(entries, bytes, ByBytes)))
    }

    /// The key of a read that may be kept, when blocks up to `last` are final.
    pub(crate) fn key(&self, method: &str, params: &Json<'_>, last: u64) -> Option<String> {
        self.0.as_ref()?;
        is_immutable(method, params, last).then(|| {
            let mut key = format!("{method} ");
            params.write(&mut key);
            key
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.0.as_ref()?.get(key)
    }

    /// Keeps a result, unless it says that there is nothing yet.
    pub(crate) fn keep(&self, key: String, result: &Bytes) {
        if let Some(cache) = self.0.as_ref().filter(|_| result.as_ref() != b"null") {
            cache.insert(key, result.clone());
        }
    }
}

fn is_immutable(method: &str, params: &Json<'_>, last: u64) -> bool {
    let params = params.as_list().unwrap_or_default();
    match method {
        "eth_chainId" | "net_version" | "web3_sha3" => true,
        "eth_getBlockByHash"
        | "eth_getHeaderByHash"
        | "eth_getBlockTransactionCountByHash"
        | "eth_getUncleByBlockHashAndIndex"
        | "eth_getUncleCountByBlockHash"
        | "eth_getTransactionByBlockHashAndIndex" => true,
        "eth_getBlockByNumber"
        | "eth_getHeaderByNumber"
        | "eth_getBlockReceipts"
        | "eth_getBlockTransactionCountByNumber"
        | "eth_getUncleByBlockNumberAndIndex"
        | "eth_getUncleCountByBlockNumber"
        | "eth_getTransactionByBlockNumberAndIndex" => params.first().is_some_and(|block| is_final(block, last)),
        "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => {
            params.get(1).is_some_and(|block| is_final(block, last))
        }
        "eth_getStorageAt" | "eth_getProof" => params.get(2).is_some_and(|block| is_final(block, last)),
        "eth_getLogs" => params.first().is_some_and(|filter| is_final_range(filter, last)),
        _ => false,
    }
}

fn is_final(block: &Json<'_>, last: u64) -> bool {
    let number = block.as_str().and_then(|text| hex::quantity(text).ok()).and_then(|number| u64::try_from(number).ok());
    number.is_some_and(|number| number <= last)
}

fn is_final_range(filter: &Json<'_>, last: u64) -> bool {
    let bound = |key: &str| filter.get(key).is_some_and(|block| is_final(block, last));
    filter.get("blockHash").is_none() && bound("fromBlock") && bound("toBlock")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn is_kept(method: &str, params: &str) -> bool {
        is_immutable(method, &Json::read(params.as_bytes(), 8).unwrap(), 100)
    }

    #[test]
    fn only_what_is_final_or_named_by_hash_is_kept() {
        for (method, params, kept) in [
            ("eth_getBlockByNumber", r#"["0x64",false]"#, true),
            ("eth_getBlockByNumber", r#"["0x65",false]"#, false),
            ("eth_getBlockByNumber", r#"["latest",false]"#, false),
            ("eth_getBlockByNumber", r#"["finalized",false]"#, false),
            ("eth_getBlockByNumber", "[]", false),
            ("eth_getBlockByHash", r#"["0x01",true]"#, true),
            ("eth_getBalance", r#"["0x01","0x1"]"#, true),
            ("eth_getBalance", r#"["0x01"]"#, false),
            ("eth_getLogs", r#"[{"fromBlock":"0x1","toBlock":"0x2"}]"#, true),
            ("eth_getLogs", r#"[{"fromBlock":"0x1"}]"#, false),
            ("eth_getLogs", r#"[{"fromBlock":"0x1","toBlock":"latest"}]"#, false),
            ("eth_getTransactionReceipt", r#"["0x01"]"#, false),
            ("eth_blockNumber", "[]", false),
            ("eth_chainId", "[]", true),
        ] {
            assert_eq!(is_kept(method, params), kept, "{method} {params}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_not_kept_and_the_bytes_are_bounded() {
        let reads = Reads::new(10_000);
        reads.keep("a".to_owned(), &Bytes::from_static(b"null"));
        assert_eq!(reads.get("a"), None);
        for at in 0..1_000 {
            reads.keep(at.to_string(), &Bytes::from(vec![b'1'; 500]));
        }
        assert!((0..1_000).filter(|at| reads.get(&at.to_string()).is_some()).count() <= 20);
        assert!(Reads::new(0).key("eth_chainId", &Json::List(Vec::new()), 0).is_none());
    }
}
