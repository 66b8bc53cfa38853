//! ReportFault: a wrong answer that can be proven is paid for without a vote (`market.md` B8).

use surety_primitives::answer::evidence::{self, EARLY, Evidence, FaultKind, VersionRecord};
use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{Address, Amount, DatasetId, Hash32, ProviderId, PurchaseId, Seconds, typed_struct};

use super::Error;
use super::coverage::{self, attach_row, charge_rows, load_purchase};
use super::payment::{self, PERIODS_MOST, ensure_count};
use super::state::{
    DATASET_VERSIONS, DATASETS, Event, FAULTS, Fault, PENALTIES, PROVIDER_KEYS, PURCHASES, Penalty, Provider,
    PurchaseRecord, PurchaseStatus,
};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

/// Length of the time in which penalties together are capped: 30 days.
const PENALTY_SPAN: Seconds = Seconds(30 * 86_400);

typed_struct! {
    /// Proves a fault of one purchase's provider: cover to its consumer, a penalty, the end of the purchase. Anyone may.
    pub struct ReportFault {
        /// The purchase that a wrong Answer of the evidence was paid from.
        pub purchase: PurchaseId,
        /// The provider's key at the time of each Answer, 1 or 2; a single one is for both.
        pub keys: Vec<Bytes32>,
        /// At most 8 periods whose tranches pay where stake is short.
        pub periods: Vec<u64>,
        /// Evidence of kind 1, 2 or 3, borsh, at most 16 KiB.
        pub evidence: Blob,
    }
}

impl Action for ReportFault {
    fn check(&self) -> Result<()> {
        ensure_count("keys", self.keys.len(), 1, 2)?;
        ensure_count("periods", self.periods.len(), 0, PERIODS_MOST)?;
        self.evidence()?;
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_purchase(ctx, &self.purchase)?;
        let closes = purchase.end().after(ctx.params().fault_window);
        ensure!(ctx.now() < closes, Error::TooOld { at: closes });
        let mut provider = coverage::load(ctx, &purchase.provider)?;
        let proven = self.prove(ctx, &purchase)?;
        ensure!(!FAULTS.has(ctx, &(proven.id, self.purchase)), Error::Known);

        // Set before the cover is paid: what the consumer gets does not make the penalty smaller.
        let penalty = self.set_penalty(ctx, purchase.provider, &mut provider, &proven)?;
        let cover = self.cover(ctx, &mut purchase, &mut provider, &proven)?;
        levy(ctx, &mut provider, &self.periods, &proven.id);
        coverage::store(ctx, &purchase.provider, &mut provider);
        end(ctx, &mut purchase);
        PURCHASES.set(ctx, &self.purchase, &purchase);
        let kind = proven.kind as u8;
        ctx.emit(Event::FaultProven { fault: proven.id, purchase: self.purchase, kind, cover, penalty });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PURCHASES.key(&self.purchase));
        keys.extend(self.keys.iter().map(|key| PROVIDER_KEYS.key(key)));
    }
}

fn bad(error: &evidence::Error) -> Error {
    Error::BadProof { reason: error.to_string() }
}

fn bad_because(reason: &str) -> Error {
    Error::BadProof { reason: reason.to_owned() }
}

impl ReportFault {
    fn evidence(&self) -> Result<Evidence> {
        Ok(Evidence::from_bytes(&self.evidence.0).map_err(|error| bad(&error))?)
    }

    /// Checks the evidence against keys, datasets and the purchase.
    fn prove(&self, ctx: &Context<'_>, purchase: &PurchaseRecord) -> Result<evidence::Fault> {
        let evidence = self.evidence()?;
        let provider = evidence.provider().map_err(|error| bad(&error))?;
        ensure!(provider == purchase.provider, bad_because("the purchase is another provider's"));
        let fault = match &evidence {
            Evidence::Contradiction(case) => {
                let key = self.key(ctx, 0, provider, case.answer.answer.time)?;
                let claim = &case.opening.claim;
                let record = version_record(ctx, claim.dataset, claim.version);
                case.check(&key, &record.ok_or_else(|| bad_because("there is no such version: that is kind 3"))?)
            }
            Evidence::Equivocation(case) => {
                let first = self.key(ctx, 0, provider, case.first.answer.time)?;
                let second = self.key(ctx, 1, provider, case.second.answer.time)?;
                case.check(&first, &second)
            }
            Evidence::Basis(case) => {
                let key = self.key(ctx, 0, provider, case.answer.answer.time)?;
                let cited = case.cited().map_err(|error| bad(&error))?;
                let swept = DATASETS.get(ctx, &cited.id).is_some_and(|dataset| cited.version < dataset.first_kept);
                ensure!(!swept, bad_because("this version is no longer kept"));
                let record = version_record(ctx, cited.id, cited.version);
                case.check(&key, record.as_ref(), ctx.params().dataset_grace)
            }
        };
        let fault = fault.map_err(|error| bad(&error))?;
        let ours = fault.calls.iter().any(|call| call.purchase == self.purchase);
        ensure!(ours, bad_because("no Answer was paid from this purchase"));
        // A reference may be used again once its purchase is swept: what was answered before is not this purchase's.
        let early = fault.time.after(EARLY) < purchase.not_before;
        ensure!(!early, bad_because("the Answer is older than the purchase"));
        Ok(fault)
    }

