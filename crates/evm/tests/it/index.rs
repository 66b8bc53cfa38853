//! The index: its holders are those that the token names, its answers for the past stay, other chains can be replayed.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256};
use alloy_sol_types::SolValue;
use proptest::prelude::*;
use surety_evm::canonical::{self, steps};
use surety_evm::chain::{DEV_ACCOUNTS, DevChain};
use surety_evm::index::{
    APPROVAL, APPROVAL_FOR_ALL, BackfillError, Index, PERMIT2_APPROVAL, PERMIT2_LOCKDOWN, Right, Span, TRANSFER,
    backfill,
};
use surety_evm::rpc::serve;
use surety_evm::{Call, Chain, Limits, PERMIT2, Session};

use crate::chain::{chain, config, signed};
use crate::npm;

const TOKEN: Address = Address::repeat_byte(0x70);

fn log(token: Address, topics: &[B256], data: impl Into<Bytes>) -> Log {
    Log { address: token, data: LogData::new(topics.to_vec(), data.into()).unwrap() }
}

fn amount(value: u64) -> Vec<u8> {
    U256::from(value).to_be_bytes::<32>().to_vec()
}

/// A chain with a plain token of account 0, deployed in block 1, and the token's address.
fn with_token() -> Option<(DevChain, Address)> {
    let code = npm::init_code("@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json")?;
    let arguments = ("Plain".to_owned(), "PLN".to_owned(), U256::from(1_000_000), DEV_ACCOUNTS[0]).abi_encode_params();
    let chain = chain(config());
    let creation = Call::create(DEV_ACCOUNTS[0], [code, arguments].concat()).gas(3_000_000);
    chain.submit(&signed(0, 0, &creation)).unwrap();
    Some((chain, DEV_ACCOUNTS[0].create(0)))
}

fn balance(chain: &DevChain, block: u64, token: Address, who: Address) -> U256 {
    let mut session = Session::new(&chain.snapshot(Some(block)).unwrap(), Limits::default());
    steps::balance_of(&mut session, token, who).unwrap()
}

