//! What a listing may say (`market.md` B3, B5).

use std::collections::BTreeSet;

use super::Error;
use super::state::{DATASETS, Delivery, Terms};
use crate::context::Context;
use crate::error::Result;
use crate::modules::params::Params;
use surety_primitives::Amount;

/// Most calls in a package.
const CALLS_MOST: u64 = 1_000_000_000_000;
/// Most tags, chains and datasets, each.
const LIST_MOST: usize = 8;
/// The widest window is this part of a package's calls.
const WINDOW_PART: u64 = 10;

const fn bad(field: &'static str, rule: &'static str) -> Error {
    Error::BadRange { field, rule }
}

/// Whether a text is short enough and has no control characters but, where allowed, line ends.
pub(super) fn is_text(text: &str, most: usize, lines: bool) -> bool {
    text.len() <= most && !text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\t')))
}

impl Terms {
    /// What can be said without parameters.
    ///
    /// # Errors
    /// [`Error::BadRange`], [`Error::BadCover`], [`Error::WindowTooWide`].
    pub(super) fn check(&self) -> Result<()> {
        self.check_texts()?;
        self.check_numbers()?;
        ensure!(self.cover_faults >= 1, Error::BadCover { rule: "at least one fault is covered" });
        ensure!(self.cover_cap >= self.cover, Error::BadCover { rule: "the cap is at least one cover" });
        let most = self.window_most();
        ensure!((1..=most).contains(&self.window), Error::WindowTooWide { most });
        Ok(())
    }

    fn check_texts(&self) -> Result<()> {
        ensure!(!self.title.is_empty() && is_text(&self.title, 96, false), bad("title", "1 to 96 bytes of text"));
        ensure!(is_text(&self.description, 4_096, true), bad("description", "at most 4,096 bytes of text"));
        let tag = |tag: &String| !tag.is_empty() && is_text(tag, 32, false);
        ensure!(self.tags.len() <= LIST_MOST && self.tags.iter().all(tag), bad("tags", "at most 8 of 1 to 32 bytes"));
        ensure!(is_text(&self.region, 32, false), bad("region", "at most 32 bytes of text"));
        ensure!(is_text(&self.endpoint, 256, false), bad("endpoint", "at most 256 bytes of text"));
        ensure!(is_text(&self.schema_url, 256, false), bad("schema_url", "at most 256 bytes of text"));
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        let root = self.category.checked_div(100);
        ensure!(root.is_some_and(|root| (1..=5).contains(&root)), bad("category", "100 to 599"));
        ensure!(self.chains.len() <= LIST_MOST, bad("chains", "at most 8"));
        let distinct: BTreeSet<_> = self.datasets.iter().collect();
        let few = self.datasets.len() <= LIST_MOST && distinct.len() == self.datasets.len();
        ensure!(few, bad("datasets", "at most 8, each once"));
        ensure!(self.delivery <= Delivery::Ticket as u16, bad("delivery", "0 or 1"));
        ensure!((1..=CALLS_MOST).contains(&self.calls), bad("calls", "1 to 10^12"));
        ensure!(self.price < Amount::SUPPLY_LIMIT, bad("price", "below the limit of the supply"));
        ensure!(self.refund_bps <= 10_000, bad("refund_bps", "at most 10,000"));
        ensure!(self.life_least <= self.life_most, bad("life_least", "at most life_most"));
        Ok(())
    }

    /// The widest window of this package, whatever the parameters: a tenth of its calls, at least one.
    fn window_most(&self) -> u32 {
        let part = self.calls.checked_div(WINDOW_PART).unwrap_or(0).max(1);
        u32::try_from(part).unwrap_or(u32::MAX)
    }

    /// What the parameters in force allow, and that its datasets exist.
    ///
    /// # Errors
    /// Those of [`Self::check`], and [`Error::UnknownDataset`].
    pub(super) fn check_in(&self, ctx: &Context<'_>) -> Result<()> {
        self.check_params(ctx.params())?;
        // Every dataset is read, so that all missing rows are asked for at once.
        let known = self.datasets.iter().filter(|id| DATASETS.has(ctx, id)).count();
        ensure!(known == self.datasets.len(), Error::UnknownDataset);
        Ok(())
    }

    fn check_params(&self, params: &Params) -> Result<()> {
        let lives = params.life_least <= self.life_least && self.life_most <= params.life_most;
        ensure!(lives, bad("life_least", "within the network's shortest and longest life"));
        let most = self.window_most().min(params.window_most);
        ensure!(self.window <= most, Error::WindowTooWide { most });
        let covered = Amount(self.price.0.saturating_mul(u128::from(params.cover_multiple)));
        ensure!(self.cover <= covered, Error::BadCover { rule: "at most the network's multiple of the price" });
        let faults = self.cover_faults <= params.cover_faults_most;
        ensure!(faults, Error::BadCover { rule: "at most the network's number of faults" });
        Ok(())
    }
}
