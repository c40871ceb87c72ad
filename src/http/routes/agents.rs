//! `/agents`: the agents of the calling key's user.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    agents::{
        Agent, DaySpending, NewAgentMembers, PatchMembers, Reputation, SpendingUnit, TrustLevel, UnitLimits,
        service::Agents,
    },
    calendar::Day,
    clock::UnixMs,
    http::{
        allowed::{AgentsRead, AgentsWrite, Allowed},
        error::{ApiError, Envelope},
        extract::{JsonBody, Page, PathName},
        idempotency::IdempotencyKey,
        middleware::livemode,
    },
    money::decimal_json,
    schema,
};

/// An agent on the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Agent)]
pub(in crate::http) struct AgentView {
    #[schema(example = "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    name: String,
    #[schema(value_type = schema::PublicKey)]
    public_key: String,
    /// The user who registered it.
    owner: String,
    spending_limit: LimitView,
    /// What it may pay for. Left out: anything.
    #[schema(value_type = Option<Vec<schema::ServicePattern>>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_services: Option<Vec<String>>,
    reputation: ReputationView,
    /// Whether real money moves.
    livemode: bool,
    created_at: UnixMs,
    #[schema(value_type = Option<Object>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

/// What may be spent; what is left out has no limit. Of an agent that has other limits and none for SOL, no SOL is
/// accepted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentLimit)]
pub(in crate::http) struct LimitView {
    #[serde(flatten)]
    stable: UnitLimitView,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    sol: Option<UnitLimitView>,
}

/// In whole tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UnitLimit)]
pub(in crate::http) struct UnitLimitView {
    /// On a UTC day.
    #[schema(value_type = Option<schema::SumOut>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    daily: Option<Box<RawValue>>,
    #[schema(value_type = Option<schema::SumOut>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_transaction: Option<Box<RawValue>>,
}

impl UnitLimitView {
    fn new(limits: UnitLimits, unit: SpendingUnit) -> Self {
        let tokens = |units| decimal_json(units, unit.decimals());
        Self { daily: limits.daily.map(tokens), per_transaction: limits.per_transaction.map(tokens) }
    }
}

/// How an agent has behaved.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reputation)]
pub(in crate::http) struct ReputationView {
    #[schema(maximum = 1000)]
    score: u16,
    /// How many payments it has made.
    transaction_count: u64,
    trust_level: TrustLevel,
}

impl From<Reputation> for ReputationView {
    fn from(reputation: Reputation) -> Self {
        Self {
            score: reputation.score,
            transaction_count: reputation.transaction_count,
            trust_level: reputation.trust_level(),
        }
    }
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        let sol = agent.limits.sol;
        Self {
            id: agent.id.to_string(),
            name: agent.name,
            public_key: agent.public_key.to_string(),
            owner: agent.owner,
            spending_limit: LimitView {
                stable: UnitLimitView::new(agent.limits.stable, SpendingUnit::Stable),
                sol: (!sol.is_none()).then(|| UnitLimitView::new(sol, SpendingUnit::Sol)),
            },
            allowed_services: agent
                .allowed_services
                .map(|services| services.texts().map(str::to_owned).collect()),
            reputation: agent.reputation.into(),
            livemode: livemode(),
            created_at: agent.created_at,
            metadata: agent.metadata.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AgentList)]
pub(in crate::http) struct AgentList {
    agents: Vec<AgentView>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u32,
}

/// How an agent has behaved.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentReputation)]
pub(in crate::http) struct AgentReputationView {
    agent_id: String,
    #[serde(flatten)]
    reputation: ReputationView,
    /// Whether real money moves.
    livemode: bool,
}

/// What an agent has spent today, a UTC day. USDC, USDT and PYUSD are counted together, at par.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentSpending)]
pub(in crate::http) struct SpendingView {
    agent_id: String,
    #[serde(flatten)]
    stable: DayView,
    sol: DayView,
    /// When the day ends: from then on `spent` is 0 again.
    resets_at: UnixMs,
    /// Whether real money moves.
    livemode: bool,
}

/// In whole tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DaySpending)]
pub(in crate::http) struct DayView {
    #[schema(value_type = schema::SumOut)]
    spent: Box<RawValue>,
    /// For payments that are under way.
    #[schema(value_type = schema::SumOut)]
    reserved: Box<RawValue>,
    /// What may still be spent; `null` without a daily limit.
    #[schema(value_type = Option<schema::SumOut>)]
    left: Option<Box<RawValue>>,
}

impl DayView {
    fn new(agent: &Agent, unit: SpendingUnit, day: DaySpending) -> Self {
        let tokens = |units| decimal_json(units, unit.decimals());
        Self {
            spent: tokens(day.spent),
            reserved: tokens(day.reserved),
            left: agent.limits.left(unit, day).map(tokens),
        }
    }
}

/// Registers a wallet as an agent of the key's user.
#[utoipa::path(
    post,
    path = "/agents",
    operation_id = "registerAgent",
    tag = "Agents",
    params(IdempotencyKey),
    request_body = NewAgentMembers,
    responses(
        (status = 201, description = "Registered.", body = AgentView),
        (status = 409, description = "`AGENT_EXISTS`: the wallet is registered already; or see `Idempotency-Key`.", body = Envelope),
    ),
    security(("bearer" = ["agents:write"]), ("apiKey" = ["agents:write"])),
)]
pub(in crate::http) async fn register(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsWrite>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<AgentView>), ApiError> {
    Ok((StatusCode::CREATED, Json(agents.register(&caller, &body).await?.into())))
}

