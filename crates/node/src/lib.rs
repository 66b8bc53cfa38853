//! Run one operator's node: consensus, mempool, storage, HTTP API and metrics.
