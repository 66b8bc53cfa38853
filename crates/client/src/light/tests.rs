//! Real proofs of a real store, and what happens to each of them when one byte changes.

use blst::min_sig::{AggregateSignature, Signature};
use commonware_codec::Encode as _;
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
use commonware_storage::journal::contiguous::variable::Config as LogConfig;
use commonware_storage::merkle::full::Config as MerkleConfig;
use commonware_storage::qmdb::current::VariableConfig;
use commonware_storage::qmdb::current::ordered::variable;
use commonware_storage::qmdb::floor::Proportional;
use commonware_storage::translator::EightCap;
use commonware_utils::{NZU16, NZU64, NZUsize};
use surety_ledger::market::state::{DATASET_VERSIONS, DatasetVersion};
use surety_primitives::bls::{BlsSecret, BlsSignature};
use surety_primitives::header::{Finality, Seat};
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{Amount, Epoch, Height, NetworkId, Seconds, codec, hash};

use super::*;

type Store =
    variable::Db<mmr::Family, deterministic::Context, sha256::Digest, Vec<u8>, Sha256, EightCap, 32, Sequential>;

const NOW_MS: u64 = 1_700_000_000_000;
const DATASET: (DatasetId, u64) = (DatasetId(3), 7);

type EntryCfg = ((), (RangeCfg<usize>, ()));

fn config() -> VariableConfig<EightCap, EntryCfg, Sequential> {
    let page_cache = CacheRef::new(NZU16!(1_024), NZUsize!(16));
    VariableConfig {
        merkle_config: MerkleConfig {
            journal_partition: "merkle-journal".to_owned(),
            metadata_partition: "merkle-metadata".to_owned(),
            items_per_blob: NZU64!(1_024),
            write_buffer: NZUsize!(1 << 16),
            replay_buffer: NZUsize!(1 << 16),
            strategy: Sequential,
            page_cache: page_cache.clone(),
        },
        journal_config: LogConfig {
            partition: "log".to_owned(),
            items_per_section: NZU64!(1_024),
            compression: None,
            codec_config: ((), (RangeCfg::from(..=MAX_VALUE_BYTES), ())),
            page_cache,
            write_buffer: NZUsize!(1 << 16),
            replay_buffer: NZUsize!(1 << 16),
        },
        grafted_metadata_partition: "grafted".to_owned(),
        translator: EightCap,
        init_cache: Some(NZUsize!(1 << 16)),
        init_buffer: NZUsize!(1 << 16),
        init_concurrency: (),
    }
}

fn version() -> DatasetVersion {
    DatasetVersion {
        root: Hash32([5; 32]),
        count: 12,
        date: 1_699_000_000,
        licence: "CC0-1.0".to_owned(),
        published: Seconds(1_699_999_000),
        valid_until: Seconds(1_800_000_000),
        retired: None,
        deposit: Amount::milli(10),
    }
}

/// Rows of which some were written twice, so that the store has inactive operations, and the proofs of two keys.
fn proofs(rows: u64, present: Key, absent: Key) -> (Hash32, Option<Vec<u8>>, Vec<u8>) {
    deterministic::Runner::default().start(|context| async move {
        let mut store = Store::init(context.child("store"), config(), None).await.unwrap();
        for round in 0..2_u64 {
            let mut batch = store.new_batch();
            for n in 0..rows {
                let key = hash::h("test/row", &[&n.to_be_bytes()]);
                batch = batch.write(sha256::Digest(key.0), Some(format!("{n} {round}").into_bytes()));
            }
            if rows > 0 {
                batch = batch.write(sha256::Digest(present.0), Some(DATASET_VERSIONS.encode(&DATASET, &version())));
            }
            let sealed = batch.merkleize(&store, None, &mut Proportional).await.unwrap();
            store = store.apply_batch(sealed).await.unwrap();
            store = store.commit().await.unwrap();
        }
        let inclusion = match store.get(&sha256::Digest(present.0)).await.unwrap() {
            Some(_) => Some(store.key_value_proof(sha256::Digest(present.0)).await.unwrap().encode().to_vec()),
            None => None,
        };
        let exclusion = store.exclusion_proof(&sha256::Digest(absent.0)).await.unwrap().encode().to_vec();
        (Hash32(store.root().0), inclusion, exclusion)
    })
}

fn certified(state_root: Hash32) -> (Committee, FinalHeader) {
    certified_at(Height(38), state_root)
}

