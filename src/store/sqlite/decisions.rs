//! Decisions about agents' money in SQLite.

use sqlx::SqliteConnection;

// One writer at a time: its lock is all that is needed.
crate::store::decisions::agent_decisions!(SqliteConnection, "BEGIN IMMEDIATE", "");
