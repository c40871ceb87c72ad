//! Agents as they arrive in JSON: new ones, and changes to them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use solana_pubkey::Pubkey;
use utoipa::ToSchema;

use super::{Agent, AllowedServices, Limits, SpendingUnit, UnitLimits};
use crate::{
    input::{self, Change, FieldErrors},
    money::{Amount, AmountError},
    schema,
};

/// Longest name, in bytes.
pub const MAX_NAME: usize = 200;
/// Longest `metadata`, in bytes of JSON.
const MAX_METADATA: usize = 4096;

/// A wallet to be registered as an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(
    as = NewAgent,
    example = json!({
        "name": "research",
        "publicKey": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "spendingLimit": {"daily": 10, "perTransaction": "0.5"},
        "allowedServices": ["https://api.example.com/*"],
    }),
)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct NewAgentMembers<'a> {
    #[schema(value_type = schema::AgentName, required)]
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    /// The wallet it pays from. You can have a wallet registered once.
    #[schema(value_type = schema::PublicKey, required)]
    #[serde(borrow)]
    public_key: Option<&'a RawValue>,
    #[schema(value_type = Option<LimitMembers>)]
    #[serde(borrow)]
    spending_limit: Option<&'a RawValue>,
    /// What it may pay for; anything where this is left out.
    #[schema(value_type = Option<Vec<schema::ServicePattern>>, min_items = 1, max_items = 50)]
    #[serde(borrow)]
    allowed_services: Option<&'a RawValue>,
    /// Your own; at most 4096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// What is to change. What is left out stays, `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AgentPatch, example = json!({"spendingLimit": {"daily": 20, "sol": null}, "metadata": {"team": "b"}}))]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct PatchMembers<'a> {
    #[schema(value_type = schema::AgentName)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    name: Option<&'a RawValue>,
    /// Cannot be changed: as it is, or left out.
    #[schema(value_type = schema::PublicKey)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    public_key: Option<&'a RawValue>,
    /// Its members change one by one.
    #[schema(value_type = Option<LimitMembers>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    spending_limit: Option<&'a RawValue>,
    /// Takes the place of the list there is.
    #[schema(value_type = Option<Vec<schema::ServicePattern>>, min_items = 1, max_items = 50)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    allowed_services: Option<&'a RawValue>,
    /// Its members change one by one.
    #[schema(value_type = Option<Object>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    metadata: Option<&'a RawValue>,
}

/// What may be spent. `daily` and `perTransaction` count USDC, USDT and PYUSD together, at par.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SpendingLimit)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct LimitMembers<'a> {
    /// A UTC day.
    #[schema(value_type = Option<schema::LimitIn>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    daily: Option<&'a RawValue>,
    #[schema(value_type = Option<schema::LimitIn>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    per_transaction: Option<&'a RawValue>,
    /// Of an agent that has other limits and none for SOL, no SOL is accepted.
    #[schema(value_type = Option<SolLimitMembers>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    sol: Option<&'a RawValue>,
}

/// What may be spent of SOL.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SolSpendingLimit)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
pub struct SolLimitMembers<'a> {
    /// A UTC day.
    #[schema(value_type = Option<schema::LimitIn>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    daily: Option<&'a RawValue>,
    #[schema(value_type = Option<schema::LimitIn>)]
    #[serde(borrow, default, deserialize_with = "input::present")]
    per_transaction: Option<&'a RawValue>,
}

/// A request to register an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgent {
    pub name: String,
    pub public_key: Pubkey,
    pub limits: Limits,
    pub allowed_services: Option<AllowedServices>,
    pub metadata: Option<String>,
}

impl NewAgent {
    /// # Errors
    /// Every field that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: NewAgentMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let name = errors.required("name", members.name, |raw| input::text(raw, MAX_NAME));
        let public_key = errors.required("publicKey", members.public_key, input::public_key);
        let limits = members.spending_limit.map(|raw| LimitsPatch::read(raw, &mut errors));
        let allowed_services = errors.optional("allowedServices", members.allowed_services, services);
        let metadata = errors.optional("metadata", members.metadata, metadata);
        match (name, public_key) {
            (Some(name), Some(public_key)) if errors.is_empty() => Ok(Self {
                name,
                public_key,
                limits: limits.unwrap_or_default().applied_to(Limits::default()),
                allowed_services,
                metadata,
            }),
            _ => Err(errors),
        }
    }
}

/// A request to change an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPatch {
    name: Option<String>,
    public_key: Option<Pubkey>,
    limits: Change<LimitsPatch>,
    allowed_services: Change<AllowedServices>,
    metadata: Change<String>,
}

impl AgentPatch {
    /// # Errors
    /// Every field that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, FieldErrors> {
        let members: PatchMembers = input::object(body)?;
        let mut errors = FieldErrors::default();
        let patch = Self {
            name: errors.optional("name", members.name, |raw| input::text(raw, MAX_NAME)),
            public_key: errors.optional("publicKey", members.public_key, input::public_key),
            limits: Change::of(members.spending_limit).map(|raw| LimitsPatch::read(raw, &mut errors)),
            allowed_services: errors.change("allowedServices", members.allowed_services, services),
            metadata: errors.change("metadata", members.metadata, metadata),
        };
        if errors.is_empty() { Ok(patch) } else { Err(errors) }
    }

    /// The agent with what is to change changed.
    ///
    /// # Errors
    /// When that would be another wallet's agent, or have too much metadata.
    pub fn applied_to(&self, agent: Agent) -> Result<Agent, FieldErrors> {
        if self.public_key.is_some_and(|public_key| public_key != agent.public_key) {
            return Err(FieldErrors::one("publicKey", "cannot be changed: register another agent"));
        }
        let limits = match &self.limits {
            Change::Keep => agent.limits,
            Change::Clear => Limits::default(),
            Change::Set(patch) => patch.applied_to(agent.limits),
        };
        let metadata = match &self.metadata {
            Change::Keep => agent.metadata,
            Change::Clear => None,
            Change::Set(patch) => merged(agent.metadata.as_deref(), patch)?,
        };
        Ok(Agent {
            name: self.name.clone().unwrap_or(agent.name),
            limits,
            allowed_services: self.allowed_services.clone().applied_to(agent.allowed_services),
            metadata,
            ..agent
        })
    }
}

