//! PublishDataset: state the root of a list that Answers will cite (`market.md` B3).

use surety_primitives::dataset::MAX_COUNT;
use surety_primitives::{Address, Amount, DatasetId, Hash32, ProviderId, Seconds, typed_struct};

use super::state::{COUNTERS, DATASET_NAMES, DATASET_VERSIONS, DATASETS, Dataset, DatasetVersion, Event, OWNERS};
use super::terms::is_text;
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Publishes the next version of a dataset of the signer's provider; a new name begins a new dataset.
    pub struct PublishDataset {
        /// Its name, 1 to 64 bytes.
        pub name: String,
        /// Merkle root over its sorted entries.
        pub root: Hash32,
        /// Number of entries.
        pub count: u64,
        /// The data's own date, seconds since 1970.
        pub date: u64,
        /// Licence, at most 64 bytes.
        pub licence: String,
        /// Answers may cite it until then, ledger time.
        pub valid_until: Seconds,
    }
}

impl Action for PublishDataset {
    fn check(&self) -> Result<()> {
        let bad = |field, rule| Error::BadRange { field, rule };
        ensure!(!self.name.is_empty() && is_text(&self.name, 64, false), bad("name", "1 to 64 bytes of text"));
        ensure!(is_text(&self.licence, 64, false), bad("licence", "at most 64 bytes of text"));
        ensure!(self.count <= MAX_COUNT, bad("count", "at most what a dataset may have"));
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let (publisher, _) = coverage::own(ctx).map_err(|_| Error::NotPublisher)?;
        let later = Error::BadRange { field: "valid_until", rule: "later than now" };
        ensure!(self.valid_until > ctx.now(), later);
        let (id, mut dataset) = self.find_or_begin(ctx, publisher)?;
        let deposit = coverage::charge_rows(ctx, 1)?;

        let version = dataset.latest.saturating_add(1);
        dataset.latest = version;
        DATASETS.set(ctx, &id, &dataset);
        DATASET_VERSIONS.set(ctx, &(id, version), &self.record(ctx.now(), deposit));
        let (name, root) = (self.name.clone(), self.root);
        ctx.emit(Event::DatasetPublished { dataset: id, version, publisher, name, root });
        Ok(())
    }

    fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        keys.extend([OWNERS.key(&signer), COUNTERS.key(&())]);
    }
}

impl PublishDataset {
    fn find_or_begin(&self, ctx: &mut Context<'_>, publisher: ProviderId) -> Result<(DatasetId, Dataset)> {
        let key = (publisher, self.name.clone());
        if let Some(id) = DATASET_NAMES.get(ctx, &key) {
            let dataset = DATASETS.get(ctx, &id).ok_or(Error::UnknownDataset)?;
            return Ok((id, dataset));
        }
        // Its own row and its name's.
        let deposit = coverage::charge_rows(ctx, 2)?;
        let id = next_id(ctx);
        DATASET_NAMES.set(ctx, &key, &id);
        Ok((id, Dataset { publisher, name: self.name.clone(), latest: 0, first_kept: 1, deposit }))
    }

    fn record(&self, published: Seconds, deposit: Amount) -> DatasetVersion {
        let Self { root, count, date, valid_until, .. } = *self;
        let licence = self.licence.clone();
        DatasetVersion { root, count, date, licence, published, valid_until, retired: None, deposit }
    }
}

fn next_id(ctx: &mut Context<'_>) -> DatasetId {
    let mut counters = COUNTERS.get(ctx, &()).unwrap_or_default();
    counters.datasets = counters.datasets.saturating_add(1);
    COUNTERS.set(ctx, &(), &counters);
    DatasetId(counters.datasets)
}
