//! Plans as they arrive in JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Limits, Plan};
use crate::{
    clock::UnixMs,
    input::{self, Change, FieldErrors},
    money::{Amount, Currency},
    schema,
};

/// Longest name, in bytes.
const MAX_NAME: usize = 100;
/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 1000;
/// Most features of a plan.
const MAX_FEATURES: usize = 50;
/// Longest feature, in bytes.
const MAX_FEATURE: usize = 200;
/// Highest limit.
const MAX_LIMIT: u64 = 1_000_000_000_000;

/// How much may be used under a subscription; what is left out is not limited.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = NewPlanLimits)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct LimitsMembers<'a> {
    /// In a subscription's period, which is a month.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000_000_u64)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    requests_per_month: Option<&'a RawValue>,
    /// In a UTC day.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000_000_u64)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    requests_per_day: Option<&'a RawValue>,
}

/// A plan to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = NewPlan,
    example = json!({
        "name": "pro", "description": "For agents that work all day", "pricePerMonth": "25", "currency": "USDC",
        "features": ["forecasts"], "limits": {"requestsPerMonth": 100_000, "requestsPerDay": 5000},
    }),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct CreateMembers<'a> {
    #[schema(value_type = schema::PlanName, required)]
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[schema(value_type = Option<schema::PlanDescription>)]
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[schema(value_type = schema::AmountIn, required)]
    #[serde(borrow)]
    price_per_month: Option<&'a RawValue>,
    #[schema(value_type = Currency, required)]
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    /// What it comes with, for persons.
    #[schema(value_type = Option<Vec<schema::PlanFeature>>, max_items = 50)]
    #[serde(borrow)]
    features: Option<&'a RawValue>,
    #[schema(value_type = Option<LimitsMembers>)]
    #[serde(borrow)]
    limits: Option<&'a RawValue>,
    /// Your own, given back as it came; at most 4096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// What is to be changed of a plan. What is left out stays; `null` removes what can be removed. The currency stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangePlan, example = json!({"pricePerMonth": "30", "limits": {"requestsPerDay": null}}))]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct UpdateMembers<'a> {
    #[schema(value_type = schema::PlanName, required = false)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    name: Option<&'a RawValue>,
    #[schema(value_type = Option<schema::PlanDescription>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    description: Option<&'a RawValue>,
    /// Holds for periods that begin from now on.
    #[schema(value_type = schema::AmountIn, required = false)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    price_per_month: Option<&'a RawValue>,
    #[schema(ignore)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    currency: Option<&'a RawValue>,
    /// In the place of those there were.
    #[schema(value_type = Option<Vec<schema::PlanFeature>>, max_items = 50)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    features: Option<&'a RawValue>,
    /// Hold at once. A limit that is left out stays; `null` removes one, or all.
    #[schema(value_type = Option<LimitsMembers>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    limits: Option<&'a RawValue>,
    /// Merged into what there is, member by member; `null` removes a member, or all.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    metadata: Option<&'a RawValue>,
}

/// A plan to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlan {
    pub name: String,
    pub description: Option<String>,
    pub price_per_month: Amount,
    pub currency: Currency,
    pub features: Vec<String>,
    pub limits: Limits,
    pub metadata: Option<String>,
}

impl NewPlan {
    /// # Errors
    /// Every field that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: CreateMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let name = errors.required("name", members.name, |raw| input::text(raw, MAX_NAME));
        let description =
            errors.optional("description", members.description, |raw| input::text(raw, MAX_DESCRIPTION));
        let currency = errors.required("currency", members.currency, input::currency);
        let decimals = currency.map_or(Currency::MAX_DECIMALS, Currency::decimals);
        let price_per_month =
            errors.required("pricePerMonth", members.price_per_month, |raw| input::amount(raw, decimals));
        let features = errors.optional("features", members.features, features);
        let limits = LimitsChange::read(members.limits, &mut errors).apply(Limits::default());
        let metadata = errors.optional("metadata", members.metadata, input::metadata);
        match (name, price_per_month, currency) {
            (Some(name), Some(price_per_month), Some(currency)) if errors.is_empty() => Ok(Self {
                name,
                description,
                price_per_month,
                currency,
                features: features.unwrap_or_default(),
                limits,
                metadata,
            }),
            _ => Err(errors),
        }
    }
}

/// What is to be changed of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LimitsChange {
    requests_per_month: Change<u64>,
    requests_per_day: Change<u64>,
}

