//! What must hold, whatever happens to nodes, links and disks.

use commonware_codec::{Copying, Decode as _, RangeCfg};
use commonware_cryptography::{Sha256, sha256};
use commonware_p2p::{Recipients, Sender as _};
use commonware_runtime::deterministic::{FaultConfig, PartialWriteMode, Runner, WriteConfig};
use commonware_runtime::{IoBuf, Runner as _, Spawner as _, Supervisor as _};
use commonware_storage::mmr;
use commonware_storage::qmdb::any::value::VariableEncoding;
use commonware_storage::qmdb::current::ordered::proof::constant as proof;
use commonware_utils::{Probability, probability};
use surety_node::storage::MAX_VALUE_BYTES;
use surety_primitives::header::Error as HeaderError;
use surety_primitives::ids::Height;
use surety_primitives::{Hash32, bls};

use crate::cluster::{Cluster, NODES, SEATS, Seen, account, committee, link, runtime, signer};
use crate::equivocator;

const ALL: [usize; SEATS] = [0, 1, 2, 3];
/// More digests than any proof here has.
const MAX_DIGESTS: usize = 256;

type Encoding = VariableEncoding<Vec<u8>>;
type Inclusion = proof::KeyValueProof<mmr::Family, sha256::Digest, sha256::Digest, 32>;
type Exclusion = proof::ExclusionProof<mmr::Family, sha256::Digest, Encoding, sha256::Digest, 32>;

#[test]
fn transfers_become_final_everywhere_and_rows_and_headers_can_be_proven() {
    let seen = Seen::default();
    Runner::new(runtime(1)).start(|context| async move {
        let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
        for node in 0..NODES {
            cluster.start(node).await;
        }
        cluster.must_reach(&ALL, 2).await;
        let mut sent = Vec::new();
        for round in 0..30 {
            sent.push(cluster.transfer(round % 20, 7, round % SEATS).await.unwrap());
        }
        cluster.must_reach(&[0, 1, 2, 3, 4], cluster.highest() + 5).await;
        assert!(sent.iter().all(|hash| !cluster.handle(0).is_waiting(hash)), "a transfer still waits");
        proofs_hold(&cluster).await;
        certificates_hold(&cluster).await;
    });
}

/// Account 0 paid, so its row is proven present; an account that never was is proven absent. No proof holds for another
/// key, value or root.
async fn proofs_hold(cluster: &Cluster) {
    let node = cluster.handle(2);
    let key = |number| surety_ledger::bank::ACCOUNTS.key(&account(number).address());
    let row = node.row(&key(0)).await.unwrap();
    committee().verify_final(&row.header).unwrap();
    let root = sha256::Digest(row.header.header.state_root.0);
    let value = row.value.unwrap();
    let proof = Inclusion::decode_cfg(Copying(&row.proof.bytes), &(MAX_DIGESTS, ())).unwrap();
    let holds = |number, value: &[u8], root: &sha256::Digest| {
        proof.verify::<Sha256, Encoding>(sha256::Digest(key(number).0), value.to_vec(), root)
    };
    assert!(holds(0, &value, &root));
    assert!(!holds(1, &value, &root));
    assert!(!holds(0, b"more", &root));
    assert!(!holds(0, &value, &sha256::Digest([0; 32])));

    let none = node.row(&key(999)).await.unwrap();
    committee().verify_final(&none.header).unwrap();
    assert!(none.value.is_none());
    let root = sha256::Digest(none.header.header.state_root.0);
    let lengths = (RangeCfg::from(..=MAX_VALUE_BYTES), ());
    let cfg = (MAX_DIGESTS, ((), lengths), lengths);
    let proof = Exclusion::decode_cfg(Copying(&none.proof.bytes), &cfg).unwrap();
    assert!(proof.verify::<Sha256>(&sha256::Digest(key(999).0), &root));
    assert!(!proof.verify::<Sha256>(&sha256::Digest(key(0).0), &root));
}

/// What the engine certifies, the verifier without consensus code accepts, and no alteration of it.
async fn certificates_hold(cluster: &Cluster) {
    let latest = cluster.handle(1).latest().await.unwrap();
    committee().verify_final(&latest).unwrap();
    let header = latest.path.last().unwrap_or(&latest.header).clone();
    let mut altered = header.clone();
    altered.state_root = Hash32([1; 32]);
    assert_eq!(committee().verify(&altered, &latest.finality), Err(HeaderError::OtherBlock));
    let mut other_signers = latest.finality.clone();
    other_signers.signers ^= 0b1111;
    assert!(committee().verify(&header, &other_signers).is_err());
    let mut broken = latest.finality;
    broken.signature.0[20] ^= 1;
    assert!(matches!(
        committee().verify(&header, &broken),
        Err(HeaderError::Signature(bls::Error::Mismatch | bls::Error::BadSignature))
    ));
}

