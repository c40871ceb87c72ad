//! The implementations of the domains' store traits. Nothing but the composition root names them.

pub mod agents;
pub mod analytics;
mod consequences;
mod decisions;
mod lease;
pub mod memory;
pub mod plans;
pub mod postgres;
pub mod redis;
mod rows;
pub mod settlements;
pub mod sql;
pub mod sqlite;
pub mod subscriptions;
pub mod usage;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use sqlx::migrate::Migrator;

use crate::{
    agents::AgentStore,
    analytics::AnalyticsStore,
    api_keys::ApiKeyStore,
    idempotency::IdempotencyStore,
    payments::{PaymentStore, settlement::SettlementStore},
    plans::PlanStore,
    requirements::RequirementStore,
    server_secrets::ServerSecretStore,
    store_error::StoreError,
    subscriptions::SubscriptionStore,
    usage::UsageStore,
};

/// A migration and whether the database has it.
#[derive(Clone, Debug)]
pub struct MigrationStatus {
    pub version: i64,
    pub description: String,
    pub applied: bool,
}

/// The migrations there are, with those marked that the database has.
fn migration_status(migrator: &Migrator, applied: &[i64]) -> Vec<MigrationStatus> {
    migrator
        .iter()
        .map(|migration| MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            applied: applied.contains(&migration.version),
        })
        .collect()
}

/// A database, apart from what is in it.
#[async_trait]
pub trait Database: fmt::Debug + Send + Sync {
    /// `sqlite` or `postgres`.
    fn name(&self) -> &'static str;

    /// Applies what migrations are missing. Several instances may do so at once.
    ///
    /// # Errors
    /// When one fails, or the database was made by a newer version.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError>;

    /// Whether a payment could be recorded now.
    ///
    /// # Errors
    /// When it could not.
    async fn check_writable(&self) -> Result<(), StoreError>;

    /// Ends every connection.
    async fn close(&self);
}

/// A database by its roles.
#[derive(Clone, Debug)]
pub struct Books {
    pub database: Arc<dyn Database>,
    pub payments: Arc<dyn PaymentStore>,
    pub settlements: Arc<dyn SettlementStore>,
    pub requirements: Arc<dyn RequirementStore>,
    pub plans: Arc<dyn PlanStore>,
    pub subscriptions: Arc<dyn SubscriptionStore>,
    pub usage: Arc<dyn UsageStore>,
    pub idempotency: Arc<dyn IdempotencyStore>,
    pub api_keys: Arc<dyn ApiKeyStore>,
    pub agents: Arc<dyn AgentStore>,
    pub secrets: Arc<dyn ServerSecretStore>,
    pub analytics: Arc<dyn AnalyticsStore>,
}

impl Books {
    pub fn new<S>(store: S) -> Self
    where
        S: Database
            + PaymentStore
            + SettlementStore
            + RequirementStore
            + PlanStore
            + SubscriptionStore
            + UsageStore
            + IdempotencyStore
            + ApiKeyStore
            + AgentStore
            + ServerSecretStore
            + AnalyticsStore
            + 'static,
    {
        let store = Arc::new(store);
        Self {
            database: store.clone(),
            payments: store.clone(),
            settlements: store.clone(),
            requirements: store.clone(),
            plans: store.clone(),
            subscriptions: store.clone(),
            usage: store.clone(),
            idempotency: store.clone(),
            api_keys: store.clone(),
            agents: store.clone(),
            secrets: store.clone(),
            analytics: store,
        }
    }
}
