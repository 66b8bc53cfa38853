//! A world has Ethereum's state root, and survives JSON and borsh.

use alloy_primitives::{Address, U256, address, b256};
use surety_evm::World;

fn sample() -> World {
    let mut world = World::new();
    world.set_balance(Address::repeat_byte(1), U256::from(5));
    world.insert(Address::repeat_byte(2), 1, U256::ZERO, vec![0x60, 0x00]);
    world.set_storage(Address::repeat_byte(2), U256::from(7), U256::from(9));
    world.set_block_hash(3, b256!("0303030303030303030303030303030303030303030303030303030303030303"));
    world
}

#[test]
fn the_empty_world_has_the_empty_root() {
    let root = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
    assert_eq!(World::new().root(), root);
    // An account that is empty is not in the state.
    let mut world = World::new();
    world.set_nonce(Address::ZERO, 0);
    assert_eq!(world.root(), root);
}

#[test]
fn mainnet_genesis_style_alloc_is_read() {
    let json = r#"{"0x00000000000000000000000000000000000000aa":{"balance":"0x10","nonce":"0x1","code":"0x6000",
        "storage":{"0x0000000000000000000000000000000000000000000000000000000000000001":
        "0x0000000000000000000000000000000000000000000000000000000000000002"}}}"#;
    let world: World = serde_json::from_str(json).unwrap();
    let account = world.get(address!("00000000000000000000000000000000000000aa")).unwrap();
    assert_eq!((account.nonce(), account.balance()), (1, U256::from(16)));
    assert_eq!(account.storage().get(&U256::from(1)), Some(&U256::from(2)));
}

#[test]
fn a_world_survives_json_and_borsh() {
    let world = sample();
    let json: World = serde_json::from_str(&serde_json::to_string(&world).unwrap()).unwrap();
    assert_eq!(json.root(), world.root());
    let encoded = borsh::to_vec(&world).unwrap();
    assert_eq!(borsh::from_slice::<World>(&encoded).unwrap(), world);
}

#[test]
fn the_root_follows_every_change_and_only_those() {
    let mut world = sample();
    let root = world.root();
    world.set_storage(Address::repeat_byte(2), U256::from(7), U256::from(10));
    assert_ne!(world.root(), root);
    world.set_storage(Address::repeat_byte(2), U256::from(7), U256::from(9));
    assert_eq!(world.root(), root);
    let copy = world.clone();
    world.set_balance(Address::repeat_byte(1), U256::ZERO);
    assert_ne!(world.root(), root);
    assert_eq!(copy.root(), root);
}