fn certified_at(height: Height, state_root: Hash32) -> (Committee, FinalHeader) {
    let secrets: Vec<BlsSecret> = (1..=4).map(|n| BlsSecret::generate(&[n; 32]).unwrap()).collect();
    let seats = secrets.iter().enumerate().map(|(i, s)| Seat { peer: Bytes32([i as u8; 32]), key: s.key() }).collect();
    let committee = Committee { network: NetworkId(7), genesis: Hash32([9; 32]), epoch: Epoch(0), seats };
    let header = Header {
        network: NetworkId(7),
        epoch: Epoch(0),
        view: 40,
        parent_view: 39,
        leader: Bytes32([1; 32]),
        parent: Hash32([2; 32]),
        height,
        time_ms: NOW_MS,
        clock: Seconds(NOW_MS / 1_000),
        transactions_root: Hash32([4; 32]),
        receipts_root: Hash32([6; 32]),
        state_root,
        ops_root: Hash32([6; 32]),
        range_start: 0,
        range_end: 9,
    };
    // varint epoch, view, parent view, digest: below 128 each number is its own byte.
    let digest = header.digest();
    let proposal = [&[0, 40, 39][..], &digest.0].concat();
    let namespace = [committee.namespace().as_slice(), b"_FINALIZE"].concat();
    let parts: Vec<Signature> = secrets
        .iter()
        .take(3)
        .map(|secret| Signature::from_bytes(&secret.sign(&namespace, &proposal).0).unwrap())
        .collect();
    let sum = AggregateSignature::aggregate(&parts.iter().collect::<Vec<_>>(), true).unwrap();
    let finality = Finality {
        epoch: Epoch(0),
        view: 40,
        parent_view: 39,
        digest,
        signers: 0b111,
        signature: BlsSignature(sum.to_signature().to_bytes()),
    };
    (committee, FinalHeader { header, path: Vec::new(), finality })
}

struct World {
    light: LightClient,
    included: ProvenRow,
    excluded: ProvenRow,
}

fn world() -> World {
    let (present, absent) = (DATASET_VERSIONS.key(&DATASET), DATASET_VERSIONS.key(&(DatasetId(3), 8)));
    let (root, inclusion, exclusion) = proofs(300, present, absent);
    let (committee, FinalHeader { header, path, finality }) = certified(root);
    let row = |key, kind, value: Option<Vec<u8>>, proof: Vec<u8>| ProvenRow {
        key,
        kind,
        value: value.map(Blob),
        proof: Blob(proof),
        header: header.clone(),
        path: path.clone(),
        finality: finality.clone(),
    };
    let value = Some(DATASET_VERSIONS.encode(&DATASET, &version()));
    World {
        light: LightClient::new(committee, Some(Duration::from_secs(30))),
        included: row(present, ProofKind::Inclusion, value, inclusion.unwrap()),
        excluded: row(absent, ProofKind::Exclusion, None, exclusion),
    }
}

fn check(light: &LightClient, row: &ProvenRow, version: u64) -> Result<Option<DatasetVersion>, Error> {
    light.verify_record(DATASET_VERSIONS, &(DatasetId(3), version), row, NOW_MS).map(|proven| proven.value)
}

#[test]
fn a_row_and_its_absence_are_believed_with_their_proofs() {
    let World { light, included, excluded } = world();
    assert_eq!(check(&light, &included, 7), Ok(Some(version())));
    assert_eq!(check(&light, &excluded, 8), Ok(None));
}

/// Every single-bit change of an encoding of the row, except those that do not decode at all.
fn every_flip(row: &ProvenRow) -> impl Iterator<Item = (usize, ProvenRow)> {
    let bytes = codec::encode(row);
    (0..bytes.len() * 8).filter_map(move |bit| {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        codec::decode::<ProvenRow>(&bytes, usize::MAX).ok().map(|row| (bit, row))
    })
}

#[test]
fn no_bit_of_header_certificate_value_proof_or_key_may_change() {
    let World { light, included, excluded } = world();
    for (row, version) in [(&included, 7), (&excluded, 8)] {
        let mut flips = 0;
        for (bit, changed) in every_flip(row) {
            // A certificate costs a pairing; what is below it is tried on every bit, the rest on one bit a byte.
            let below = (changed.key, changed.kind, &changed.value, &changed.proof);
            let same_top = changed.header == row.header && changed.finality == row.finality;
            if same_top && below != (row.key, row.kind, &row.value, &row.proof) {
                let root = &changed.header.state_root;
                let outcome = match &changed.value {
                    Some(value) => verify_inclusion(&changed.key, &value.0, &changed.proof.0, root),
                    None => verify_exclusion(&changed.key, &changed.proof.0, root),
                };
                let outcome = outcome.and_then(|()| check(&light, &changed, version).map(|_| ()));
                assert!(outcome.is_err(), "bit {bit} of version {version} was believed");
            } else if bit % 8 == 3 {
                assert!(check(&light, &changed, version).is_err(), "bit {bit} of version {version} was believed");
            }
            flips += 1;
        }
        assert!(flips > 4_000, "only {flips} changes could be tried");
    }
}