impl LimitsChange {
    fn read(raw: Option<&RawValue>, errors: &mut FieldErrors) -> Self {
        let Some(raw) = raw else { return Self::default() };
        if raw.get() == "null" {
            return Self { requests_per_month: Change::Clear, requests_per_day: Change::Clear };
        }
        let members: LimitsMembers = match input::object(raw.get().as_bytes()) {
            Ok(members) => members,
            Err(problems) => {
                problems.into_details().into_iter().for_each(|problem| errors.add("limits", problem.message));
                return Self::default();
            }
        };
        Self {
            requests_per_month: errors.change("limits.requestsPerMonth", members.requests_per_month, limit),
            requests_per_day: errors.change("limits.requestsPerDay", members.requests_per_day, limit),
        }
    }

    fn apply(self, limits: Limits) -> Limits {
        Limits {
            requests_per_month: self.requests_per_month.applied_to(limits.requests_per_month),
            requests_per_day: self.requests_per_day.applied_to(limits.requests_per_day),
        }
    }
}

/// What is to be changed of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChange {
    name: Option<String>,
    description: Change<String>,
    /// As it was written: how many digits it may have is up to the plan's currency.
    price_per_month: Option<String>,
    features: Change<Vec<String>>,
    limits: LimitsChange,
    metadata: Change<String>,
}

impl PlanChange {
    /// # Errors
    /// Every field that is wrong whatever the plan.
    pub fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: UpdateMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        if members.currency.is_some() {
            errors.add("currency", "cannot be changed: make another plan");
        }
        let change = Self {
            name: errors.optional("name", members.name, |raw| input::text(raw, MAX_NAME)),
            description: errors
                .change("description", members.description, |raw| input::text(raw, MAX_DESCRIPTION)),
            price_per_month: errors.optional("pricePerMonth", members.price_per_month, price),
            features: errors.change("features", members.features, features),
            limits: LimitsChange::read(members.limits, &mut errors),
            metadata: errors.change("metadata", members.metadata, input::metadata),
        };
        if errors.is_empty() { Ok(change) } else { Err(errors) }
    }

    /// The plan with the change made to it.
    ///
    /// # Errors
    /// Every field that is wrong with this plan.
    pub fn apply(&self, plan: Plan, at: UnixMs) -> Result<Plan, FieldErrors> {
        let mut errors = FieldErrors::default();
        let mut noted = |field: &str, problem: String| errors.add(field, problem);
        let price = self.price_per_month.as_ref().map(|text| Amount::parse(text, plan.currency.decimals()));
        let price = price.transpose().map_err(|error| noted("pricePerMonth", error.to_string())).ok();
        let metadata = match &self.metadata {
            Change::Keep => Ok(plan.metadata.clone()),
            Change::Clear => Ok(None),
            Change::Set(change) => input::merged_metadata(plan.metadata.as_deref(), change).map(Some),
        };
        let metadata = metadata.map_err(|problem| noted("metadata", problem)).ok();
        let (Some(price), Some(metadata)) = (price, metadata) else { return Err(errors) };
        Ok(Plan {
            name: self.name.clone().unwrap_or(plan.name),
            description: self.description.clone().applied_to(plan.description),
            price_per_month: price.unwrap_or(plan.price_per_month),
            features: self.features.clone().applied_to(Some(plan.features)).unwrap_or_default(),
            limits: self.limits.apply(plan.limits),
            metadata,
            updated_at: at.max(plan.updated_at),
            ..plan
        })
    }
}

/// A price in one of the currencies, as it was written.
fn price(raw: &RawValue) -> Result<String, String> {
    let wrong = input::amount(raw, Currency::MAX_DECIMALS).err();
    match wrong {
        // More decimals leave room for less.
        Some(wrong) if !Currency::ALL.iter().any(|one| input::amount(raw, one.decimals()).is_ok()) => {
            Err(wrong)
        }
        _ => Ok(input::number_text(raw)?),
    }
}

fn features(raw: &RawValue) -> Result<Vec<String>, String> {
    let wrong = || format!("must be a list of at most {MAX_FEATURES} strings");
    let texts: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    if texts.len() > MAX_FEATURES {
        return Err(wrong());
    }
    let checked = texts.into_iter().map(|text| input::plain_text(text, MAX_FEATURE));
    checked.collect::<Result<_, _>>().map_err(|problem| format!("has a string that {problem}"))
}

fn limit(raw: &RawValue) -> Result<u64, String> {
    let limit = raw.get().parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}