    /// The named key of Answer `index`, if it was the provider's at `time`.
    fn key(&self, ctx: &Context<'_>, index: usize, provider: ProviderId, time: Seconds) -> Result<PublicKey> {
        let key = self.keys.get(index).or(self.keys.first()).ok_or(Error::NotThisKey)?;
        let record = PROVIDER_KEYS.get(ctx, key).ok_or(Error::NotThisKey)?;
        // Clocks of sidecars may differ from the ledger's by as much as clients accept.
        let known = record.from <= time.after(EARLY);
        let valid = record.until.is_none_or(|until| time <= until.after(EARLY));
        ensure!(record.provider == provider && known && valid, Error::NotThisKey);
        Ok(PublicKey(key.0))
    }

    /// Sets the penalty, once a fault: a part of the whole stake, within the cap of 30 days. Returns it; nothing where it
    /// was set before.
    fn set_penalty(
        &self,
        ctx: &mut Context<'_>,
        id: ProviderId,
        provider: &mut Provider,
        proven: &evidence::Fault,
    ) -> Result<Amount> {
        if PENALTIES.has(ctx, &proven.id) {
            return Ok(Amount::ZERO);
        }
        let amount = within_cap(ctx, provider, proven.kind);
        let deposit = charge_rows(ctx, 1)?;
        let (reporter, proven_at) = (ctx.signer(), ctx.now());
        let record = Penalty { provider: id, reporter, amount, unpaid: amount, deposit, proven: proven_at };
        provider.owed = provider.owed.saturating_add(amount);
        PENALTIES.set(ctx, &proven.id, &record);
        Ok(amount)
    }

    /// Pays one cover, if one is left. Returns what was paid at once; the rest stays promised.
    fn cover(
        &self,
        ctx: &mut Context<'_>,
        purchase: &mut PurchaseRecord,
        provider: &mut Provider,
        proven: &evidence::Fault,
    ) -> Result<Amount> {
        let unpaid = if purchase.cover_left > 0 { purchase.cover } else { Amount::ZERO };
        purchase.cover_left = purchase.cover_left.saturating_sub(1);
        attach_row(ctx, purchase)?;
        let mut fault = Fault { kind: proven.kind as u8, reporter: ctx.signer(), unpaid, service: purchase.service };
        let paid = payment::pay_cover(ctx, purchase, provider, &self.periods, &mut fault);
        FAULTS.set(ctx, &(proven.id, self.purchase), &fault);
        Ok(paid)
    }
}

/// Takes what can be taken now of a fault's penalty. Returns how much.
pub(super) fn levy(ctx: &mut Context<'_>, provider: &mut Provider, periods: &[u64], fault: &Hash32) -> Amount {
    let Some(mut penalty) = PENALTIES.get(ctx, fault) else { return Amount::ZERO };
    let taken = payment::levy(ctx, provider, periods, &mut penalty);
    PENALTIES.set(ctx, fault, &penalty);
    taken
}

// Unbonding stake counts too: otherwise leaving the day before a report would be cheaper.
fn within_cap(ctx: &Context<'_>, provider: &mut Provider, kind: FaultKind) -> Amount {
    let params = ctx.params();
    let part = match kind {
        FaultKind::Equivocation => params.penalty_equivocation_bps,
        FaultKind::Contradiction | FaultKind::Basis => params.penalty_fault_bps,
    };
    if ctx.now() >= provider.penalty_since.after(PENALTY_SPAN) {
        provider.penalty_since = ctx.now();
        provider.penalties = Amount::ZERO;
    }
    let bonded = provider.unbonding.iter().fold(provider.stake, |sum, entry| sum.saturating_add(entry.amount));
    let left = bonded.bps_down(params.penalty_cap_bps).saturating_sub(provider.penalties);
    let amount = bonded.bps_down(part).min(left);
    provider.penalties = provider.penalties.saturating_add(amount);
    amount
}

fn version_record(ctx: &Context<'_>, dataset: DatasetId, version: u64) -> Option<VersionRecord> {
    let row = DATASET_VERSIONS.get(ctx, &(dataset, version))?;
    Some(VersionRecord {
        root: row.root,
        count: row.count,
        published: row.published,
        valid_until: row.valid_until,
        retired: row.retired,
    })
}

// The provider may still claim what was signed; all the rest returns when the purchase settles.
fn end(ctx: &Context<'_>, purchase: &mut PurchaseRecord) {
    purchase.ended = Some(purchase.ended.unwrap_or_else(|| ctx.now()));
    if purchase.status == PurchaseStatus::Open {
        purchase.status = PurchaseStatus::Faulted;
    }
}

#[cfg(test)]
mod tests;
