//! Transactions on their way between nodes: batches to every peer, from whoever took them in first.
//!
//! Every node is connected to every other, so nothing is passed on a second time. What came in here and still waits is
//! repeated, because a peer may have been away. Peers that send what does not decode are blocked.

use std::sync::Arc;
use std::time::Duration;

use borsh::BorshDeserialize as _;
use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select;
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Handle, IoBuf, Metrics, Spawner};
use surety_ledger::{SignedTransaction, VerifiedTransaction};
use surety_primitives::codec;

use crate::core::{Core, Outbox};

/// Most bytes of one batch on the wire.
pub(crate) const MAX_BATCH_BYTES: usize = 128 * 1024;
/// How long a batch is gathered after its first transaction: short against a block, long against a packet.
const GATHER: Duration = Duration::from_millis(15);
/// How often an empty batch tells peers that this node is there, and this node how many are.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How often what still waits here is sent again, in heartbeats.
const REPEAT: u32 = 5;

/// Starts sending and receiving.
pub(crate) fn start<E, B, S, R>(
    context: &E,
    core: &Arc<Core>,
    outbox: Outbox,
    blocker: B,
    (sender, receiver): (S, R),
) -> [Handle<()>; 2]
where
    E: Spawner + Clock + Metrics,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let (core_out, core_in) = (Arc::clone(core), Arc::clone(core));
    [
        context.child("gossip_out").spawn(|context| send(context, core_out, outbox, sender)),
        context.child("gossip_in").spawn(|_| receive(core_in, receiver, blocker)),
    ]
}

async fn send<E, S>(context: E, core: Arc<Core>, mut outbox: Outbox, mut sender: S)
where
    E: Clock,
    S: Sender<PublicKey = PublicKey>,
{
    let mut beats = 0_u32;
    loop {
        select! {
            first = outbox.recv() => {
                let Some(first) = first else { return };
                context.sleep(GATHER).await;
                let mut waiting = vec![first];
                while let Ok(next) = outbox.try_recv() {
                    waiting.push(next);
                }
                broadcast(&core, &mut sender, &waiting);
            },
            () = context.sleep(HEARTBEAT) => {
                beats = beats.wrapping_add(1);
                let again = if beats.is_multiple_of(REPEAT) { core.with_mempool(|pool| pool.local()) } else { Vec::new() };
                broadcast(&core, &mut sender, &again);
            },
        }
    }
}

/// Sends in as few batches as fit; none at all is one empty batch.
fn broadcast<S: Sender<PublicKey = PublicKey>>(core: &Core, sender: &mut S, all: &[Arc<VerifiedTransaction>]) {
    for batch in batches(all) {
        let reached = sender.send(Recipients::All, IoBuf::from(codec::encode(&batch)), false);
        core.set_peers(reached.len());
    }
}

fn batches(all: &[Arc<VerifiedTransaction>]) -> Vec<Vec<SignedTransaction>> {
    // Four bytes say how many there are.
    let room = MAX_BATCH_BYTES - 4;
    let mut batches = vec![Vec::new()];
    let mut used = 0;
    for transaction in all {
        if used + transaction.bytes() > room {
            batches.push(Vec::new());
            used = 0;
        }
        used += transaction.bytes();
        if let Some(batch) = batches.last_mut() {
            batch.push(transaction.signed().clone());
        }
    }
    batches
}

async fn receive<B, R>(core: Arc<Core>, mut receiver: R, mut blocker: B)
where
    B: Blocker<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    while let Ok((peer, message)) = receiver.recv().await {
        let bytes: &[u8] = message.as_ref();
        let decoded =
            if bytes.len() > MAX_BATCH_BYTES { None } else { Vec::<SignedTransaction>::try_from_slice(bytes).ok() };
        let verified = decoded.and_then(|batch| core.verify_all(&batch));
        let Some(batch) = verified else {
            commonware_p2p::block!(blocker, peer, "a batch of transactions was not valid");
            continue;
        };
        for transaction in batch {
            // Refused here (full, known, expired) is no fault of the peer.
            let _ = core.admit(transaction, false);
        }
    }
}
