#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::codec;

fn key(name: &str) -> Key {
    Key::new(1, name.as_bytes()).unwrap()
}

fn entry(name: &str, label: &str, sources: u64) -> Entry {
    Entry::new(key(name), label.as_bytes().to_vec(), sources).unwrap()
}

/// `count` entries n000000, n000002, …, so that the odd names are absent.
fn even(count: usize) -> DatasetTree {
    DatasetTree::build((0..count).map(|n| entry(&format!("n{:06}", 2 * n), "phish-hack", 1)).collect()).unwrap()
}

fn check(tree: &DatasetTree, name: &str) -> Lookup {
    let key = key(name);
    tree.prove(&key).verify(&tree.root(), tree.count(), &key).unwrap()
}

fn inclusion(tree: &DatasetTree, name: &str) -> Located {
    match tree.prove(&key(name)) {
        DatasetProof::Inclusion(located) => located,
        DatasetProof::Neighbours { .. } => panic!("{name} is not in the tree"),
    }
}

#[test]
fn every_key_of_every_small_tree_is_proven_present_and_every_gap_absent() {
    for count in 0..=70 {
        let tree = even(count);
        for n in 0..count {
            let name = format!("n{:06}", 2 * n);
            let leaf = tree.get(&key(&name)).unwrap().leaf();
            assert_eq!(check(&tree, &name), Lookup::Found { leaf });
            assert_eq!(check(&tree, &format!("n{:06}", 2 * n + 1)), Lookup::Absent);
        }
        assert_eq!(check(&tree, "a"), Lookup::Absent);
        assert_eq!(check(&tree, "z"), Lookup::Absent);
    }
}

