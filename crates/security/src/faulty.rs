//! Faulty services, named by their fault: for demonstrations and tests that a fault is found and paid for.
//!
//! Nothing else in this crate makes one, no setting and no request reaches it: who wants one has to write its name.

use surety_primitives::dataset::Key;

use crate::lists::{Dataset, Semantics, Subject, address, domain, kind};

/// A dataset whose look-ups deny what its own tree holds: the root is honest, the answers are not.
#[derive(Debug)]
pub struct Lying(Dataset);

impl Lying {
    /// A liar that tells the truth so far.
    pub const fn new(dataset: Dataset) -> Self {
        Self(dataset)
    }

    /// From now on the name is answered as if no list denied it. Text that is no name changes nothing.
    #[must_use]
    pub fn says_clean_of_host(mut self, host: &str) -> Self {
        if let Some(name) = domain(host) {
            self.hide(Semantics::Deny, Subject::Domain, name.as_bytes());
        }
        self
    }

    /// From now on the address is answered as if no list named it. Text that is no address changes nothing.
    #[must_use]
    pub fn says_clean_of_address(mut self, text: &str) -> Self {
        if let Some(bytes) = address(text) {
            self.hide(Semantics::Label, Subject::Address, &bytes);
        }
        self
    }

    /// The dataset to serve the lies from.
    pub fn into_dataset(self) -> Dataset {
        self.0
    }

    fn hide(&mut self, semantics: Semantics, subject: Subject, name: &[u8]) {
        if let Ok(key) = Key::new(kind(subject, semantics), name) {
            self.0.hide(key);
        }
    }
}
