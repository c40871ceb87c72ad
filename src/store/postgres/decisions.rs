//! Decisions about agents' money in PostgreSQL.

use sqlx::PgConnection;

crate::store::decisions::agent_decisions!(PgConnection, "BEGIN", "FOR NO KEY UPDATE");