#[test]
fn build_sorts_and_does_not_depend_on_the_order_of_its_input() {
    let entries = vec![entry("b", "", 1), entry("a", "x", 2), entry("c", "", 3)];
    let mut reversed = entries.clone();
    reversed.reverse();
    let (one, two) = (DatasetTree::build(entries).unwrap(), DatasetTree::build(reversed).unwrap());
    assert_eq!(one.root(), two.root());
    assert!(one.entries().is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn two_entries_with_one_key_are_refused_even_when_they_differ() {
    let twins = vec![entry("a", "x", 1), entry("b", "", 1), entry("a", "y", 2)];
    let error = DatasetTree::build(twins).unwrap_err();
    assert_eq!(error, Error::DuplicateKey(key("a")));
    assert_eq!(error.code(), "dataset-duplicate-key");
}

#[test]
fn repeating_the_odd_last_leaf_changes_the_root() {
    // In trees that pair an odd node with itself [a, b, c] and [a, b, c, c] share a root.
    let tree = even(3);
    let last = *tree.rows[0].last().unwrap();
    let mut leaves = tree.rows[0].clone();
    leaves.push(last);
    let doubled = rows(leaves).last().unwrap()[0];
    assert_ne!(tree.rows.last().unwrap()[0], doubled);
    assert_ne!(tree.root(), seal(4, &doubled));
}

#[test]
fn an_inner_node_does_not_pass_for_a_leaf() {
    // The tree over the two inner nodes of a four-leaf tree has the same top, but not the same root.
    let tree = even(4);
    let shortened = Located { index: 0, path: vec![tree.rows[1][1]], ..inclusion(&tree, "n000000") };
    assert_eq!(shortened.check(&tree.root(), 2), Err(Error::WrongRoot));
    assert_eq!(shortened.check(&tree.root(), 4), Err(Error::PathLength));
    let (left, right) = (tree.rows[0][0], tree.rows[0][1]);
    let forged = Entry { key: Key([left.0, right.0].concat()), label: vec![], sources: 0 };
    assert_ne!(forged.leaf(), tree.rows[1][0]);
}

#[test]
fn a_proof_fits_one_index_and_one_count() {
    let tree = even(7);
    for n in 0..7 {
        let located = inclusion(&tree, &format!("n{:06}", 2 * n));
        for index in 0..9 {
            for count in 0..9 {
                let moved = Located { index, ..located.clone() };
                let right = index == located.index && count == 7;
                assert_eq!(moved.check(&tree.root(), count).is_ok(), right, "index {index} count {count}");
            }
        }
    }
}

#[test]
fn neighbours_that_are_not_adjacent_prove_nothing() {
    let tree = even(8);
    let (first, second) = (inclusion(&tree, "n000002"), inclusion(&tree, "n000006"));
    let lie = DatasetProof::Neighbours { below: Some(first), above: Some(second) };
    assert_eq!(lie.verify(&tree.root(), 8, &key("n000004")), Err(Error::NotEnclosing));
}

#[test]
fn a_missing_neighbour_is_accepted_at_an_end_only() {
    let tree = even(8);
    let inner = inclusion(&tree, "n000006");
    let root = tree.root();
    for proof in [
        DatasetProof::Neighbours { below: None, above: Some(inner.clone()) },
        DatasetProof::Neighbours { below: Some(inner), above: None },
        DatasetProof::Neighbours { below: None, above: None },
    ] {
        for name in ["n000005", "n000007"] {
            assert_eq!(proof.verify(&root, 8, &key(name)), Err(Error::NotEnclosing));
        }
    }
}

#[test]
fn a_neighbour_that_is_the_key_itself_proves_nothing() {
    let tree = even(8);
    let (below, above) = (inclusion(&tree, "n000004"), inclusion(&tree, "n000006"));
    let proof = DatasetProof::Neighbours { below: Some(below), above: Some(above) };
    for name in ["n000004", "n000006"] {
        assert_eq!(proof.verify(&tree.root(), 8, &key(name)), Err(Error::NotEnclosing));
    }
}

#[test]
fn an_empty_dataset_proves_absence_and_no_other_root_does() {
    let empty = even(0);
    let proof = DatasetProof::Neighbours { below: None, above: None };
    assert_eq!(proof.verify(&empty.root(), 0, &key("a")), Ok(Lookup::Absent));
    assert_eq!(proof.verify(&even(1).root(), 0, &key("a")), Err(Error::WrongRoot));
    assert_eq!(proof.verify(&even(1).root(), 1, &key("a")), Err(Error::NotEnclosing));
}

#[test]
fn an_altered_label_bitmap_or_sibling_breaks_the_proof() {
    let tree = even(5);
    let good = inclusion(&tree, "n000004");
    let mut label = good.clone();
    label.entry.label = b"clean".to_vec();
    let mut sources = good.clone();
    sources.entry.sources ^= 2;
    let mut sibling = good.clone();
    sibling.path[0].0[31] ^= 1;
    for bad in [label, sources, sibling] {
        let proof = DatasetProof::Inclusion(bad);
        assert_eq!(proof.verify(&tree.root(), 5, &key("n000004")), Err(Error::WrongRoot));
    }
    let mut longer = good.clone();
    longer.path.push(Hash32::default());
    assert_eq!(DatasetProof::Inclusion(longer).verify(&tree.root(), 5, &key("n000004")), Err(Error::PathLength));
    assert_eq!(DatasetProof::Inclusion(good).verify(&tree.root(), 5, &key("n000006")), Err(Error::WrongKey));
}

#[test]
fn lengths_above_the_bounds_are_refused_before_anything_is_allocated() {
    assert_eq!(Key::new(1, &[0; MAX_KEY_LEN]), Err(Error::KeyLength(MAX_KEY_LEN + 1)));
    assert_eq!(Key::from_bytes(vec![]), Err(Error::KeyLength(0)));
    assert_eq!(Entry::new(key("a"), vec![0; MAX_LABEL_LEN + 1], 0), Err(Error::LabelLength(MAX_LABEL_LEN + 1)));
    // A tag, an index and a length of 4 GiB.
    let bomb = [&[0][..], &0u64.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    assert!(codec::decode::<DatasetProof>(&bomb, 1 << 20).is_err());
    let located = Located { index: 0, entry: entry("a", "", 0), path: vec![Hash32::default(); MAX_DEPTH + 1] };
    assert!(codec::decode::<Located>(&codec::encode(&located), 1 << 20).is_err());
}

#[test]
fn a_count_that_no_tree_can_have_is_refused() {
    let located = Located { index: 0, ..inclusion(&even(1), "n000000") };
    for count in [MAX_COUNT + 1, u64::MAX] {
        assert_eq!(located.check(&even(1).root(), count), Err(Error::OutOfRange { index: 0, count }));
    }
    let last = Located { index: u64::MAX, ..located };
    let proof = DatasetProof::Neighbours { below: Some(last), above: None };
    assert_eq!(proof.verify(&even(1).root(), u64::MAX, &key("z")), Err(Error::NotEnclosing));
}

/// What `vectors/dataset.json` has to say; set `SURETY_WRITE_VECTORS=1` to write it anew.
fn golden() -> serde_json::Value {
    let names = ["example.com", "evil.example", "a.b.c", "xn--80ak6aa92e.com", "zz"];
    let cases = (0..=names.len()).map(|count| {
        let entries = names[..count].iter().zip(1..).map(|(name, n)| entry(name, "phish-hack", n));
        let tree = DatasetTree::build(entries.collect()).unwrap();
        let proofs = ["evil.example", "0", "m", "zzz"].map(|name| {
            let proof = tree.prove(&key(name));
            json!({ "key": const_hex::encode_prefixed(key(name).as_bytes()),
                    "found": tree.get(&key(name)).map(|entry| entry.leaf()),
                    "proof": const_hex::encode_prefixed(codec::encode(&proof)) })
        });
        let entries = tree.entries().iter().map(|entry| {
            json!({ "key": const_hex::encode_prefixed(entry.key.as_bytes()),
                    "label": const_hex::encode_prefixed(&entry.label),
                    "sources": entry.sources, "leaf": entry.leaf() })
        });
        let entries = entries.collect::<Vec<_>>();
        json!({ "count": count, "root": tree.root(), "entries": entries, "proofs": proofs })
    });
    json!({ "cases": cases.collect::<Vec<_>>() })
}

#[test]
fn golden_vectors_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/dataset.json");
    if std::env::var_os("SURETY_WRITE_VECTORS").is_some() {
        std::fs::write(path, format!("{:#}\n", golden())).unwrap();
    }
    let written: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, golden());
    for case in written["cases"].as_array().unwrap() {
        let root: Hash32 = case["root"].as_str().unwrap().parse().unwrap();
        for proof in case["proofs"].as_array().unwrap() {
            let bytes = |field: &str| const_hex::decode(proof[field].as_str().unwrap()).unwrap();
            let key = Key::from_bytes(bytes("key")).unwrap();
            let decoded: DatasetProof = codec::decode(&bytes("proof"), 1 << 14).unwrap();
            let found = match decoded.verify(&root, case["count"].as_u64().unwrap(), &key).unwrap() {
                Lookup::Found { leaf } => json!(leaf),
                Lookup::Absent => json!(null),
            };
            assert_eq!(found, proof["found"]);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), count: u64) {
        if let Ok(proof) = codec::decode::<DatasetProof>(&bytes, 1 << 14) {
            let _ = proof.verify(&Hash32::default(), count, &key("a"));
        }
    }

    #[test]
    fn a_damaged_proof_never_says_the_opposite(
        names in prop::collection::btree_set("[a-d]{1,3}", 0..30), wanted in "[a-d]{1,3}", at: usize, bit in 0u8..8,
    ) {
        let tree = DatasetTree::build(names.iter().map(|name| entry(name, "l", 1)).collect()).unwrap();
        let truth = check(&tree, &wanted);
        prop_assert_eq!(matches!(truth, Lookup::Found { .. }), names.contains(&wanted));
        let mut bytes = codec::encode(&tree.prove(&key(&wanted)));
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(proof) = codec::decode::<DatasetProof>(&bytes, 1 << 14)
            && let Ok(said) = proof.verify(&tree.root(), tree.count(), &key(&wanted)) {
                prop_assert_eq!(said, truth);
            }
    }
}