/// The agents of the key's user, newest first.
#[utoipa::path(
    get,
    path = "/agents",
    operation_id = "listAgents",
    tag = "Agents",
    params(Page),
    responses((status = 200, description = "One page of them.", body = AgentList)),
    security(("bearer" = ["agents:read"]), ("apiKey" = ["agents:read"])),
)]
pub(in crate::http) async fn list(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsRead>,
    page: Page,
) -> Result<Json<AgentList>, ApiError> {
    let found = agents.list(&caller, page.limit, page.offset).await?;
    Ok(Json(AgentList {
        agents: found.agents.into_iter().map(AgentView::from).collect(),
        total: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// One agent of the key's user.
#[utoipa::path(
    get,
    path = "/agents/{id}",
    operation_id = "getAgent",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id or public key.")),
    responses((status = 200, description = "The agent.", body = AgentView)),
    security(("bearer" = ["agents:read"]), ("apiKey" = ["agents:read"])),
)]
pub(in crate::http) async fn find(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsRead>,
    PathName(id): PathName,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(agents.find(&caller, &id).await?.into()))
}

/// Changes an agent: what is left out stays, `null` clears.
#[utoipa::path(
    patch,
    path = "/agents/{id}",
    operation_id = "changeAgent",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id or public key.")),
    request_body = PatchMembers,
    responses((status = 200, description = "The agent as it is now.", body = AgentView)),
    security(("bearer" = ["agents:write"]), ("apiKey" = ["agents:write"])),
)]
pub(in crate::http) async fn change(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsWrite>,
    PathName(id): PathName,
    JsonBody(body): JsonBody,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(agents.change(&caller, &id, &body).await?.into()))
}

/// Deletes an agent. Its limits hold no more; its payments stay in the books.
#[utoipa::path(
    delete,
    path = "/agents/{id}",
    operation_id = "deleteAgent",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id or public key.")),
    responses((status = 200, description = "The agent, as it was.", body = AgentView)),
    security(("bearer" = ["agents:write"]), ("apiKey" = ["agents:write"])),
)]
pub(in crate::http) async fn delete(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsWrite>,
    PathName(id): PathName,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(agents.delete(&caller, &id).await?.into()))
}

/// How an agent of the key's user has behaved.
#[utoipa::path(
    get,
    path = "/agents/{id}/reputation",
    operation_id = "getAgentReputation",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id or public key.")),
    responses((status = 200, description = "Its reputation.", body = AgentReputationView)),
    security(("bearer" = ["agents:read"]), ("apiKey" = ["agents:read"])),
)]
pub(in crate::http) async fn reputation(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsRead>,
    PathName(id): PathName,
) -> Result<Json<AgentReputationView>, ApiError> {
    let agent = agents.find(&caller, &id).await?;
    Ok(Json(AgentReputationView {
        agent_id: agent.id.to_string(),
        reputation: agent.reputation.into(),
        livemode: livemode(),
    }))
}

/// What an agent of the key's user has spent today, and what is left.
#[utoipa::path(
    get,
    path = "/agents/{id}/spending",
    operation_id = "getAgentSpending",
    tag = "Agents",
    params(("id" = String, Path, description = "The agent's id or public key.")),
    responses((status = 200, description = "Its day.", body = SpendingView)),
    security(("bearer" = ["agents:read"]), ("apiKey" = ["agents:read"])),
)]
pub(in crate::http) async fn spending(
    State(agents): State<Arc<Agents>>,
    Allowed { caller, .. }: Allowed<AgentsRead>,
    PathName(id): PathName,
) -> Result<Json<SpendingView>, ApiError> {
    let (agent, spending, at) = agents.spending(&caller, &id).await?;
    Ok(Json(SpendingView {
        agent_id: agent.id.to_string(),
        stable: DayView::new(&agent, SpendingUnit::Stable, spending.stable),
        sol: DayView::new(&agent, SpendingUnit::Sol, spending.sol),
        resets_at: Day::of(at).next().start(),
        livemode: livemode(),
    }))
}
