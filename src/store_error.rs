//! What every store can fail with.

use std::sync::Arc;

/// The database did not confirm what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, overloaded, full or read-only: it may work again later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database refuses what was to be written, as it would again.
    #[error("the database rejects the row")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A commit was cut off: what was to be written may be there.
    #[error("it is not known whether the commit took place")]
    Unknown,
    /// The same failure as that of others whose commit it was.
    #[error(transparent)]
    Shared(Arc<StoreError>),
    /// A stored row that this version cannot read.
    #[error("the database holds a {table} row that makes no sense: {problem}")]
    Corrupt { table: &'static str, problem: String },
}

impl StoreError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unknown => true,
            Self::Rejected(_) | Self::Corrupt { .. } => false,
            Self::Shared(error) => error.is_temporary(),
        }
    }

    /// Whether what was to be written may be there.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Shared(error) => error.is_unknown(),
            Self::Unavailable(_) | Self::Rejected(_) | Self::Corrupt { .. } => false,
        }
    }
}
