//! RetireDataset: end a version before its time (`market.md` B3).

use surety_primitives::{Address, DatasetId, typed_struct};

use super::state::{DATASET_VERSIONS, DATASETS, Event};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Retires a version that the signer's provider published. Answers may cite it for the grace more (600 s).
    pub struct RetireDataset {
        /// The dataset.
        pub dataset: DatasetId,
        /// Which version.
        pub version: u64,
    }
}

impl Action for RetireDataset {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let dataset = DATASETS.get(ctx, &self.dataset).ok_or(Error::UnknownDataset)?;
        let (publisher, _) = coverage::own(ctx).map_err(|_| Error::NotPublisher)?;
        ensure!(dataset.publisher == publisher, Error::NotPublisher);
        let key = (self.dataset, self.version);
        let mut version = DATASET_VERSIONS.get(ctx, &key).ok_or(Error::UnknownDataset)?;
        if let Some(at) = version.retired {
            return Err(Error::Retired { at }.into());
        }

        version.retired = Some(ctx.now());
        DATASET_VERSIONS.set(ctx, &key, &version);
        ctx.emit(Event::DatasetRetired { dataset: self.dataset, version: self.version });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([DATASETS.key(&self.dataset), DATASET_VERSIONS.key(&(self.dataset, self.version))]);
    }
}
