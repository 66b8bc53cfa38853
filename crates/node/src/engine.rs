//! The wiring: consensus, delivery, state layer, state sync and gossip, in the order in which they must start.
//!
//! Generic over the runtime and the network only, because the simulator replaces those two and nothing else.
//! Never here: what the parts do.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_consensus::marshal::core::Actor as MarshalActor;
use commonware_consensus::marshal::resolver::p2p as backfill;
use commonware_consensus::marshal::standard::{Deferred, Standard};
use commonware_consensus::marshal::{self};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::reporter::AttributableReporter;
use commonware_consensus::simplex::{self, SkipBudget};
use commonware_consensus::types::{Epoch, FixedEpocher, ViewDelta};
use commonware_consensus::{Reporters, simplex::types::Finalization};
use commonware_cryptography::certificate::{ConstantProvider, Verifier as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::{Digested, Digestible as _, Sha256, sha256};
use commonware_glue::stateful::db::{DatabaseSet, SyncEngineConfig, p2p as state_p2p};
use commonware_glue::stateful::probe::{self, Probe};
use commonware_glue::stateful::{Config as StatefulConfig, PruneConfig, Stateful, SyncPlan};
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize};
use rand_core::CryptoRng;
use surety_primitives::Hash32;
use surety_primitives::header::{Header, MAX_SEATS};
use tokio::sync::mpsc;

use crate::application::Application;
use crate::block::{Block, Body, MAX_BLOCK_BYTES};
use crate::chain::{Pacing, root_header};
use crate::core::{Core, FinalizedBlock};
use crate::faults::{FaultWatch, FaultsOnly};
use crate::gossip::{self, MAX_BATCH_BYTES};
use crate::handle::NodeHandle;
use crate::mempool::Limits;
use crate::metrics::Counters;
use crate::scheme::Scheme;
use crate::storage::{self, Databases, Family, MAX_OPERATION_BYTES};
use crate::sync::{MAX_FETCH, StateSync};
use crate::timing::Timed;

/// Channels of the network, in the order of their numbers from 0.
pub(crate) const CHANNELS: u64 = 8;

/// One sender and receiver for each purpose.
pub struct Channels<S, R> {
    /// 0: votes.
    pub votes: (S, R),
    /// 1: certificates.
    pub certificates: (S, R),
    /// 2: certificates that one missed.
    pub resolver: (S, R),
    /// 3: blocks that one missed.
    pub backfill: (S, R),
    /// 4: proposed blocks.
    pub broadcast: (S, R),
    /// 5: operations of the store.
    pub sync: (S, R),
    /// 6: where the tip is.
    pub probe: (S, R),
    /// 7: transactions.
    pub transactions: (S, R),
}

/// How much history a node keeps, in blocks. Short history strands nodes that were away longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Blocks and certificates; at least `operations`.
    pub blocks: usize,
    /// Blocks' worth of the store's operations, for peers that sync.
    pub operations: usize,
    /// Blocks between two prunings, at least 1.
    pub interval: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { blocks: 100_000, operations: 256, interval: 64 }
    }
}

/// What a node is told.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Its identity.
    pub me: PublicKey,
    /// How it votes, or only checks votes.
    pub scheme: Scheme,
    /// The chain.
    pub genesis: surety_ledger::Genesis,
    /// Before the names of its files; nodes that share a storage need different ones.
    pub prefix: String,
    /// How fast it makes blocks.
    pub pacing: Pacing,
    /// Bounds of its pool.
    pub limits: Limits,
    /// What it keeps.
    pub retention: Retention,
    /// Whether an empty folder starts from a recent state of its peers instead of from block 1.
    pub state_sync: bool,
    /// Bytes of the cache that all stores share.
    pub cache_bytes: usize,
    /// Rows that opening the store should be quick for (40 B of memory each while it opens).
    pub live_rows: NonZeroUsize,
}

/// A node that runs.
pub struct Engine {
    /// For those who ask it something.
    pub handle: NodeHandle,
    /// Its actors: when one ends, the node is broken and must stop.
    pub actors: Vec<Handle<()>>,
}

/// The longest message any part sends; all nodes of a network must agree on it, and all may have [`MAX_SEATS`] seats.
#[must_use]
pub fn max_message_size() -> u32 {
    let seats = u32::try_from(MAX_SEATS).unwrap_or(u32::MAX);
    commonware_p2p::max_message_size(&[
        simplex::max_payload_size::<Scheme, sha256::Digest>(seats),
        marshal::max_payload_size::<Standard<Block>, Scheme>(seats, &()),
        probe::max_payload_size::<Standard<Block>, Scheme>(seats),
        state_p2p::max_payload_size::<Family, sha256::Digest>(MAX_FETCH, MAX_OPERATION_BYTES),
        MAX_BATCH_BYTES,
    ])
}