/// Limits to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LimitsPatch {
    stable: UnitPatch,
    sol: Change<UnitPatch>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnitPatch {
    daily: Change<u64>,
    per_transaction: Change<u64>,
}

impl LimitsPatch {
    fn read(raw: &RawValue, errors: &mut FieldErrors) -> Self {
        let Some(members) = object::<LimitMembers>("spendingLimit", raw, errors) else {
            return Self::default();
        };
        let stable = UnitPatch::read(
            "spendingLimit",
            members.daily,
            members.per_transaction,
            SpendingUnit::Stable,
            errors,
        );
        let sol = Change::of(members.sol).map(|raw| {
            let members = object::<SolLimitMembers>("spendingLimit.sol", raw, errors)?;
            let SolLimitMembers { daily, per_transaction } = members;
            Some(UnitPatch::read("spendingLimit.sol", daily, per_transaction, SpendingUnit::Sol, errors))
        });
        Self { stable, sol: sol.map(Option::unwrap_or_default) }
    }

    fn applied_to(self, limits: Limits) -> Limits {
        Limits {
            stable: self.stable.applied_to(limits.stable),
            sol: match self.sol {
                Change::Keep => limits.sol,
                Change::Clear => UnitLimits::default(),
                Change::Set(patch) => patch.applied_to(limits.sol),
            },
        }
    }
}

impl UnitPatch {
    fn read(
        path: &str,
        daily: Option<&RawValue>,
        per_transaction: Option<&RawValue>,
        unit: SpendingUnit,
        errors: &mut FieldErrors,
    ) -> Self {
        let limit = |raw: &RawValue| limit(raw, unit);
        Self {
            daily: errors.change(&format!("{path}.daily"), daily, limit),
            per_transaction: errors.change(&format!("{path}.perTransaction"), per_transaction, limit),
        }
    }

    fn applied_to(self, limits: UnitLimits) -> UnitLimits {
        UnitLimits {
            daily: self.daily.applied_to(limits.daily),
            per_transaction: self.per_transaction.applied_to(limits.per_transaction),
        }
    }
}

fn object<'a, T: Deserialize<'a>>(path: &str, raw: &'a RawValue, errors: &mut FieldErrors) -> Option<T> {
    let members = input::object(raw.get().as_bytes());
    members
        .map_err(|problems| {
            for problem in problems.into_details() {
                errors.add(path, problem.message);
            }
        })
        .ok()
}

/// An amount, or 0: nothing.
fn limit(raw: &RawValue, unit: SpendingUnit) -> Result<u64, String> {
    let text = input::number_text(raw)?;
    match Amount::parse(&text, unit.decimals()) {
        Ok(amount) => Ok(amount.atomic()),
        Err(AmountError::NotPositive) if !text.starts_with('-') => Ok(0),
        Err(AmountError::NotPositive) => Err("must not be negative".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn services(raw: &RawValue) -> Result<AllowedServices, String> {
    let texts = serde_json::from_str(raw.get()).map_err(|_| "must be a list of strings".to_owned())?;
    AllowedServices::parse(texts)
}

fn metadata(raw: &RawValue) -> Result<String, String> {
    if !raw.get().starts_with('{') {
        return Err("must be a JSON object".to_owned());
    }
    if raw.get().len() > MAX_METADATA {
        return Err(format!("must be at most {MAX_METADATA} bytes of JSON"));
    }
    Ok(raw.get().to_owned())
}

/// The members of both, the patch's where both have one, without those it has as `null`. Values stay as they were written.
fn merged(current: Option<&str>, patch: &str) -> Result<Option<String>, FieldErrors> {
    type Members<'a> = BTreeMap<String, &'a RawValue>;
    let unreadable = |error| FieldErrors::one("metadata", format!("is not valid: {error}"));
    let mut members: Members =
        current.map_or(Ok(BTreeMap::new()), serde_json::from_str).map_err(unreadable)?;
    for (name, value) in serde_json::from_str::<Members>(patch).map_err(unreadable)? {
        if value.get() == "null" {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    if members.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(&members).map_err(unreadable)?;
    if text.len() > MAX_METADATA {
        let message = format!("must be at most {MAX_METADATA} bytes of JSON, with what is there already");
        return Err(FieldErrors::one("metadata", message));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn metadata_is_merged_member_by_member() {
        let merge = |current, patch| merged(current, patch).unwrap();
        let current = Some(r#"{"b": 1.10, "a": {"x": 1}}"#);
        assert_eq!(merge(current, "{}").as_deref(), Some(r#"{"a":{"x": 1},"b":1.10}"#));
        assert_eq!(merge(current, r#"{"a": null, "c": "d"}"#).as_deref(), Some(r#"{"b":1.10,"c":"d"}"#));
        assert_eq!(merge(current, r#"{"a": {"y": null}}"#).as_deref(), Some(r#"{"a":{"y": null},"b":1.10}"#));
        assert_eq!(merge(current, r#"{"a": null, "b": null}"#), None);
        assert_eq!(merge(None, r#"{"a": 1e400}"#).as_deref(), Some(r#"{"a":1e400}"#));
        let much = format!(r#"{{"c":"{}"}}"#, "x".repeat(4080));
        assert!(merged(current, &much).is_err());
    }
}
