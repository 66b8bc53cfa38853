//! A market of one provider and one listing, that of the worked flow of `market.md` B4.

use surety_primitives::access::{Flags, Head, NO_REQUEST, SignedCall};
use surety_primitives::keys::SecretKey;
use surety_primitives::typed_data::{Blob, Bytes16, Bytes32};
use surety_primitives::{Address, Amount, Hash32, Lane, ProviderId, PurchaseId, Seconds, ServiceId, hash};

use super::Scenario;
use crate::action::AnyAction;
use crate::block::Receipt;
use crate::modules::Event;
use crate::modules::market::state::{self, PROVIDERS, PURCHASES, Provider, PurchaseRecord, Terms};
use crate::modules::market::{
    Claim, KeyChain, Purchase, RegisterProvider, RegisterService, Settle, ShowAnswers, ShownAnswers,
};

/// A day of the ledger clock.
pub const DAY: u64 = 86_400;

/// The ed25519 key of a label.
#[must_use]
pub fn key(label: &str) -> SecretKey {
    SecretKey::from_seed(&hash::h("surety/test-key/v1", &[label.as_bytes()]).0.into())
}

/// Its public part, as records hold it.
#[must_use]
pub fn public(label: &str) -> Bytes32 {
    Bytes32(key(label).public().0)
}

/// 1,000 calls for 100 CALL, 30 days, everything unused returns, W = 64, cover 200 for one fault.
#[must_use]
pub fn terms() -> Terms {
    Terms {
        category: 101,
        title: "Phishing look-ups".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        chains: Vec::new(),
        region: String::new(),
        endpoint: "https://api.example".to_owned(),
        schema_hash: Hash32::default(),
        schema_url: String::new(),
        delivery: 0,
        calls: 1_000,
        price: Amount::call(100),
        life_least: Seconds(DAY),
        life_most: Seconds(60 * DAY),
        refund_bps: 10_000,
        window: 64,
        rate: 0,
        cover: Amount::call(200),
        cover_faults: 1,
        cover_cap: Amount::call(200),
        datasets: Vec::new(),
    }
}

/// What a lane's key signs: the calls that it acknowledges, or that it opens the lane.
#[must_use]
pub fn voucher(label: &str, purchase: PurchaseId, lane: u16, cum: u64, opens: bool) -> Blob {
    voucher_at(label, purchase, lane, cum, opens, Seconds(u32::MAX.into()))
}

/// The same, with the deadline of a call that may be served until `at`.
#[must_use]
pub fn voucher_at(label: &str, purchase: PurchaseId, lane: u16, cum: u64, opens: bool, at: Seconds) -> Blob {
    let deadline = u32::try_from(at.0).unwrap_or(u32::MAX);
    let head = Head { flags: Flags::NONE, purchase, lane: Lane(lane), seq: cum + 1, cum, deadline };
    let call = SignedCall::sign(&key(label), head, opens.then_some([9; 32]), &NO_REQUEST)
        .unwrap_or_else(|error| panic!("not a head: {error}"));
    Blob(call.voucher(NO_REQUEST).to_bytes())
}

/// A claim of what the root key `label` of version 1 acknowledges.
#[must_use]
pub fn claim(label: &str, purchase: PurchaseId, lanes: &[(u16, u64)]) -> Claim {
    Claim {
        purchase,
        vouchers: lanes.iter().map(|(lane, cum)| voucher(label, purchase, *lane, *cum, false)).collect(),
        signers: vec![0; lanes.len()],
        chains: vec![KeyChain::root(1).to_blob()],
    }
}

/// What a lane's key opened and did not acknowledge.
#[must_use]
pub fn shown(label: &str, purchase: PurchaseId, lane: u16, from_cum: u64, count: u64) -> ShownAnswers {
    ShownAnswers {
        lane: Lane(lane),
        from_cum,
        count,
        root: Hash32([1; 32]),
        opening: voucher(label, purchase, lane, 0, true),
        chain: KeyChain::root(1).to_blob(),
    }
}