const PAGE: u16 = 4_096;
/// Partition of the journal of this seat's votes.
pub(crate) const VOTES: &str = "simplex";
const MAILBOX: NonZeroUsize = NZUsize!(1_024);
const REPLAY_BUFFER: NonZeroUsize = NZUsize!(1 << 20);
/// Every block is synced at once, so that more than one small write is never gathered; a larger one goes past the buffer.
const WRITE_BUFFER: NonZeroUsize = NZUsize!(16 << 10);
const FETCH_RETRY: Duration = Duration::from_millis(100);
/// Blocks that delivery may run ahead of what is durable.
const PENDING_ACKS: NonZeroUsize = NZUsize!(16);

/// Starts a node on `context`. The network must have been started.
///
/// # Panics
/// If a store cannot be opened: the node must not run then.
pub async fn start<E, P, B, S, R>(
    context: E,
    config: EngineConfig,
    peers: P,
    blocker: B,
    channels: Channels<S, R>,
    archive: Option<mpsc::Sender<Arc<FinalizedBlock>>>,
) -> Engine
where
    E: Spawner + Storage + Clock + Metrics + CryptoRng,
    P: Provider<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let pages = NonZeroUsize::new(config.cache_bytes / usize::from(PAGE)).unwrap_or(NonZeroUsize::MIN);
    let cache = CacheRef::new(NZU16!(PAGE), pages);
    let named = |name: &str| format!("{}{name}", config.prefix);
    let epocher = FixedEpocher::new(NZU64!(u64::MAX));
    // Behind a provider from the first day: an epoch change replaces it by one that knows the scheme of every epoch.
    let provider = ConstantProvider::new(config.scheme.clone());
    let root = root_block::<E>(&config.genesis);
    let root_digest = root.digest();
    let mut actors = Vec::new();

    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key: config.me.clone(),
            peer_provider: peers.clone(),
            blocker: blocker.clone(),
            mailbox_size: MAILBOX,
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: FETCH_RETRY,
            priority_requests: false,
            priority_responses: false,
        },
        channels.backfill,
    );
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: config.me.clone(),
            mailbox_size: MAILBOX,
            deque_size: 16,
            priority: false,
            codec_config: (),
            peer_provider: peers.clone(),
            strategy: Sequential,
        },
    );
    actors.push(broadcast.start(channels.broadcast));

    let certificates = archive_config(&named("finalizations"), &cache, config.scheme.certificate_codec_config());
    let certificates = opened(prunable::Archive::init(context.child("finalizations"), certificates).await);
    let blocks = archive_config(&named("blocks"), &cache, ());
    let blocks = opened(prunable::Archive::init(context.child("blocks"), blocks).await);

    let plan = SyncPlan::init(context.child("plan"), named("plan")).await;
    let (probe, prober) = Probe::new(probe::Config {
        context: context.child("probe"),
        provider: provider.clone(),
        strategy: Sequential,
        mailbox_size: MAILBOX,
        blocker: blocker.clone(),
        minimum_epoch: Epoch::zero(),
        retry_timeout: NZDuration!(Duration::from_millis(500)),
    });
    actors.push(probe.start(channels.probe));
    let plan = if plan.should_sync(config.state_sync) {
        let floor: Option<Finalization<Scheme, sha256::Digest>> = prober.subscribe().await.ok();
        // The probe ends only with the node.
        let Some(floor) = floor else { std::future::pending().await };
        tracing::info!(view = floor.proposal.round.view().get(), "syncing the state of peers");
        plan.set_floor(floor).await
    } else {
        plan
    };

    let (marshal_actor, delivery, floor) = MarshalActor::<_, Standard<Block>, _, _, _, _, _>::init(
        context.child("marshal"),
        certificates,
        blocks,
        marshal::Config {
            provider: provider.clone(),
            epocher: epocher.clone(),
            start: plan.marshal_start(Digested::precomputed(root.clone(), root_digest)),
            partition_prefix: named("marshal"),
            mailbox_size: MAILBOX,
            view_retention: ViewDelta::new(100),
            prunable_items_per_section: NZU64!(256),
            page_cache: cache.clone(),
            replay_buffer: REPLAY_BUFFER,
            key_write_buffer: WRITE_BUFFER,
            value_write_buffer: WRITE_BUFFER,
            block_codec_config: (),
            max_repair: NZUsize!(32),
            max_pending_acks: PENDING_ACKS,
            strategy: Sequential,
        },
    )
    .await;

    let partition = named(VOTES);
    let state_prefix = named("state");
    let counters = Counters::new(&context.child("surety"));
    let (core, outbox) = Core::new(config.genesis, config.pacing, config.limits, counters, archive);
    let core = Arc::new(core);
    let sync = StateSync::start(context.child("sync"), config.me, peers, blocker.clone(), channels.sync);
    let (stateful, state) = Stateful::new(
        context.child("stateful"),
        StatefulConfig {
            application: Application { core: Arc::clone(&core), root },
            db_config: storage::config(&state_prefix, cache.clone(), config.live_rows),
            provider: (),
            marshal: (delivery.clone(), floor),
            mailbox_size: MAILBOX,
            plan,
            resolvers: sync,
            sync_config: SyncEngineConfig {
                fetch_batch_size: MAX_FETCH,
                apply_batch_size: NZU64!(4_096),
                max_outstanding_requests: NZUsize!(16),
            },
            prune_config: Some(prune_config(config.retention)),
            strategy: Sequential,
        },
    );
    let timed = Timed { inner: state.clone(), core: Arc::clone(&core) };
    let automaton = Deferred::new(context.child("deferred"), timed, delivery.clone(), epocher);
    actors.push(marshal_actor.start(state.clone(), buffer, resolver));
    prober.attach(delivery.clone());
    actors.push(stateful.start());

    let handle = NodeHandle::new(Arc::clone(&core), delivery, &context);
    let opening = handle.clone();
    context.child("opening").spawn(move |_| async move {
        let databases = state.subscribe_databases().await;
        opening.opened(Arc::new(databases)).await;
    });
    actors.extend(gossip::start(&context, &core, outbox, blocker.clone(), channels.transactions));

    let watch = FaultWatch { core };
    let faults = AttributableReporter::new(context.child("faults"), config.scheme.clone(), watch, Sequential, true);
    let timeouts = Timeouts::of(config.pacing);
    let simplex = simplex::Engine::new(
        context.child("simplex"),
        simplex::Config {
            scheme: config.scheme,
            elector: RoundRobin::<Sha256>::default(),
            blocker,
            automaton: automaton.clone(),
            relay: automaton.clone(),
            reporter: Reporters::from((automaton, FaultsOnly(faults))),
            // Dropping votes once there is a certificate would drop evidence.
            track_historical_votes: true,
            strategy: Sequential,
            partition,
            mailbox_size: MAILBOX,
            epoch: Epoch::zero(),
            floor: Floor::Genesis(root_digest),
            replay_buffer: REPLAY_BUFFER,
            write_buffer: WRITE_BUFFER,
            page_cache: cache,
            leader_timeout: timeouts.leader,
            certification_timeout: timeouts.certification,
            timeout_retry: timeouts.retry,
            view_retention: ViewDelta::new(100),
            skip: SkipPolicy::Enabled { timeout: timeouts.skip, budget: SkipBudget::Participants },
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: FETCH_RETRY,
            forward: ForwardPolicy::SilentVoters,
        },
    );
    actors.push(simplex.start(channels.votes, channels.certificates, channels.resolver));
    Engine { handle, actors }
}

