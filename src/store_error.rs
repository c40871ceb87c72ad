//! What every store can fail with.

/// The database did not confirm what was asked. Usually nothing was written; where a commit was under way, it may have
/// been.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, overloaded, full or read-only: it may work again later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored row that this version cannot read.
    #[error("the database holds a {table} row that makes no sense: {problem}")]
    Corrupt { table: &'static str, problem: String },
}