/// A chain with the provider "vera" (stake 5,000, answering key "vera"), its listing, the consumer "ana" with the call key
/// "ana", and the stranger "max".
#[derive(Clone, Debug)]
pub struct Market {
    /// The chain.
    pub chain: Scenario,
    /// "vera".
    pub provider: ProviderId,
    /// Its listing.
    pub service: ServiceId,
    bought: u8,
}

impl Default for Market {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl Market {
    /// The market, with other terms where `change` says so.
    #[must_use]
    pub fn new(change: impl FnOnce(&mut Terms)) -> Self {
        let chain = Scenario::new().account("vera", 6_000).account("ana", 1_000).account("max", 1_000);
        Self::on(chain, change)
    }

    /// The market on a chain that has these accounts.
    #[must_use]
    pub fn on(mut chain: Scenario, change: impl FnOnce(&mut Terms)) -> Self {
        let stake = Amount::call(5_000);
        chain.does("vera", RegisterProvider { payout: Address::ZERO, key: public("vera"), stake });
        let mut terms = terms();
        change(&mut terms);
        chain.does("vera", RegisterService { terms });
        Self { chain, provider: ProviderId(1), service: ServiceId(1), bought: 0 }
    }

    /// What "ana" may send to buy the package for 30 days on 2 lanes, under a reference of its own.
    #[must_use]
    pub fn order(&self) -> Purchase {
        Purchase {
            provider: self.provider,
            service: self.service,
            version: 1,
            max_fee: Amount::call(100),
            client_ref: Bytes16([self.bought; 16]),
            call_key: public("ana"),
            lanes: 2,
            expires: self.chain.now().after(Seconds(30 * DAY)),
        }
    }

    /// "ana" buys.
    pub fn buy(&mut self) -> PurchaseId {
        let order = self.order();
        self.bought += 1;
        let id = PurchaseId::derive(self.chain.network(), self.chain.address("ana"), order.client_ref.0);
        self.chain.does("ana", order);
        id
    }

    /// The provider's sidecar claims lanes' calls.
    pub fn claims(&mut self, purchase: PurchaseId, lanes: &[(u16, u64)]) -> Receipt {
        self.chain.does("vera", claim("ana", purchase, lanes))
    }

    /// The provider's owner shows calls of lane 0.
    #[must_use]
    pub fn show(&self, purchase: PurchaseId, from_cum: u64, count: u64) -> ShowAnswers {
        let entries = vec![shown("ana", purchase, 0, from_cum, count)];
        ShowAnswers { purchase, entries, signature: Blob::default() }
    }

    /// Anyone settles.
    pub fn settles(&mut self, purchase: PurchaseId) -> Receipt {
        self.chain.does("max", Settle { purchase })
    }

    /// The provider's record.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.chain.get(PROVIDERS, &self.provider).unwrap_or_else(|| panic!("vera is registered"))
    }

    /// A purchase's record.
    #[must_use]
    pub fn purchase(&self, id: PurchaseId) -> PurchaseRecord {
        self.chain.get(PURCHASES, &id).unwrap_or_else(|| panic!("{id} was bought"))
    }

    /// The period whose tranche takes claims now.
    #[must_use]
    pub fn period(&self) -> u64 {
        self.chain.now().0 / self.chain.params().tranche_period.0
    }

    /// Days pass.
    pub fn wait_days(&mut self, days: u64) {
        self.chain.wait(days * DAY);
    }

    /// Someone does this.
    pub fn does(&mut self, name: &str, action: impl Into<AnyAction>) -> Receipt {
        self.chain.does(name, action)
    }
}

/// The market's events of a receipt.
#[must_use]
pub fn events(receipt: &Receipt) -> Vec<state::Event> {
    let market = |event: &Event| match event {
        Event::Market(event) => Some(event.clone()),
        _ => None,
    };
    receipt.events.iter().filter_map(market).collect()
}