#[test]
fn no_proof_speaks_for_another_key_value_root_or_kind() {
    let World { light, included, excluded } = world();
    assert_eq!(check(&light, &included, 8), Err(Error::OtherRow));
    let swapped = ProvenRow { key: excluded.key, ..included.clone() };
    assert_eq!(check(&light, &swapped, 8), Err(Error::BadProof));
    let hidden = ProvenRow { kind: ProofKind::Exclusion, value: None, ..excluded };
    let hidden = ProvenRow { key: included.key, ..hidden };
    assert_eq!(check(&light, &hidden, 7), Err(Error::BadProof));
    let contradicting = ProvenRow { kind: ProofKind::Exclusion, ..included.clone() };
    assert_eq!(check(&light, &contradicting, 7), Err(Error::Contradicts));
    let empty = ProvenRow { value: None, ..included.clone() };
    assert_eq!(check(&light, &empty, 7), Err(Error::Contradicts));
    let longer = ProvenRow { proof: Blob([included.proof.0.as_slice(), &[0]].concat()), ..included.clone() };
    assert_eq!(check(&light, &longer, 7), Err(Error::Malformed));
    let huge = ProvenRow { proof: Blob(vec![0xff; MAX_PROOF_BYTES + 1]), ..included.clone() };
    assert_eq!(check(&light, &huge, 7), Err(Error::Malformed));
    let proven = light.verify_record(surety_ledger::market::state::SERVICES, &ServiceId(1), &included, NOW_MS);
    assert_eq!(proven.map(|_| ()), Err(Error::OtherRow));
}

#[test]
fn an_old_header_a_header_of_the_future_and_another_committee_are_refused() {
    let World { light, included, .. } = world();
    let at = |now_ms| light.verify_row(&included.key, &included, now_ms).map(|_| ());
    assert_eq!(at(NOW_MS + 30_000), Ok(()));
    assert_eq!(at(NOW_MS + 31_000), Err(Error::Stale { age_s: 31, limit_s: 30 }));
    assert_eq!(at(NOW_MS - 61_000), Err(Error::Ahead { ahead_s: 61 }));
    let archive = LightClient::new(light.committee().clone(), None);
    assert!(archive.verify_row(&included.key, &included, NOW_MS * 2).is_ok());

    let mut others = light.committee().clone();
    others.seats.swap(0, 1);
    others.seats[0].peer = Bytes32([0; 32]);
    others.seats[1].peer = Bytes32([1; 32]);
    others.seats.remove(2);
    let outcome = LightClient::new(others, None).verify_row(&included.key, &included, NOW_MS);
    assert!(matches!(outcome, Err(Error::Header(_))));
}

#[test]
fn an_empty_state_proves_the_absence_of_anything() {
    let (present, absent) = (DATASET_VERSIONS.key(&DATASET), DATASET_VERSIONS.key(&(DatasetId(3), 8)));
    let (root, inclusion, exclusion) = proofs(0, present, absent);
    assert_eq!(inclusion, None);
    assert_eq!(verify_exclusion(&absent, &exclusion, &root), Ok(()));
    assert_eq!(verify_exclusion(&present, &exclusion, &root), Ok(()));
    assert_eq!(verify_inclusion(&present, b"x", &exclusion, &root), Err(Error::Malformed));
}

#[test]
fn random_bytes_are_no_proof() {
    let mut bytes = Vec::new();
    for n in 0..2_000_u64 {
        let noise = hash::h("test/noise", &[&n.to_be_bytes()]);
        bytes.extend_from_slice(&noise.0);
        bytes.truncate(n as usize % 1_500);
        assert!(verify_inclusion(&noise, b"x", &bytes, &noise).is_err());
        assert!(verify_exclusion(&noise, &bytes, &noise).is_err());
    }
}

/// A node that has one thing to say.
async fn serve(row: ProvenRow) -> String {
    let answer = axum::routing::get(move || async move { axum::Json(row) });
    let router = axum::Router::new().route("/v1/rows/{key}", answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[test]
fn of_an_absence_and_a_row_the_newer_word_counts_whoever_is_asked_first() {
    let key = DATASET_VERSIONS.key(&DATASET);
    let (full, inclusion, _) = proofs(300, key, DATASET_VERSIONS.key(&(DatasetId(3), 8)));
    let (empty, _, exclusion) = proofs(0, key, key);
    let committee = certified(full).0;
    let present = |height| {
        let FinalHeader { header, path, finality } = certified_at(Height(height), full).1;
        let value = Some(Blob(DATASET_VERSIONS.encode(&DATASET, &version())));
        let proof = Blob(inclusion.clone().unwrap());
        ProvenRow { key, kind: ProofKind::Inclusion, value, proof, header, path, finality }
    };
    let absent = |height| {
        let FinalHeader { header, path, finality } = certified_at(Height(height), empty).1;
        let proof = Blob(exclusion.clone());
        ProvenRow { key, kind: ProofKind::Exclusion, value: None, proof, header, path, finality }
    };
    let ask = async |rows: [ProvenRow; 2]| {
        let [first, second] = rows;
        let forged = ProvenRow { kind: ProofKind::Exclusion, value: None, ..present(99) };
        let nodes = [serve(first).await, "http://127.0.0.1:9".to_owned(), serve(forged).await, serve(second).await];
        let client = Client::new(&nodes, crate::Options::default()).unwrap();
        let reader = LightReader::new(client, LightClient::new(committee.clone(), None));
        reader.record(DATASET_VERSIONS, &DATASET).await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The first was away while the row was made.
        assert_eq!(ask([absent(38), present(39)]).await.value, Some(version()));
        assert_eq!(ask([present(39), absent(38)]).await.value, Some(version()));
        // The second was away while it was deleted.
        assert_eq!(ask([absent(39), present(38)]).await.value, None);
    });
}
