//! What the lists of a folder take in memory, and how many checks a second one core makes of them.

use std::hint::black_box;
use std::path::Path;

use alloy_primitives::Address;
use anyhow::{Context, Result};
use surety_primitives::Seconds;
use surety_primitives::hash::keccak;
use surety_security::address::standing_of;
use surety_security::router::request;
use surety_security::{Lists, Sources};

use super::{Figure, rate, recovery, time_rounds};
use crate::commands::check;
use crate::output::Output;

/// Names and addresses that are asked about in turn; nobody lists them.
const ASKED: u64 = 1_024;

pub(super) fn measure(folder: &Path, output: &Output) -> Result<Vec<Figure>> {
    let before = resident()?;
    let lists = check::lists(folder, output)?;
    let after = resident()?;
    let datasets = || [lists.names(), lists.addresses()].into_iter().flatten();
    anyhow::ensure!(datasets().next().is_some(), "there are no lists in {}: make some first", folder.display());
    let entries: usize = datasets().map(|dataset| dataset.entries().count()).sum();
    let bytes: usize = datasets().map(|dataset| dataset.to_bytes().len()).sum();
    let taken = after.saturating_sub(before) << 10;
    let memory = Figure::new(
        &format!("memory of lists with {entries} entries"),
        format!("{} MB", taken >> 20),
        "their bytes on disk",
        taken as f64 / bytes as f64,
    );
    let second = recovery();
    let checked = |name: &str, seconds| Figure::new(name, rate(seconds), "recovery of a signature", second / seconds);
    Ok(vec![
        memory,
        checked("address check, nobody lists it", addresses(&lists)),
        checked("phishing check, nobody lists it", names(&lists)?),
    ])
}

/// Seconds for what lists say of one address.
fn addresses(lists: &Lists) -> f64 {
    let asked: Vec<Address> =
        (0..ASKED).map(|i| Address::from_slice(&keccak(&[b"nobody", &i.to_be_bytes()]).0[..20])).collect();
    let (mut turn, request) = (asked.iter().cycle(), surety_security::service::Request::default());
    time_rounds(|| {
        if let Some(address) = turn.next() {
            black_box(standing_of(lists, black_box(&address.0.0), &request));
        }
    })
}

/// Seconds for the verdict on one name, without its proof and signature.
fn names(lists: &Lists) -> Result<f64> {
    let (service, _) = surety_security::service::service_of("/api/v1/phishing_site").context("no such service")?;
    let ask = |i| request("", &format!("url=nobody-{i}.example.org"), Seconds(0)).context("a plain question");
    let asked = (0..ASKED).map(ask).collect::<Result<Vec<_>>>()?;
    let mut turn = asked.iter().cycle();
    Ok(time_rounds(|| {
        if let Some(request) = turn.next() {
            let said = service.gather(Sources::from(lists), request).and_then(|gathered| {
                let said = service.judge(&gathered)?;
                Ok(black_box(said.result))
            });
            let _ = black_box(said);
        }
    }))
}

/// Resident memory of this process, in kB.
fn resident() -> Result<u64> {
    super::restart::resident(std::process::id())
}
