//! What a call moved and granted, on real token contracts from npm and on a token that lies.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, bytes};
use alloy_sol_types::{SolCall, SolValue, sol};
use surety_evm::{Call, Head, Limits, PERMIT2, Role, Session, Simulation, Snapshot, World};

use crate::npm;
use crate::sessions::{ANA, BEN, session};

sol! {
    function transfer(address to, uint256 amount);
    function approve(address spender, uint256 amount);
    function mint(address to);
    function mintBatch(address to, uint256[] ids, uint256[] amounts, bytes data);
    function safeTransferFrom(address from, address to, uint256 id, uint256 amount, bytes data);
    function transferFrom(address from, address to, uint256 id);
    function setApprovalForAll(address operator, bool approved);
    function transferOwnership(address owner);
    function deposit();
    function withdraw(uint256 amount);
}

fn fresh() -> Session {
    let mut world = World::new();
    world.set_balance(ANA, U256::from(10u64.pow(18)));
    world.set_balance(BEN, U256::from(10u64.pow(18)));
    Session::new(&Snapshot { head: Head::default(), source: Arc::new(world) }, Limits::default())
}

fn deploy(session: &mut Session, path: &str, arguments: impl SolValue) -> Option<Address> {
    let mut code = npm::init_code(path)?;
    code.extend(arguments.abi_encode_params_of());
    session.run(&Call::create(ANA, code)).unwrap().created
}

/// Arguments of a constructor are encoded like those of a function.
trait Params {
    fn abi_encode_params_of(&self) -> Vec<u8>;
}

impl<T: SolValue> Params for T {
    fn abi_encode_params_of(&self) -> Vec<u8> {
        let encoded = self.abi_encode();
        // A dynamic tuple is encoded behind its offset; a constructor has no offset.
        if encoded.starts_with(U256::from(32).to_be_bytes::<32>().as_slice()) {
            encoded[32..].to_vec()
        } else {
            encoded
        }
    }
}

fn simulate<C: SolCall>(session: &mut Session, from: Address, to: Address, call: &C) -> Simulation {
    let simulation = session.simulate(&Call::new(from, to, call.abi_encode())).unwrap();
    assert!(simulation.outcome.is_success(), "{:?}", simulation.outcome.revert_reason());
    simulation
}

#[test]
fn a_token_transfer_is_two_balances_that_agree_with_the_log() {
    let mut session = fresh();
    let Some(token) = deploy(&mut session, "@uniswap/v2-core/build/ERC20.json", (U256::from(1000),)) else { return };
    let changes = simulate(&mut session, ANA, token, &transferCall { to: BEN, amount: U256::from(30) }).changes;
    let seen: Vec<_> = changes.tokens.iter().map(|change| (change.account, change.before, change.after)).collect();
    let (first, second) = (U256::from(1000), U256::from(970));
    assert_eq!(seen, [(ANA, Some(first), Some(second)), (BEN, Some(U256::ZERO), Some(U256::from(30)))]);
    assert!(changes.tokens.iter().all(|change| change.agrees() == Some(true)));
    assert_eq!(changes.supplies[0].balanced, Some(true));
    assert_eq!(changes.disagreements().count(), 0);
    assert!(!changes.incomplete);
}

#[test]
fn a_token_that_keeps_a_share_is_seen_in_balances_and_supply() {
    let mut session = fresh();
    let path = "@uniswap/v2-periphery/build/DeflatingERC20.json";
    let Some(token) = deploy(&mut session, path, (U256::from(10_000),)) else { return };
    let changes = simulate(&mut session, ANA, token, &transferCall { to: BEN, amount: U256::from(1000) }).changes;
    let ben = changes.tokens.iter().find(|change| change.account == BEN).unwrap();
    assert_eq!(ben.after, Some(U256::from(990)));
    let supply = &changes.supplies[0];
    assert_eq!((supply.before, supply.after), (Some(U256::from(10_000)), Some(U256::from(9_990))));
    assert_eq!((supply.logged_burned, supply.balanced), (U256::from(10), Some(true)));
}

