//! Stories about providers, listings, datasets and what is swept; the scene that they share.

mod datasets;
mod listings;
mod providers;
mod sweeping;

use surety_primitives::keys::SecretKey;
use surety_primitives::typed_data::{Bytes16, Bytes32};
use surety_primitives::{Address, Amount, ProviderId, PurchaseId, Seconds, ServiceId};

use super::state::{PROVIDERS, PURCHASES, Provider, PurchaseRecord};
use super::{Purchase, RegisterProvider, RegisterService};
use crate::testing::Scenario;
pub(super) use crate::testing::market::{DAY, terms};

/// The scene's provider.
pub(super) const VERA: ProviderId = ProviderId(1);
/// Its listing.
pub(super) const SERVICE: ServiceId = ServiceId(1);

/// The ed25519 key of a seed.
pub(super) fn key(seed: u8) -> Bytes32 {
    Bytes32(SecretKey::from_seed(&[seed; 32].into()).public().0)
}

pub(super) fn registration(seed: u8, stake: u64) -> RegisterProvider {
    RegisterProvider { payout: Address::ZERO, key: key(seed), stake: Amount::call(stake) }
}

/// Vera, staked with 5,000 CALL and listing one service; Carl, who buys; Eve, who is a stranger.
pub(super) fn market() -> Scenario {
    let mut chain = Scenario::new().account("vera", 20_000).account("carl", 2_000).account("eve", 5_000);
    chain.does("vera", registration(1, 5_000));
    chain.does("vera", RegisterService { terms: terms() });
    chain
}

/// Carl buys for a day; returns the purchase.
pub(super) fn buy(chain: &mut Scenario, reference: u8) -> PurchaseId {
    let client_ref = Bytes16([reference; 16]);
    let expires = chain.now().after(Seconds(DAY));
    let purchase = Purchase {
        provider: VERA,
        service: SERVICE,
        version: 1,
        max_fee: Amount::call(100),
        client_ref,
        call_key: key(100),
        lanes: 2,
        expires,
    };
    chain.does("carl", purchase);
    PurchaseId::derive(chain.network(), chain.address("carl"), client_ref.0)
}

pub(super) fn vera(chain: &Scenario) -> Provider {
    chain.get(PROVIDERS, &VERA).expect("registered")
}

pub(super) fn bought(chain: &Scenario, id: PurchaseId) -> PurchaseRecord {
    chain.get(PURCHASES, &id).expect("bought")
}