/// How long consensus waits. A leader may hold a view for the idle interval before it has anything to say.
struct Timeouts {
    leader: Duration,
    certification: Duration,
    retry: Duration,
    skip: Duration,
}

impl Timeouts {
    fn of(pacing: Pacing) -> Self {
        let idle = Duration::from_millis(pacing.idle_interval_ms);
        let leader = idle + Duration::from_millis(1_000);
        let certification = leader + Duration::from_millis(1_500);
        Self { leader, certification, retry: Duration::from_secs(1), skip: certification + Duration::from_secs(3) }
    }
}

fn prune_config(retention: Retention) -> PruneConfig {
    PruneConfig {
        maintenance_interval: NonZeroUsize::new(retention.interval).unwrap_or(NonZeroUsize::MIN),
        // Delivery must keep at least what the store keeps, or the state layer refuses to start.
        retained_marshal_blocks: retention.blocks.max(retention.operations),
        retained_qmdb_blocks: retention.operations,
    }
}

fn archive_config<C>(name: &str, cache: &CacheRef, codec_config: C) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-metadata"),
        key_partition: format!("{name}-key"),
        key_page_cache: cache.clone(),
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config,
        // Changing this after the first start makes the archive unreadable.
        items_per_section: NZU64!(256),
        key_write_buffer: WRITE_BUFFER,
        value_write_buffer: WRITE_BUFFER,
        replay_buffer: REPLAY_BUFFER,
    }
}

fn opened<T, X: core::fmt::Display>(archive: Result<T, X>) -> T {
    match archive {
        Ok(archive) => archive,
        Err(error) => panic!("an archive cannot be opened: {error}"),
    }
}

/// The block below block 1. The root of the empty state is not exported, so the operations' root stands for both.
fn root_block<E: Spawner + Storage + Clock + Metrics>(genesis: &surety_ledger::Genesis) -> Block {
    let target = <Databases<E> as DatabaseSet<E>>::initial_sync_targets();
    let range = (*target.range.start(), *target.range.end());
    let header: Header = root_header(genesis, Hash32(target.root.0), range);
    match Block::new(Body { header, transactions: Vec::new() }) {
        Ok(block) => block,
        Err(error) => panic!("the chain specification has no usable first seat: {error}"),
    }
}

/// Bytes that mailboxes and router take at most for a network of `peers` at `quota` messages a second and channel:
/// each channel's mailbox holds one burst of every peer, and the router as much again (`engine.md` 3).
#[must_use]
pub const fn mailbox_bytes(quota: u32, peers: usize) -> u64 {
    /// A queued message without its payload.
    const SLOT: u64 = 256;
    2 * CHANNELS * quota as u64 * peers as u64 * SLOT
}

const _: () = assert!(MAX_BLOCK_BYTES > MAX_BATCH_BYTES);