#[test]
fn an_allowance_is_read_before_and_after() {
    let mut session = fresh();
    let Some(token) = deploy(&mut session, "@uniswap/v2-core/build/ERC20.json", (U256::from(1000),)) else { return };
    let changes = simulate(&mut session, ANA, token, &approveCall { spender: BEN, amount: U256::MAX }).changes;
    let allowance = &changes.allowances[0];
    assert_eq!((allowance.owner, allowance.spender, allowance.via), (ANA, BEN, None));
    assert_eq!(
        (allowance.before, allowance.after, allowance.logged),
        (Some(U256::ZERO), Some(U256::MAX), Some(U256::MAX))
    );
}

#[test]
fn wrapped_ether_comes_and_goes() {
    let mut session = fresh();
    let Some(weth) = deploy(&mut session, "@uniswap/v2-periphery/build/WETH9.json", ()) else { return };
    let call = Call::new(ANA, weth, depositCall {}.abi_encode()).value(U256::from(50));
    let changes = session.simulate(&call).unwrap().changes;
    assert_eq!((changes.tokens[0].account, changes.tokens[0].agrees()), (ANA, Some(true)));
    assert_eq!(changes.native.len(), 2);
    let changes = simulate(&mut session, ANA, weth, &withdrawCall { amount: U256::from(20) }).changes;
    assert_eq!(changes.tokens[0].after, Some(U256::from(30)));
    assert_eq!(changes.supplies[0].logged_burned, U256::from(20));
}

#[test]
fn an_nft_changes_its_owner_and_its_operator() {
    let mut session = fresh();
    let path = "@openzeppelin/contracts-v4/build/contracts/ERC721PresetMinterPauserAutoId.json";
    let arguments = ("Art".to_owned(), "ART".to_owned(), "ipfs://x/".to_owned());
    let Some(token) = deploy(&mut session, path, arguments) else { return };
    let minted = simulate(&mut session, ANA, token, &mintCall { to: ANA }).changes;
    assert_eq!((minted.nfts[0].from, minted.nfts[0].owner_before), (Address::ZERO, None));
    assert_eq!(minted.disagreements().count(), 0, "{:?}", minted.tokens);
    let approval = setApprovalForAllCall { operator: BEN, approved: true };
    let approved = simulate(&mut session, ANA, token, &approval).changes;
    assert_eq!((approved.operators[0].before, approved.operators[0].after), (Some(false), Some(true)));
    let moved = simulate(&mut session, BEN, token, &transferFromCall { from: ANA, to: BEN, id: U256::ZERO }).changes;
    assert_eq!((moved.nfts[0].owner_before, moved.nfts[0].owner_after), (Some(ANA), Some(BEN)));
    assert_eq!(moved.disagreements().count(), 0, "{:?}", moved.tokens);
}

#[test]
fn ids_with_amounts_move() {
    let mut session = fresh();
    let path = "@openzeppelin/contracts-v4/build/contracts/ERC1155PresetMinterPauser.json";
    let Some(token) = deploy(&mut session, path, ("ipfs://y/".to_owned(),)) else { return };
    let ids = vec![U256::from(1), U256::from(2)];
    let amounts = vec![U256::from(10), U256::from(20)];
    let batch = mintBatchCall { to: ANA, ids, amounts, data: Bytes::new() };
    let minted = simulate(&mut session, ANA, token, &batch).changes;
    assert_eq!(minted.multi_tokens.len(), 2);
    let transfer =
        safeTransferFromCall { from: ANA, to: BEN, id: U256::from(2), amount: U256::from(5), data: Bytes::new() };
    let moved = simulate(&mut session, ANA, token, &transfer).changes;
    let seen: Vec<_> = moved.multi_tokens.iter().map(|change| (change.account, change.after)).collect();
    assert_eq!(seen, [(ANA, Some(U256::from(15))), (BEN, Some(U256::from(5)))]);
}

