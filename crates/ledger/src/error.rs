//! Rejections: each module has its own, and every one has a number and a name that never change.

/// Leaves the function with an error unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return Err($error.into());
        }
    };
}

/// Declares a module's rejections, each with its stable code. Append only; a retired code is never used again.
macro_rules! errors {
    ($(#[$doc:meta])* pub enum Error {
        $($(#[$variant_doc:meta])* $code:literal => $name:ident $({ $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? })?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, ::thiserror::Error)]
        pub enum Error {
            $($(#[$variant_doc])* $name $({ $($(#[$field_doc])* $field: $ty),* })?,)*
        }

        impl Error {
            /// Every code with its name.
            pub const CODES: &'static [(u16, &'static str)] = &[$(($code, stringify!($name))),*];

            /// The stable number.
            #[must_use]
            pub const fn code(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// The stable name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => stringify!($name),)*
                }
            }
        }
    };
}

/// What an action comes to.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! gather {
    ($($(#[$doc:meta])* $variant:ident($path:path);)*) => {
        /// Why an action was refused.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum Error {
            $($(#[$doc])* #[error(transparent)] $variant(#[from] $path),)*
        }

        impl Error {
            /// The stable number, unique over all modules.
            #[must_use]
            pub const fn code(&self) -> u16 {
                match self { $(Self::$variant(error) => error.code(),)* }
            }

            /// The stable name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(error) => error.name(),)* }
            }

            /// Every code with its name, for documents and tests.
            #[must_use]
            pub fn codes() -> Vec<(u16, &'static str)> {
                [$(<$path>::CODES),*].concat()
            }
        }
    };
}

gather! {
    /// The transaction itself.
    Transaction(crate::transaction::Error);
    /// Accounts and amounts.
    Bank(crate::modules::bank::Error);
    /// Operators.
    Operators(crate::modules::operators::Error);
    /// The marketplace.
    Market(crate::modules::market::Error);
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_and_names_are_unique() {
        let mut codes = super::Error::codes();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup_by_key(|(code, _)| *code);
        assert_eq!(codes.len(), all);
    }
}
