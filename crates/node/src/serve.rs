//! A node with its HTTP API: the API's questions, answered by a running node.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use surety_ledger::{Genesis, Key, SignedTransaction};
use surety_primitives::header::{FinalHeader, Header};
use surety_primitives::{Address, Hash32, Height};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::api::{
    Answer, Api, Backend, Export, FinalBlock, Health, PlacedReceipt, ReadFailure, ReadRows, Refusal, RowAnswer, serve,
};
use crate::block::Block;
use crate::config::NodeConfig;
use crate::core::FinalizedBlock;
use crate::handle::QueryError;
use crate::mempool::MempoolError;
use crate::run::{NodeError, RunningNode};

/// Final blocks that the API may fall behind the node.
const LAG: usize = 256;

/// Runs a node with the HTTP API that its configuration asks for, until `shutdown` resolves or a part of it ends.
///
/// # Errors
/// See [`NodeError`].
///
/// # Panics
/// As [`crate::run()`].
pub fn run<S>(config: NodeConfig, shutdown: S) -> Result<(), NodeError>
where
    S: Future<Output = ()> + Send + 'static,
{
    // Before anything runs: an address in use is the commonest reason not to start.
    let listener = config.api.map(listen).transpose()?;
    let (stop, stopping) = watch::channel(false);
    let shutdown = async move {
        shutdown.await;
        // Connections are drained while the engine still runs; nobody may be listening any more.
        let _ = stop.send(true);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    crate::run::run(config, shutdown, move |node| answer(node, listener, stopping))
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, NodeError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| NodeError::Address { what: "HTTP API", address, source })
}

async fn answer(node: RunningNode, listener: Option<std::net::TcpListener>, mut stop: watch::Receiver<bool>) {
    let Some(listener) = listener else {
        let _ = stop.wait_for(|stop| *stop).await;
        return std::future::pending().await;
    };
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the API cannot listen"),
    };
    tracing::info!(address = ?listener.local_addr(), "the API answers");
    let limits = node.config.limits;
    let (blocks, _) = broadcast::channel(LAG);
    tokio::spawn(translate(node.node.subscribe(), blocks.clone()));
    serve(listener, Api::new(Arc::new(NodeBackend { node, blocks }), limits, stop)).await;
    // The end of the API is asked for with the end of the node, and must not be taken for a failure.
    std::future::pending().await
}

/// The running node, as the API asks it.
struct NodeBackend {
    node: RunningNode,
    blocks: broadcast::Sender<Arc<FinalBlock>>,
}

/// Passes final blocks on in the API's form.
async fn translate(mut from: broadcast::Receiver<Arc<FinalizedBlock>>, to: broadcast::Sender<Arc<FinalBlock>>) {
    loop {
        match from.recv().await {
            // Nobody listening is no error.
            Ok(block) => drop(to.send(Arc::new(final_block(&block.block, block.receipts.clone())))),
            Err(broadcast::error::RecvError::Lagged(missed)) => tracing::warn!(missed, "final blocks were missed"),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn final_block(block: &Block, receipts: Option<Arc<Vec<surety_ledger::Receipt>>>) -> FinalBlock {
    FinalBlock { header: block.header().clone(), transactions: block.transactions().to_vec(), receipts }
}

impl Backend for NodeBackend {
    fn genesis(&self) -> &Genesis {
        self.node.node.genesis()
    }

    fn submit(&self, signed: SignedTransaction) -> Answer<'_, Result<Hash32, Refusal>> {
        Box::pin(async move {
            let again = signed.clone();
            match self.node.node.submit(signed).await {
                // Asking twice is no fault: the first time counts.
                Err(MempoolError::Known) => again
                    .verify(self.genesis().network)
                    .map(|known| known.hash())
                    .map_err(|error| refusal(MempoolError::Invalid(error.to_string()))),
                other => other.map_err(refusal),
            }
        })
    }

    fn is_waiting(&self, hash: &Hash32) -> bool {
        self.node.node.is_waiting(hash)
    }

    fn next_nonce(&self, account: &Address, next: u64) -> u64 {
        self.node.node.next_nonce(account, next)
    }

    fn tip(&self) -> Option<Header> {
        self.node.node.tip()
    }

    fn latest(&self) -> Answer<'_, Option<FinalHeader>> {
        Box::pin(self.node.node.latest())
    }

    fn block(&self, height: Height) -> Answer<'_, Option<FinalBlock>> {
        Box::pin(async move {
            let block = self.node.node.block(height).await?;
            let stored = self.node.receipts.at(height.0).ok().flatten().filter(|stored| stored.block == block.hash());
            Some(final_block(&block, stored.map(|stored| Arc::new(stored.receipts))))
        })
    }

    fn prove_final<'a>(&'a self, header: &'a Header) -> Answer<'a, Option<FinalHeader>> {
        Box::pin(self.node.node.prove_final(header))
    }

    fn receipt<'a>(&'a self, hash: &'a Hash32) -> Answer<'a, Option<PlacedReceipt>> {
        Box::pin(async move {
            let (height, receipt) = self.node.receipts.find(hash).ok().flatten()?;
            Some(PlacedReceipt { height: Height(height), receipt })
        })
    }

    fn rows<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<ReadRows, ReadFailure>> {
        Box::pin(async move {
            let (values, header) = self.node.node.rows(keys).await.map_err(failure)?;
            Ok(ReadRows { values, header })
        })
    }

    fn row<'a>(&'a self, key: &'a Key) -> Answer<'a, Result<RowAnswer, ReadFailure>> {
        Box::pin(async move {
            let row = self.node.node.row(key).await.map_err(failure)?;
            Ok(RowAnswer { value: row.value, proof: row.proof.bytes, header: row.header })
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<FinalBlock>> {
        self.blocks.subscribe()
    }

    fn health(&self) -> Health {
        let waiting = self.node.node.mempool();
        Health {
            waiting_transactions: waiting.transactions,
            waiting_bytes: waiting.bytes,
            waiting_accounts: waiting.accounts,
            peers: self.node.node.peers(),
            faults: self.node.node.faults().len(),
            voting: self.node.voting,
            since_block: self.node.node.since_block(),
        }
    }

    fn export(&self) -> Option<Export<'_>> {
        let asked: Export<'_> = Box::pin(async move { self.node.node.export().await.map_err(failure) });
        self.node.config.audit.then_some(asked)
    }

    fn metrics(&self) -> String {
        self.node.node.metrics()
    }
}

fn failure(error: QueryError) -> ReadFailure {
    match error {
        QueryError::NotReady => ReadFailure::NotReady,
        QueryError::NoCertificate => ReadFailure::NoCertificate,
        QueryError::Store(error) => ReadFailure::Store(error.to_string()),
    }
}

fn refusal(error: MempoolError) -> Refusal {
    let (name, message) = (error.code().to_owned(), error.to_string());
    match error {
        MempoolError::Refused { code, message } => Refusal::Ledger { name: code, message },
        MempoolError::Underpriced { .. } => Refusal::Underpriced(message),
        MempoolError::AccountFull(_) | MempoolError::Full(_) => Refusal::Full(message),
        MempoolError::Unavailable => Refusal::Unavailable,
        MempoolError::Invalid(_)
        | MempoolError::Known
        | MempoolError::Expired { .. }
        | MempoolError::TooLarge { .. } => Refusal::Invalid { name, message },
    }
}