#[test]
fn an_owner_that_changes_is_shown() {
    let mut session = fresh();
    let path = "@openzeppelin/contracts-v4/build/contracts/ProxyAdmin.json";
    let Some(contract) = deploy(&mut session, path, ()) else { return };
    let changes = simulate(&mut session, ANA, contract, &transferOwnershipCall { owner: BEN }).changes;
    let change = &changes.ownership[0];
    assert_eq!((change.contract, change.role, change.before, change.after), (contract, Role::Owner, ANA, BEN));
}

#[test]
fn a_balance_that_moves_without_a_log_is_a_disagreement() {
    // Any call with at most 4 bytes takes all that the caller has: slot keccak(caller ‖ 0) becomes zero, and no log is
    // written. With more it is balanceOf(address).
    let code = bytes!("36600410601657335f525f60205260405f205f9055005b6004355f525f60205260405f20545f5260205ff3");
    let mut session = session(&[]);
    let token = Address::repeat_byte(0xdd);
    session.set_code(token, code).unwrap();
    let slot = alloy_primitives::keccak256([ANA.into_word().0, [0; 32]].concat());
    session.set_storage(token, slot.into(), U256::from(500)).unwrap();
    let changes = session.simulate(&Call::new(ANA, token, bytes!("deadbeef"))).unwrap().changes;
    let change = changes.disagreements().next().unwrap();
    assert_eq!((change.account, change.before, change.after), (ANA, Some(U256::from(500)), Some(U256::ZERO)));
}

#[test]
fn a_call_that_reverts_moves_nothing() {
    let mut session = session(&bytes!("5f5ffd"));
    let call = Call::new(ANA, crate::sessions::CODE, bytes!("")).value(U256::from(3));
    let simulation = session.simulate(&call).unwrap();
    assert!(!simulation.outcome.is_success());
    assert!(simulation.changes.tokens.is_empty() && simulation.changes.native.is_empty());
}

#[test]
fn permit2_keeps_allowances_of_its_own() {
    // A stand-in: with four words of calldata it grants (owner, token, spender and amount; for ever), else it answers.
    let grant = [
        // slot 0 = amount, slot 1 = 2^48 - 1
        bytes!("6060355f5565ffffffffffff600155"),
        // log4(amount and end, Approval, owner, token, spender)
        bytes!("6060355f5265ffffffffffff6020526040356020355f357fda9fa7c1b00402c17d0161b249b1ab8bbec047c5a52207b9c112deffd817036b60405fa400"),
    ]
    .concat();
    let answer = bytes!("5f545f5260015460205260605ff3");
    let start = u8::try_from(8 + grant.len()).unwrap();
    // calldatasize == 128 falls through to the grant.
    let code = [&[0x36, 0x60, 0x80, 0x14, 0x15, 0x60, start, 0x57][..], &grant, &[0x5b], &answer].concat();
    let mut session = session(&[]);
    session.set_code(PERMIT2, code).unwrap();
    let token = Address::repeat_byte(0xdd);
    let data = (ANA, token, BEN, U256::from(77)).abi_encode();
    let changes = session.simulate(&Call::new(ANA, PERMIT2, data)).unwrap().changes;
    let allowance = &changes.allowances[0];
    assert_eq!((allowance.token, allowance.owner, allowance.spender), (token, ANA, BEN));
    assert_eq!((allowance.via, allowance.after), (Some(PERMIT2), Some(U256::from(77))));
    assert_eq!(allowance.expiration, Some((1 << 48) - 1));
    assert_eq!(allowance.logged, Some(U256::from(77)));
}

#[test]
fn a_proxy_that_changes_its_code_in_a_call_is_shown() {
    // Delegates to the code in the slot of EIP-1967, then points the slot at the caller.
    let slot = "7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";
    let code = format!("5f5f5f5f{slot}545af45033{slot}5500");
    let mut session = session(&[]);
    let proxy = Address::repeat_byte(0xdd);
    session.set_code(proxy, alloy_primitives::hex::decode(code).unwrap()).unwrap();
    let changes = session.simulate(&Call::new(ANA, proxy, bytes!(""))).unwrap().changes;
    let change = &changes.ownership[0];
    assert_eq!((change.contract, change.role, change.after), (proxy, Role::Implementation, ANA));
}