#[test]
fn whom_an_account_paid_is_what_its_own_transactions_did() {
    let chain = chain(config());
    let [ana, ben, cleo] = [DEV_ACCOUNTS[0], DEV_ACCOUNTS[1], DEV_ACCOUNTS[2]];
    let pay = |from, to, wei: u64| Call::new(from, to, Bytes::new()).value(U256::from(wei)).gas(21_000);
    chain.submit(&signed(0, 0, &pay(ana, ben, 5))).unwrap();
    chain.submit(&signed(1, 0, &pay(ben, cleo, 5))).unwrap();
    // Nothing was paid.
    chain.submit(&signed(0, 1, &pay(ana, cleo, 0))).unwrap();
    let index = chain.index().unwrap();
    assert_eq!(index.paid_by(ana, None, 10), Some(vec![ben]));
    assert_eq!(index.paid_by(ana, Some(0), 10), Some(Vec::new()));
    assert_eq!(index.paid_by(ana, Some(99), 10), None);
    // A log is a claim: only in one's own transaction it counts.
    let claims = Index::new(0);
    claims.add_genesis(&[log(TOKEN, &[TRANSFER, ana.into_word(), cleo.into_word()], amount(5))], &[]);
    assert_eq!(claims.paid_by(ana, None, 10), Some(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn holders_are_those_that_the_token_names(
        moves in proptest::collection::vec((0usize..4, 0usize..5, 0u64..400_000), 1..25),
    ) {
        let Some((chain, token)) = with_token() else { return Ok(()) };
        let mut nonces = [1, 0, 0, 0];
        for (from, to, value) in moves {
            // Some fail for want of tokens; the index must not count them.
            let step = steps::transfer(DEV_ACCOUNTS[from], token, DEV_ACCOUNTS[to], U256::from(value));
            chain.submit(&signed(from, nonces[from], &step)).unwrap();
            nonces[from] += 1;
        }
        let last = chain.newest().header.number;
        for block in [1, last / 2 + 1, last] {
            let holders = chain.index().unwrap().holders(token, Some(block), 100).unwrap();
            prop_assert!(!holders.inconsistent);
            prop_assert_eq!(holders.total, U256::from(1_000_000));
            prop_assert_eq!(holders.count, holders.top.len());
            for who in &DEV_ACCOUNTS[..5] {
                let indexed = holders.top.iter().find(|holder| holder.address == *who);
                let indexed = indexed.map(|holder| holder.balance).unwrap_or_default();
                prop_assert_eq!(indexed, balance(&chain, block, token, *who));
            }
            prop_assert!(holders.top.is_sorted_by(|a, b| a.balance >= b.balance));
        }
    }

    #[test]
    fn no_log_breaks_the_index(
        topics in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
        kind in 0usize..5,
        data in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let kinds = [TRANSFER, APPROVAL, APPROVAL_FOR_ALL, PERMIT2_APPROVAL, PERMIT2_LOCKDOWN];
        let topics: Vec<B256> = std::iter::once(kinds[kind]).chain(topics.into_iter().map(B256::from)).collect();
        let index = Index::new(0);
        index.add_genesis(&[log(PERMIT2, &topics, data)], &[]);
        prop_assert_eq!(index.covered(), Some(0..=0));
    }
}

#[test]
fn creators_are_known_also_behind_a_factory() {
    let Some(world) = crate::canonical::world() else { return };
    let chain = DevChain::new(config(), world.genesis);
    let (a, b) = (canonical::USDC, canonical::WETH);
    chain.submit(&signed(0, 0, &steps::create_pair(DEV_ACCOUNTS[0], a, b).gas(4_000_000))).unwrap();
    let creation = chain.index().unwrap().creation(steps::pair_of(a, b), None).unwrap();
    assert_eq!(creation.creator, canonical::V2_FACTORY);
    assert_eq!(creation.origin, DEV_ACCOUNTS[0]);
    assert_eq!(creation.block, 1);
    assert!(chain.index().unwrap().creation(steps::pair_of(a, b), Some(0)).is_none());
    assert_eq!(chain.index().unwrap().creation(canonical::USDC, None).unwrap().creator, canonical::PROXY_ADMIN);
    assert_eq!(chain.index().unwrap().created_by(DEV_ACCOUNTS[0], None, 10).unwrap().len(), 1);
    let holders = chain.index().unwrap().holders(canonical::USDC, None, 3).unwrap();
    assert_eq!((holders.count, holders.top.len()), (10, 3), "what the genesis minted is indexed");
}

#[test]
fn approvals_stand_until_they_are_taken_back() {
    let (owner, spender) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let index = Index::new(0);
    let pair = [owner.into_word(), spender.into_word()];
    let item = B256::from(U256::from(9));
    let third = [owner.into_word(), TOKEN.into_word(), spender.into_word()];
    index.add_genesis(
        &[
            log(TOKEN, &[APPROVAL, pair[0], pair[1]], amount(5)),
            log(TOKEN, &[APPROVAL_FOR_ALL, pair[0], pair[1]], amount(1)),
            log(TOKEN, &[APPROVAL, pair[0], pair[1], item], Bytes::new()),
            log(
                PERMIT2,
                &[PERMIT2_APPROVAL, third[0], third[1], third[2]],
                [amount(7), amount(1_900_000_000)].concat(),
            ),
            // Only Permit2 itself speaks for Permit2.
            log(TOKEN, &[PERMIT2_APPROVAL, third[0], third[1], third[2]], [amount(8), amount(1)].concat()),
        ],
        &[],
    );
    let rights = |index: &Index| {
        let approvals = index.approvals(owner, None, 10).unwrap();
        approvals.into_iter().map(|approval| (approval.grant.via, approval.grant.right)).collect::<Vec<_>>()
    };
    let given = rights(&index);
    assert_eq!(given.len(), 4);
    assert!(given.contains(&(None, Right::Amount { amount: U256::from(5), expiration: None })));
    assert!(given.contains(&(None, Right::All { allowed: true })));
    assert!(given.contains(&(None, Right::Item { item: U256::from(9) })));
    let permit2 = Right::Amount { amount: U256::from(7), expiration: Some(1_900_000_000) };
    assert!(given.contains(&(Some(PERMIT2), permit2)));
    assert_eq!(index.approvals(owner, None, 2).unwrap().len(), 2, "bounded");
    assert!(index.approvals(owner, Some(1), 10).is_none(), "a block that is not covered is not known");

    let index = Index::new(0);
    index.add_genesis(
        &[
            log(TOKEN, &[APPROVAL, pair[0], pair[1]], amount(5)),
            log(TOKEN, &[APPROVAL, pair[0], pair[1]], amount(0)),
            log(TOKEN, &[APPROVAL_FOR_ALL, pair[0], pair[1]], amount(1)),
            log(TOKEN, &[APPROVAL_FOR_ALL, pair[0], pair[1]], amount(0)),
            log(TOKEN, &[APPROVAL, pair[0], pair[1], item], Bytes::new()),
            log(TOKEN, &[TRANSFER, pair[0], pair[1], item], Bytes::new()),
            log(PERMIT2, &[PERMIT2_APPROVAL, third[0], third[1], third[2]], [amount(7), amount(1)].concat()),
            log(PERMIT2, &[PERMIT2_LOCKDOWN, pair[0]], (TOKEN, spender).abi_encode()),
        ],
        &[],
    );
    assert_eq!(rights(&index), []);
}

#[test]
fn a_transfer_of_what_was_never_received_is_marked() {
    let index = Index::new(5);
    let (from, to) = (Address::repeat_byte(1), Address::repeat_byte(2));
    index.add_genesis(&[log(TOKEN, &[TRANSFER, from.into_word(), to.into_word()], amount(5))], &[]);
    assert!(index.holders(TOKEN, None, 10).unwrap().inconsistent);
    assert!(index.holders(TOKEN, Some(4), 10).is_none());
}

fn span(to: u64) -> Span {
    Span { from: 0, to, addresses: Vec::new(), step: 4, max_logs: 1000, timeout: Duration::from_secs(20) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_behind_rpc_is_replayed_to_the_same_holders() {
    let Some((chain, token)) = with_token() else { return };
    for nonce in 1..12 {
        let step = steps::transfer(DEV_ACCOUNTS[0], token, DEV_ACCOUNTS[nonce as usize % 4], U256::from(nonce));
        chain.submit(&signed(0, nonce, &step)).unwrap();
    }
    let server = serve(([127, 0, 0, 1], 0).into(), Arc::new(chain), None).await.unwrap();
    let (client, own) = (reqwest::Client::new(), server.chain().index().unwrap());
    let replayed = backfill(&client, &server.url(), &span(12)).await.unwrap();
    assert_eq!(replayed.covered(), Some(0..=12));
    for block in 1..=12 {
        assert_eq!(replayed.holders(token, Some(block), 9), own.holders(token, Some(block), 9));
    }
    let few = Span { max_logs: 3, ..span(12) };
    assert!(matches!(backfill(&client, &server.url(), &few).await, Err(BackfillError::TooMany(3))));
    let url = server.url();
    server.stop().await;
    assert!(matches!(backfill(&client, &url, &span(12)).await, Err(BackfillError::Unreachable(_))));
}
