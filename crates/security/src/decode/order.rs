//! Orders of marketplaces and exchanges, in calls and in typed data: who gives what for what.

use alloy_primitives::{Address, U256};

use super::action::{Action, Handover, Item, Offer, Power};
use super::args::Args;
use super::call::Call;
use super::role::Role;
use super::typed::Fields;

/// Orders that a call registers or fills.
pub(crate) fn in_call(call: &Call, role: Role, args: Args<'_>) -> Vec<Action> {
    match role {
        // Filled or registered, one order or a list of them; each begins with its parameters.
        Role::FillsOrders | Role::ValidatesOrders => {
            let orders = args.tuple(0).into_iter().chain(args.tuples(0));
            orders.filter_map(|order| seaport_in_call(order.tuple(0)?)).map(Action::Offer).collect()
        }
        Role::PreSign if args.flag(1) == Some(true) => {
            let hash = args.bytes(0).and_then(|uid| uid.first_chunk::<32>()).map(|hash| Power::Hash(hash.into()));
            let handover = |power| Action::Handover(Handover { contract: call.raw.to, power, to: None });
            hash.map(handover).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// What a Seaport item is: the native coin, a fungible token, an NFT, or any NFT that meets criteria.
fn seaport_item(kind: U256, token: Address, id: U256, amount: U256) -> Item {
    if kind.is_zero() {
        Item::native(amount)
    } else if kind == U256::ONE {
        Item::token(token, amount)
    } else {
        Item { token: Some(token), id: Some(id), amount }
    }
}

fn seaport_in_call(order: Args<'_>) -> Option<Offer> {
    let item = |one: Args<'_>| {
        // Amounts may fall over time: the worst for the maker counts.
        let amount = |give: bool| if give { one.uint(3).max(one.uint(4)) } else { one.uint(3).min(one.uint(4)) };
        Some((one.uint(0)?, one.address(1)?, one.uint(2)?, amount(true)?, amount(false)?))
    };
    let gives = order.tuples(2).filter_map(item).map(|(kind, token, id, most, _)| seaport_item(kind, token, id, most));
    let maker = order.address(0)?;
    let paid = order.tuples(3).filter_map(|one| {
        let (kind, token, id, _, least) = item(one)?;
        Some((one.address(5)?, seaport_item(kind, token, id, least)))
    });
    Some(offer("seaport", maker, gives.collect(), paid.collect()))
}

/// Splits what is paid into the maker's part and that of others.
fn offer(protocol: &'static str, maker: Address, gives: Vec<Item>, paid: Vec<(Address, Item)>) -> Offer {
    let (own, others): (Vec<_>, Vec<_>) = paid.into_iter().partition(|(to, _)| *to == maker);
    let gets = own.into_iter().map(|(_, item)| item).collect();
    Offer { protocol, maker: Some(maker), gives, gets, others, receiver: None }
}

/// A Seaport order that is about to be signed.
pub(crate) fn seaport(order: Fields<'_>) -> Option<Offer> {
    let item = |one: Fields<'_>, most: bool| {
        let (start, end) = (one.uint("startAmount")?, one.uint("endAmount")?);
        let amount = if most { start.max(end) } else { start.min(end) };
        Some(seaport_item(one.uint("itemType")?, one.address("token")?, one.uint("identifierOrCriteria")?, amount))
    };
    let maker = order.address("offerer")?;
    let gives = order.list("offer").into_iter().filter_map(|one| item(one, true)).collect();
    let paid = order.list("consideration").into_iter();
    let paid = paid.filter_map(|one| Some((one.address("recipient")?, item(one, false)?))).collect();
    Some(offer("seaport", maker, gives, paid))
}

/// A CoW order.
pub(crate) fn cow(order: Fields<'_>) -> Option<Offer> {
    let fee = order.uint("feeAmount").unwrap_or_default();
    let sold = order.uint("sellAmount")?.saturating_add(fee);
    Some(Offer {
        protocol: "cow",
        maker: None,
        gives: vec![Item::token(order.address("sellToken")?, sold)],
        gets: vec![Item::token(order.address("buyToken")?, order.uint("buyAmount")?)],
        others: Vec::new(),
        // The zero address stands for the maker.
        receiver: order.address("receiver").filter(|receiver| !receiver.is_zero()),
    })
}

/// A 0x order of version 4: limit, request for quote, over the counter.
pub(crate) fn zero_ex(order: Fields<'_>) -> Option<Offer> {
    Some(Offer {
        protocol: "0x",
        maker: order.address("maker"),
        gives: vec![Item::token(order.address("makerToken")?, order.uint("makerAmount")?)],
        gets: vec![Item::token(order.address("takerToken")?, order.uint("takerAmount")?)],
        others: Vec::new(),
        receiver: None,
    })
}

/// A 0x order for an NFT: direction 0 sells it.
pub(crate) fn zero_ex_nft(order: Fields<'_>) -> Option<Offer> {
    let (token, id, amount) = match order.address("erc721Token") {
        Some(token) => (token, order.uint("erc721TokenId")?, U256::ONE),
        None => (order.address("erc1155Token")?, order.uint("erc1155TokenId")?, order.uint("erc1155TokenAmount")?),
    };
    let nft = Item { token: Some(token), id: Some(id), amount };
    let price = Item::token(order.address("erc20Token")?, order.uint("erc20TokenAmount")?);
    let sells = order.uint("direction")?.is_zero();
    let (gives, gets) = if sells { (nft, price) } else { (price, nft) };
    let maker = order.address("maker");
    Some(Offer { protocol: "0x", maker, gives: vec![gives], gets: vec![gets], others: Vec::new(), receiver: None })
}

/// A 0x order of versions 2 and 3, whose assets are encoded with a proxy's selector.
pub(crate) fn zero_ex_old(order: Fields<'_>) -> Option<Offer> {
    let item = |amount: &str, data: &str| {
        let data = order.bytes(data)?;
        // Both the ERC-20 and the ERC-721 proxy take the token as the first word, the latter the id as the second.
        let token = Address::from_slice(data.get(16..36)?);
        let amount = order.uint(amount)?;
        let id = data.get(36..68).map(U256::from_be_slice);
        Some(Item { token: Some(token), id, amount })
    };
    Some(Offer {
        protocol: "0x",
        maker: order.address("makerAddress"),
        gives: vec![item("makerAssetAmount", "makerAssetData")?],
        gets: vec![item("takerAssetAmount", "takerAssetData")?],
        others: Vec::new(),
        receiver: None,
    })
}
