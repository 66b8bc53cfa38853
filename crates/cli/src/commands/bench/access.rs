//! Checks of calls, in process: what a sidecar pays for each before anything else.

use anyhow::Result;
use surety_primitives::access::{
    CallSigner, Flags, Grant, LaneClient, LaneKey, LaneState, verify_chain, verify_signed_call,
};
use surety_primitives::keys::{DhSecret, SecretKey};
use surety_primitives::{Hash32, Lane, NetworkId, ProviderId, PurchaseId, Seconds};
use zeroize::Zeroizing;

use super::{Figure, rate, recovery, time_rounds};

pub(super) fn measure() -> Result<Vec<Figure>> {
    let (caller, provider) = (secret(1), secret(2));
    let purchase = PurchaseId([3; 16]);
    let grant = Grant {
        network: NetworkId(1),
        purchase,
        key_version: 1,
        call_key: caller.public(),
        lanes: 1,
        quota: u64::MAX,
        not_before: Seconds(0),
        end: Seconds(u64::MAX),
    };
    let authority = verify_chain(&grant, &[])?;
    let signer = CallSigner::new(&grant, Vec::new(), caller.clone(), ProviderId(1), provider.public())?;
    let mut lane = LaneClient::new(signer.into(), Lane(0), LaneState::default())?;
    let request = Hash32([5; 32]);
    let ephemeral = DhSecret::from_bytes(Zeroizing::new([6; 32]));
    let (signed, _) = lane.open(request, 1, Flags::NONE, &ephemeral)?;
    let (tagged, _) = lane.tagged(request, 1, Flags::NONE)?;
    let key = LaneKey::of_provider(&provider, &ephemeral.public(), &purchase, Lane(0), &caller.public())?;
    let mac = time_rounds(|| assert!(std::hint::black_box(key.check_call(&tagged, &request)).is_ok()));
    let signature = time_rounds(|| {
        assert!(std::hint::black_box(verify_signed_call(&signed, &authority, &request)).is_ok());
    });
    let base = "account signature recovery, one core";
    let recovery = recovery();
    Ok(vec![
        Figure::new("MAC call checked", rate(mac), base, recovery / mac),
        Figure::new("signed call checked", rate(signature), base, recovery / signature),
    ])
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([seed; 32]))
}
