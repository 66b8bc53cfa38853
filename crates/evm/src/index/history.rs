//! A value that changes from block to block.

/// The blocks that set a value, in order, each with what it left.
#[derive(Clone, Debug)]
pub(super) struct History<T>(Vec<(u64, T)>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> History<T> {
    /// Sets the value in a block, which is never before the last one that did.
    pub(super) fn set(&mut self, block: u64, value: T) {
        match self.0.last_mut() {
            Some((last, old)) if *last == block => *old = value,
            _ => self.0.push((block, value)),
        }
    }

    /// The newest value.
    pub(super) fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// The value after a block.
    pub(super) fn at(&self, block: u64) -> Option<&T> {
        self.entry_at(block).map(|(_, value)| value)
    }

    /// The value after a block, and the block that set it.
    pub(super) fn entry_at(&self, block: u64) -> Option<(u64, &T)> {
        let after = self.0.partition_point(|(set, _)| *set <= block);
        let (set, value) = self.0.get(after.checked_sub(1)?)?;
        Some((*set, value))
    }
}
