//! Showing, at the end of a purchase, what was answered and not acknowledged (`market.md` B6.3).

use surety_primitives::hash::h;
use surety_primitives::{Hash32, Lane, PurchaseId, Seconds};

use super::{SHOW, act, counts, refresh};
use crate::error::Error;
use crate::ledger::{Duty, PurchaseView, ShowLane};
use crate::package::Package;
use crate::state::State;

/// Most lanes that can be shown.
const MAX_SHOWN: usize = 16;

/// Shows Answers that nobody acknowledged, in the second half of the time for it: until then the caller may still settle.
pub(super) async fn show(state: &State, package: &Package, view: &PurchaseView, now: Seconds) -> Result<(), Error> {
    let half = Seconds(state.config.duties.claim_window_s / 2);
    if view.shown || now < view.grant.end.after(half) || !package.backoff.is_due(SHOW, state.now_ms()) {
        return Ok(());
    }
    let mut left = u64::from(view.window).min(view.grant.quota.saturating_sub(view.claimed));
    let mut entries = Vec::new();
    for (lane, count) in unacknowledged(package) {
        let count = count.min(left);
        if count == 0 || entries.len() == MAX_SHOWN {
            break;
        }
        if let Some(entry) = entry(state, package, view, lane, count, now).await? {
            left -= entry.count;
            entries.push(entry);
        }
    }
    let entries = choose(entries, package.backoff.refusals(SHOW));
    if entries.is_empty() {
        return Ok(());
    }
    act(state, package, Duty::Show { purchase: package.id, entries }).await?;
    refresh(state, package).await.map(|_| ())
}

/// One bad lane makes the ledger refuse all of them, and it shows only once: first all, then all but one, then one alone.
fn choose(mut entries: Vec<ShowLane>, refusals: u32) -> Vec<ShowLane> {
    let (Some(before), many) = (refusals.checked_sub(1), entries.len() as u64) else { return entries };
    if many < 2 {
        return entries;
    }
    let at = usize::try_from(u64::from(before) % many).unwrap_or(0);
    if (u64::from(before) / many).is_multiple_of(2) {
        entries.remove(at);
        entries
    } else {
        vec![entries.swap_remove(at)]
    }
}

fn unacknowledged(package: &Package) -> Vec<(Lane, u64)> {
    let inner = package.lock();
    let mut lanes: Vec<(Lane, u64)> =
        inner.meter.lanes().map(|(lane, meter)| (lane, u64::try_from(meter.pending()).unwrap_or(0))).collect();
    lanes.retain(|(_, count)| *count > 0);
    lanes.sort_unstable_by_key(|(lane, count)| (std::cmp::Reverse(*count), *lane));
    lanes
}

/// What can be shown of a lane; nothing where its opening call no longer counts.
async fn entry(
    state: &State,
    package: &Package,
    view: &PurchaseView,
    lane: Lane,
    count: u64,
    now: Seconds,
) -> Result<Option<ShowLane>, Error> {
    let id: PurchaseId = package.id;
    let Some(opening) = state.store.opening(id, lane).await? else { return Ok(None) };
    if !counts(state, view, &opening, now).await? {
        return Ok(None);
    }
    let from_cum = state.ledger.claimed(id, lane).await?;
    let budget = opening.chain.last().map_or(view.grant.quota, |last| last.terms.max_calls);
    let logged = state.store.answers(id, lane, 0, usize::MAX).await?;
    let count = count.min(logged.len() as u64).min(budget.saturating_sub(from_cum));
    let last = &logged[logged.len() - usize::try_from(count).unwrap_or(logged.len())..];
    let leaves: Vec<&[u8]> = last.iter().map(|(_, answer)| answer.as_slice()).collect();
    Ok((count > 0).then(|| ShowLane { lane, from_cum, count, root: shown_root(&leaves), opening }))
}

/// Root over signed Answers in order of seq: leaf and node in two domains, an odd node moves up.
fn shown_root(answers: &[&[u8]]) -> Hash32 {
    let mut row: Vec<Hash32> = answers.iter().map(|answer| h("surety/access/shown-leaf/v1", &[answer])).collect();
    while row.len() > 1 {
        let pair = |pair: &[Hash32]| match pair {
            [left, right] => h("surety/access/shown-node/v1", &[&left.0, &right.0]),
            one => one.first().copied().unwrap_or_default(),
        };
        row = row.chunks(2).map(pair).collect();
    }
    row.first().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use surety_primitives::access::{Flags, Head, NO_REQUEST, SignedCall};
    use surety_primitives::keys::SecretKey;
    use zeroize::Zeroizing;

    use super::*;
    use crate::store::StoredVoucher;

    fn entry(lane: u16) -> ShowLane {
        let head =
            Head { flags: Flags::NONE, purchase: PurchaseId([7; 16]), lane: Lane(lane), seq: 1, cum: 0, deadline: 0 };
        let key = SecretKey::from_seed(&Zeroizing::new([1; 32]));
        let voucher = SignedCall::sign(&key, head, None, &NO_REQUEST).unwrap().voucher(NO_REQUEST);
        let opening = StoredVoucher { voucher, key_version: 1, chain: Vec::new() };
        ShowLane { lane: Lane(lane), from_cum: 0, count: 1, root: Hash32([0; 32]), opening }
    }

    #[test]
    fn after_refusals_each_lane_is_left_out_once_and_then_stands_alone_once() {
        let shown = |refusals| -> Vec<u16> {
            choose((0..3).map(entry).collect(), refusals).iter().map(|entry| entry.lane.0).collect()
        };
        let expected: [&[u16]; 8] = [&[0, 1, 2], &[1, 2], &[0, 2], &[0, 1], &[0], &[1], &[2], &[1, 2]];
        for (refusals, lanes) in (0..).zip(expected) {
            assert_eq!(shown(refusals), lanes, "{refusals}");
        }
        assert_eq!(choose(vec![entry(4)], 3).len(), 1);
        assert!(choose(Vec::new(), 3).is_empty());
    }
}