#[test]
fn nodes_that_are_killed_come_back_and_agree() {
    for seed in 0..seeds(2) {
        let seen = Seen::default();
        Runner::new(runtime(seed)).start(|context| async {
            let mut cluster = Cluster::new(context, &seen, link(10, true)).await;
            for node in 0..NODES {
                cluster.start(node).await;
            }
            for round in 0..10 {
                load(&mut cluster, 5).await;
                let wait = cluster.random(1_500);
                cluster.sleep(wait).await;
                let victim = cluster.random(NODES as u64) as usize;
                cluster.kill(victim).await;
                let wait = cluster.random(3_000);
                cluster.sleep(wait).await;
                cluster.start(victim).await;
                let others: Vec<usize> = ALL.into_iter().filter(|node| *node != victim).collect();
                cluster.must_reach(&others, round + 2).await;
            }
            cluster.must_reach(&[0, 1, 2, 3, 4], cluster.highest() + 3).await;
            cluster.assert_nobody_voted_twice();
        });
        assert!(seen.heights() > 5, "seed {seed}: only {} heights", seen.heights());
    }
}

#[test]
fn a_power_loss_of_all_nodes_loses_no_final_block() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        let torn = WriteConfig {
            failure_rate: probability!(0.0),
            retention_rate: probability!(0.5),
            mode: PartialWriteMode::Subset,
        };
        let faults = FaultConfig { write_rate: Some(torn), ..FaultConfig::default() };
        let mut runner = Runner::new(runtime(100 + seed).with_storage_fault_config(faults));
        let mut before = 0;
        for life in 0..4 {
            let seen = &seen;
            let (reached, checkpoint) = runner.start_and_recover(|context| async move {
                let mut cluster = Cluster::new(context, seen, link(10, false)).await;
                for node in ALL {
                    cluster.start(node).await;
                }
                cluster.must_reach(&ALL, before + 1).await;
                cluster.recall_nonces(0).await;
                load(&mut cluster, 20).await;
                let wait = 1_000 + cluster.random(2_000);
                cluster.sleep(wait).await;
                cluster.assert_nobody_voted_twice();
                cluster.highest()
            });
            assert!(reached > before, "seed {seed}, life {life}: no progress above {before}");
            before = reached;
            runner = Runner::from(checkpoint);
        }
    }
}

#[test]
fn a_seed_gives_the_same_chain_again() {
    let chain = |seed| {
        let seen = Seen::default();
        Runner::new(runtime(seed)).start(|context| async {
            let mut cluster = Cluster::new(context, &seen, link(10, true)).await;
            for node in ALL {
                cluster.start(node).await;
            }
            load(&mut cluster, 10).await;
            cluster.must_reach(&ALL, 5).await;
            cluster.kill(2).await;
            load_via(&mut cluster, 20, 1).await;
            cluster.start(2).await;
            cluster.must_reach(&ALL, 12).await;
        });
        seen.chain()
    };
    let first = chain(42);
    assert_eq!(first, chain(42));
    assert_ne!(first, chain(43));
}

#[test]
fn a_seat_that_was_away_for_long_catches_up_from_the_blocks() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        Runner::new(runtime(6 + 1_000 * seed)).start(|context| async move {
            let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
            for node in [0, 1, 2] {
                cluster.start(node).await;
            }
            cluster.must_reach(&[0, 1, 2], 2).await;
            for round in 0..40 {
                load_via(&mut cluster, 10, round % 3).await;
                cluster.sleep(700).await;
            }
            let height = cluster.highest();
            cluster.start(3).await;
            cluster.must_reach(&ALL, height + 3).await;
            assert!(cluster.handle(3).block(Height(2)).await.is_some(), "it did not fetch the first blocks");
            cluster.assert_nobody_voted_twice();
        });
    }
}

#[test]
fn a_leader_that_waits_for_something_to_do_knows_the_last_block_as_all_do() {
    let seen = Seen::default();
    Runner::new(runtime(7)).start(|context| async move {
        let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
        for node in ALL {
            cluster.start(node).await;
        }
        cluster.must_reach(&ALL, 3).await;
        // Each leads some of these blocks.
        for height in 4..=11 {
            cluster.must_reach(&[0], height).await;
            // Votes need some steps of the network, and the next block is far away.
            cluster.sleep(200).await;
            let heights = ALL.map(|node| cluster.height(node));
            assert_eq!(heights, [cluster.highest(); SEATS], "after block {height}");
        }
    });
}

#[test]
fn two_halves_make_no_blocks_and_go_on_when_joined() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        Runner::new(runtime(3 + 1_000 * seed)).start(|context| async move {
            let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
            for node in ALL {
                cluster.start(node).await;
            }
            cluster.must_reach(&ALL, 5).await;
            cluster.cut(&[0, 1], &[2, 3]).await;
            cluster.sleep(2_000).await;
            let parted = cluster.highest();
            cluster.sleep(10_000).await;
            assert!(cluster.highest() <= parted + 1, "half of the seats made blocks");
            load(&mut cluster, 8).await;
            cluster.join(&[0, 1], &[2, 3], link(10, false)).await;
            cluster.must_reach(&ALL, parted + 10).await;
        });
    }
}

