//! Wrong states that the tables themselves refuse, whatever the code above them does.

use sqlx::{AssertSqlSafe, ConnectOptions, sqlite::SqliteConnectOptions};

use super::{Backend, on_both};

on_both!(the_tables_refuse_wrong_states);

/// Columns and their values in SQL.
type Columns = &'static [(&'static str, &'static str)];

/// A table and a row that is right.
struct Table {
    name: &'static str,
    row: Columns,
    /// Changes that each make the row wrong.
    wrong: Columns,
    /// Whether the row may be there once only, also under another id.
    once: bool,
}

const WALLET: &str = "'11111111111111111111111111111111'";
/// 32 bytes; the databases spell them differently.
const FINGERPRINT: &str = "BYTES'0000000000000000000000000000000000000000000000000000000000000000'";
const BEYOND_64_BITS: &str = "9223372036854775808";

const AGENTS: Table = Table {
    name: "agents",
    row: &[
        ("id", "'agent_1'"),
        ("owner", "'merchant'"),
        ("name", "'name'"),
        ("public_key", WALLET),
        ("daily_limit", "0"),
        ("per_transaction_limit", "NULL"),
        ("sol_daily_limit", "1"),
        ("sol_per_transaction_limit", "1"),
        ("reputation_score", "1000"),
        ("transaction_count", "0"),
        ("created_at_ms", "10"),
        ("updated_at_ms", "10"),
        ("deleted_at_ms", "NULL"),
    ],
    wrong: &[
        ("owner", "NULL"),
        ("name", "''"),
        ("public_key", "'short'"),
        ("daily_limit", "-1"),
        ("per_transaction_limit", "-1"),
        ("sol_daily_limit", "-1"),
        ("sol_per_transaction_limit", "-1"),
        ("reputation_score", "1001"),
        ("reputation_score", "-1"),
        ("transaction_count", "-1"),
        ("deleted_at_ms", "9"),
    ],
    once: true,
};

const PLANS: Table = Table {
    name: "subscription_plans",
    row: &[
        ("id", "'plan_1'"),
        ("owner", "'merchant'"),
        ("name", "'name'"),
        ("price_per_month", "1"),
        ("currency", "'USDC'"),
        ("requests_per_month", "1"),
        ("requests_per_day", "NULL"),
        ("created_at_ms", "10"),
        ("updated_at_ms", "10"),
        ("retired_at_ms", "NULL"),
    ],
    wrong: &[
        ("name", "''"),
        ("price_per_month", "0"),
        ("price_per_month", BEYOND_64_BITS),
        ("currency", "'EUR'"),
        ("requests_per_month", "0"),
        ("requests_per_day", "0"),
        ("retired_at_ms", "9"),
    ],
    once: false,
};

const SUBSCRIPTIONS: Table = Table {
    name: "subscriptions",
    row: &[
        ("id", "'sub_1'"),
        ("owner", "'merchant'"),
        ("plan_id", "'plan_1'"),
        ("agent_id", "'agent_1'"),
        ("wallet_address", WALLET),
        ("status", "'active'"),
        ("anchor_day", "31"),
        ("current_period_start_ms", "1"),
        ("current_period_end_ms", "2"),
        ("period_price", "1"),
        ("paid_until_ms", "2"),
        ("due_at_ms", "2"),
        ("ended_at_ms", "NULL"),
        ("created_at_ms", "10"),
        ("updated_at_ms", "10"),
    ],
    wrong: &[
        ("plan_id", "'plan_2'"),
        ("agent_id", "'agent_2'"),
        ("wallet_address", "'short'"),
        ("status", "'paused'"),
        ("anchor_day", "0"),
        ("anchor_day", "32"),
        ("current_period_end_ms", "1"),
        ("period_price", "0"),
        // Active, but not paid; never due; due at another time than the period's end; over.
        ("paid_until_ms", "1"),
        ("due_at_ms", "NULL"),
        ("due_at_ms", "3"),
        ("ended_at_ms", "2"),
        // Past due, though paid; over, but still due.
        ("status", "'past_due'"),
        ("status", "'cancelled'"),
        ("status", "'expired'"),
    ],
    once: false,
};

const USAGE: Table = Table {
    name: "usage_records",
    row: &[
        ("id", "'usage_1'"),
        ("subscription_id", "'sub_1'"),
        ("quantity", "1"),
        ("used_at_ms", "1"),
        ("recorded_at_ms", "1"),
        ("idempotency_key", "'key'"),
        ("fingerprint", FINGERPRINT),
    ],
    wrong: &[
        ("subscription_id", "'sub_2'"),
        ("quantity", "0"),
        ("quantity", BEYOND_64_BITS),
        ("idempotency_key", "''"),
        ("idempotency_key", "NULL"),
        ("fingerprint", "NULL"),
    ],
    once: true,
};

impl Table {
    fn insert(&self, backend: &Backend, changes: &[(&str, &str)]) -> String {
        let value = |(column, usual): &(&str, &'static str)| {
            let change = changes.iter().find(|(changed, _)| changed == column);
            change.map_or(*usual, |(_, value)| *value).to_owned()
        };
        let columns: Vec<&str> = self.row.iter().map(|(column, _)| *column).collect();
        let values: Vec<String> = self.row.iter().map(value).collect();
        let values = values.join(", ");
        let bytes = match backend {
            Backend::Sqlite(_) => "x'",
            Backend::Postgres(_) => "'\\x",
        };
        let values = values.replace("BYTES'", bytes);
        format!("INSERT INTO {} ({}) VALUES ({values})", self.name, columns.join(", "))
    }
}

async fn the_tables_refuse_wrong_states(backend: Backend) {
    backend.books().await;
    for table in [AGENTS, PLANS, SUBSCRIPTIONS, USAGE] {
        for change in table.wrong {
            let statement = table.insert(&backend, &[*change]);
            assert!(execute(&backend, &statement).await.is_err(), "{statement}");
        }
        let right = table.insert(&backend, &[]);
        execute(&backend, &right).await.unwrap_or_else(|error| panic!("{right}: {error}"));
        let again = table.insert(&backend, &[("id", "'another'")]);
        assert_eq!(execute(&backend, &again).await.is_err(), table.once, "{again}");
    }
    // A wallet may be registered anew once its agent is deleted, and by another user at any time.
    execute(&backend, "UPDATE agents SET deleted_at_ms = 11").await.unwrap();
    for (id, owner) in [("'agent_2'", "'merchant'"), ("'agent_3'", "'other'")] {
        execute(&backend, &AGENTS.insert(&backend, &[("id", id), ("owner", owner)])).await.unwrap();
    }
}

async fn execute(backend: &Backend, statement: &str) -> Result<(), sqlx::Error> {
    let statement = AssertSqlSafe(statement.to_owned());
    match backend {
        Backend::Sqlite(folder) => {
            let file = SqliteConnectOptions::new().filename(folder.path().join("books.db"));
            sqlx::query(statement).execute(&mut file.connect().await?).await.map(drop)
        }
        Backend::Postgres(server) => {
            sqlx::query(statement).execute(&mut server.connect().await).await.map(drop)
        }
    }
}
