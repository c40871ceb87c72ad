//! Of plans, subscriptions and usage.

use pay402::store::{plans, subscriptions, usage};

use super::Hot;

const PLAN: (&str, &str) = ("subscription_plans_pkey", "sqlite_autoindex_subscription_plans_1");
const BY_OWNER: (&str, &str) = ("subscriptions_by_owner", "subscriptions_by_owner");
const BY_PLAN: (&str, &str) = ("subscriptions_by_plan", "subscriptions_by_plan");
const DUE: (&str, &str) = ("subscriptions_due", "subscriptions_due");
const USAGE_BY_KEY: (&str, &str) = ("usage_records_once", "usage_records_once");
const USAGE_BY_TIME: (&str, &str) = ("usage_records_by_time", "usage_records_by_time");
const DAYS: (&str, &str) = ("usage_days_pkey", "sqlite_autoindex_usage_days_1");
const RESOURCES: (&str, &str) = ("usage_resources_by_quantity", "usage_resources_by_quantity");

/// Those on offer are listed from an index that holds nothing else, which SQLite calls a scan.
pub(super) fn hot() -> [Hot; 10] {
    let (one, owner) = ("sub_5".to_owned(), "owner 5".to_owned());
    let hot = |sql, texts, numbers, indexes| Hot { sql, texts, numbers, indexes };
    [
        hot(plans::FIND_PLAN, vec!["plan_5".to_owned()], vec![], &[PLAN]),
        hot(plans::PLAN_IN_USE, vec!["plan_5".to_owned()], vec![], &[BY_PLAN]),
        hot(subscriptions::FIND_SUBSCRIPTION, vec![one.clone(), owner.clone()], vec![], &[BY_OWNER, PLAN]),
        hot(subscriptions::LIST_SUBSCRIPTIONS, vec![owner.clone()], vec![50, 0], &[BY_OWNER, PLAN]),
        hot(subscriptions::COUNT_SUBSCRIPTIONS, vec![owner], vec![], &[BY_OWNER]),
        hot(subscriptions::DUE_SUBSCRIPTIONS, vec![], vec![102, 100, 0], &[DUE, PLAN]),
        hot(usage::USAGE_BY_KEY, vec![one.clone(), "key 5".to_owned()], vec![], &[USAGE_BY_KEY]),
        hot(usage::LIST_USAGE, vec![one.clone()], vec![1, 20_000, 50, 0], &[USAGE_BY_TIME]),
        hot(usage::USAGE_BY_DAY, vec![one.clone()], vec![1, 31], &[DAYS]),
        hot(usage::USAGE_BY_RESOURCE, vec![one], vec![1, 50, 0], &[RESOURCES]),
    ]
}

/// One plan in a hundred is on offer.
const PLANS: &str = "\
    INSERT INTO subscription_plans (id, owner, name, price_per_month, currency, created_at_ms, updated_at_ms, retired_at_ms) \
    SELECT 'plan_' || n, 'owner ' || (n % 50), 'n', 1, 'USDC', 1, 1, CASE WHEN n % 100 <> 0 THEN 1 END FROM numbers";
const SUBSCRIPTIONS: &str = "\
    INSERT INTO subscriptions (id, owner, plan_id, agent_id, wallet_address, status, anchor_day, \
        current_period_start_ms, current_period_end_ms, period_price, paid_until_ms, due_at_ms, created_at_ms, \
        updated_at_ms) \
    SELECT 'sub_' || n, 'owner ' || (n % 50), 'plan_' || n, 'agent_' || n, '11111111111111111111111111111111', 'active', \
        1, 1, 100 + n, 1, 100 + n, 100 + n, 1, 1 FROM numbers";
const PERIODS: &str = "\
    INSERT INTO subscription_periods (subscription_id, start_ms, end_ms, price, payment_id, paid_at_ms) \
    SELECT 'sub_' || n, 1, 100, 1, 'pay_' || n, 1 FROM numbers";
/// A thousand of twenty subscriptions.
const POSTGRES_USAGE: &str = "\
    INSERT INTO usage_records (id, subscription_id, quantity, used_at_ms, recorded_at_ms, idempotency_key, fingerprint) \
    SELECT 'usage_' || n, 'sub_' || (n % 20 + 1), 1, n, n, 'key ' || n, decode(repeat('00', 32), 'hex') FROM numbers";
const SQLITE_USAGE: &str = "\
    INSERT INTO usage_records (id, subscription_id, quantity, used_at_ms, recorded_at_ms, idempotency_key, fingerprint) \
    SELECT 'usage_' || n, 'sub_' || (n % 20 + 1), 1, n, n, 'key ' || n, zeroblob(32) FROM numbers";
const DAYS_USED: &str = "\
    INSERT INTO usage_days (subscription_id, day, period_start_ms, quantity, records) \
    SELECT 'sub_' || (n % 20 + 1), n, 1, 1, 1 FROM numbers";
const RESOURCES_USED: &str = "\
    INSERT INTO usage_resources (subscription_id, period_start_ms, resource, quantity, records) \
    SELECT 'sub_' || (n % 20 + 1), 1, '/' || n, n, 1 FROM numbers";

pub(super) const POSTGRES_ROWS: [&str; 6] =
    [PLANS, SUBSCRIPTIONS, PERIODS, POSTGRES_USAGE, DAYS_USED, RESOURCES_USED];
pub(super) const SQLITE_ROWS: [&str; 6] =
    [PLANS, SUBSCRIPTIONS, PERIODS, SQLITE_USAGE, DAYS_USED, RESOURCES_USED];