#[test]
fn a_fresh_follower_takes_the_state_of_its_peers() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        Runner::new(runtime(4 + 1_000 * seed)).start(|context| async move {
            let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
            for node in ALL {
                cluster.start(node).await;
            }
            cluster.must_reach(&ALL, 2).await;
            load(&mut cluster, 20).await;
            cluster.must_reach(&ALL, 60).await;
            let follow = surety_node::scheme::verifier(&committee()).unwrap();
            cluster.start_as(4, follow, true).await;
            cluster.must_reach(&[4], cluster.highest() + 3).await;
            assert!(cluster.handle(4).block(Height(5)).await.is_none(), "it replayed instead of syncing");
            let key = surety_ledger::bank::ACCOUNTS.key(&account(0).address());
            assert!(cluster.handle(4).row(&key).await.unwrap().value.is_some());
        });
    }
}

#[test]
fn a_final_transaction_that_a_peer_sends_again_leaves_every_pool() {
    let seen = Seen::default();
    Runner::new(runtime(8)).start(|context| async move {
        let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
        for node in [0, 1, 2] {
            cluster.start(node).await;
        }
        let mut channels = cluster.channels(3).await;
        cluster.must_reach(&[0, 1, 2], 2).await;
        let sent = cluster.transfer(1, 2, 0).await.unwrap();
        cluster.must_reach(&[0, 1, 2], cluster.highest() + 3).await;
        assert!(!cluster.handle(1).is_waiting(&sent));
        let mut again = Vec::new();
        for height in 1..=cluster.highest() {
            again.extend(cluster.handle(0).block(Height(height)).await.unwrap().transactions().to_vec());
        }
        assert_eq!(again.len(), 1);
        let batch = IoBuf::from(surety_primitives::codec::encode(&again));
        channels.transactions.0.send(Recipients::All, batch, false);
        cluster.sleep(100).await;
        cluster.must_reach(&[0, 1, 2], cluster.highest() + 4).await;
        for node in [0, 1, 2] {
            assert_eq!(cluster.handle(node).mempool().transactions, 0, "node {node} keeps what no block can take");
        }
    });
}

#[test]
fn a_seat_that_votes_twice_is_caught_and_stops_nobody() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        Runner::new(runtime(5 + 1_000 * seed)).start(|context| async move {
            let mut cluster = Cluster::new(context.child("cluster"), &seen, link(10, false)).await;
            for node in [0, 1, 2] {
                cluster.start(node).await;
            }
            let channels = cluster.channels(3).await;
            context.child("equivocator").spawn(move |_| equivocator::run(signer(3), channels.votes));
            cluster.must_reach(&[0, 1, 2], 12).await;
            let index =
                committee().seats.iter().position(|seat| seat.peer.0 == crate::cluster::peer(3).as_ref()).unwrap();
            let faults = cluster.handle(0).faults();
            assert!(faults.iter().any(|fault| fault.seat as usize == index), "nobody noticed: {faults:?}");
        });
    }
}

#[test]
fn disks_that_fail_stop_their_node_and_never_fork_the_chain() {
    for seed in 0..seeds(1) {
        let seen = Seen::default();
        let rare = Probability::new(1, 4_000).unwrap();
        let write =
            WriteConfig { failure_rate: rare, retention_rate: probability!(0.5), mode: PartialWriteMode::Prefix };
        let faults = FaultConfig { write_rate: Some(write), sync_rate: Some(rare), ..FaultConfig::default() };
        let config = runtime(200 + seed).with_storage_fault_config(faults).with_catch_panics(true);
        Runner::new(config).start(|context| async {
            let disks = context.storage_fault_config();
            let mut cluster = Cluster::new(context, &seen, link(10, false)).await;
            for node in ALL {
                cluster.start(node).await;
            }
            for _ in 0..12 {
                load(&mut cluster, 4).await;
                cluster.sleep(1_500).await;
                for node in ALL {
                    // Parts that the node does not watch end a real process too; here it only falls behind.
                    if cluster.is_broken(node) || cluster.height(node) + 3 < cluster.highest() {
                        cluster.kill(node).await;
                        cluster.start(node).await;
                    }
                }
            }
            *disks.write() = FaultConfig::default();
            for node in ALL {
                cluster.kill(node).await;
                cluster.start(node).await;
            }
            cluster.must_reach(&ALL, cluster.highest() + 5).await;
        });
        assert!(seen.heights() > 5, "seed {seed}: only {} heights", seen.heights());
    }
}

async fn load(cluster: &mut Cluster, transfers: usize) {
    for _ in 0..transfers {
        let via = cluster.random(SEATS as u64) as usize;
        load_via(cluster, 1, via).await;
    }
}

async fn load_via(cluster: &mut Cluster, transfers: usize, via: usize) {
    for _ in 0..transfers {
        let (from, to) = (cluster.random(20) as usize, cluster.random(40) as usize);
        if cluster.height(via) > 0 {
            cluster.transfer(from, to, via).await;
        }
    }
}

/// How many seeds: few by default, more with SURETY_SEEDS.
fn seeds(default: u64) -> u64 {
    std::env::var("SURETY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
