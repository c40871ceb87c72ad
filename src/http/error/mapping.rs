//! What each of the domain's errors is told as.

use axum::http::StatusCode;

use super::{ApiError, INVALID_KEY};
use crate::{
    agents::service::AgentError,
    analytics::service::AnalyticsError,
    api_keys::{HashFailure, KeyCheckError, service::KeyError},
    chain::ChainError,
    input::FieldErrors,
    payments::{Refusal, proof::VerifyError, x402::Undecided},
    plans::service::PlanError,
    requirements::service::IssueError,
    store_error::StoreError,
    subscriptions::{Standing, service::SubscriptionError},
    usage::{Refused, service::UsageError},
};

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(StatusCode::PAYMENT_REQUIRED, refusal.code.as_str(), refusal.message);
        Self { refused: true, limit: refusal.limit.map(Box::new), ..error }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the database failed");
        if error.is_unknown() {
            Self::outcome_unknown()
        } else if error.is_temporary() {
            Self::unavailable("DATABASE_UNAVAILABLE", "the books cannot be reached: try again")
        } else {
            Self::internal()
        }
    }
}

impl From<ChainError> for ApiError {
    fn from(error: ChainError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the chain could not be read");
        Self::unavailable("BLOCKCHAIN_UNAVAILABLE", "the chain cannot be read: try again")
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::TransactionNotVisible => Self::unavailable(
                "TRANSACTION_NOT_FOUND",
                "the transaction is not confirmed yet, or does not exist: try again",
            ),
            VerifyError::Chain(error) => error.into(),
            VerifyError::Store(error) => error.into(),
            VerifyError::TwinInFlight => {
                Self::unavailable("VERIFICATION_IN_PROGRESS", "the same proof is being verified: try again")
            }
            VerifyError::TimedOut => Self::timed_out(),
        }
    }
}

impl From<Undecided> for ApiError {
    fn from(error: Undecided) -> Self {
        match error {
            Undecided::Chain(error) => error.into(),
            Undecided::FeePayerShort(fee_payer) => {
                tracing::error!(%fee_payer, "the fee payer cannot pay: nothing is settled with it");
                let message = format!(
                    "the fee payer {fee_payer} of this service is out of SOL, so that nothing can be settled with it: \
                     try again later"
                );
                Self::unavailable("FEE_PAYER_UNAVAILABLE", &message)
            }
            Undecided::Store(error) => error.into(),
            Undecided::Busy => Self::overloaded(),
            Undecided::Unavailable => Self::unavailable(
                "SETTLEMENT_UNAVAILABLE",
                "this request has sent nothing, because the books, the chain or somebody else who settles the same payment \
                 did not answer in time: send it again, and do not pay anew. What was told to be pending before is so still",
            ),
            Undecided::Sign(_) | Undecided::Encoding(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a payment could not be signed");
                Self::internal()
            }
        }
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Malformed(errors) => errors.into(),
            IssueError::Store(error) => error.into(),
        }
    }
}

impl From<AnalyticsError> for ApiError {
    fn from(error: AnalyticsError) -> Self {
        match error {
            AnalyticsError::Malformed(errors) => errors.into(),
            AnalyticsError::Store(error) => error.into(),
        }
    }
}

impl From<PlanError> for ApiError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Malformed(errors) => errors.into(),
            PlanError::NotFound => Self::not_found("this plan"),
            PlanError::NotYet => Self::overloaded(),
            PlanError::Store(error) => error.into(),
        }
    }
}

impl From<SubscriptionError> for ApiError {
    fn from(error: SubscriptionError) -> Self {
        match error {
            SubscriptionError::Malformed(errors) => errors.into(),
            SubscriptionError::NotFound => Self::not_found("this subscription"),
            SubscriptionError::NoPlan => Self::not_found("this plan"),
            SubscriptionError::PlanRetired => {
                let message = "the plan is retired and takes no new subscriptions: choose another";
                Self::new(StatusCode::CONFLICT, "PLAN_RETIRED", message)
            }
            SubscriptionError::NoAgent => {
                Self::new(StatusCode::NOT_FOUND, "AGENT_NOT_FOUND", "this agent does not exist")
            }
            SubscriptionError::Store(error) => error.into(),
        }
    }
}

impl From<UsageError> for ApiError {
    fn from(error: UsageError) -> Self {
        let (index, why, now) = match error {
            UsageError::Malformed(errors) => return errors.into(),
            UsageError::NotFound => return Self::not_found("this subscription"),
            UsageError::Store(error) => return error.into(),
            UsageError::Refused { index, why, now } => (index, why, now),
        };
        let field = |name: &str| match index {
            Some(index) if name.is_empty() => format!("usage.{index}"),
            Some(index) => format!("usage.{index}.{name}"),
            None => name.to_owned(),
        };
        let error = match why {
            Refused::TooEarly { period_start } => {
                let message =
                    format!("must not be before the current period, which began at {}", period_start.0);
                return FieldErrors::one(&field("timestamp"), message).into();
            }
            Refused::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "SUBSCRIPTION_NOT_FOUND", "this subscription does not exist")
            }
            Refused::Inactive(standing) => {
                Self::new(StatusCode::CONFLICT, "SUBSCRIPTION_INACTIVE", inactive(standing))
            }
            Refused::Conflict => {
                let message = "the idempotencyKey stands for other usage: take a new one";
                Self::new(StatusCode::CONFLICT, "IDEMPOTENCY_CONFLICT", message)
            }
            Refused::OverLimit(over) => Self::over_limit(over, now),
        };
        // Which one of a batch it is.
        let message = error.message.clone();
        let details = index.map(|_| FieldErrors::one(&field(""), message).into_details());
        Self { details: details.unwrap_or_default(), ..error }
    }
}

fn inactive(standing: Standing) -> &'static str {
    match standing {
        Standing::Active { .. } => "the subscription is active",
        Standing::PastDue { .. } => "the subscription's period is not paid: pay it first",
        Standing::Cancelled { .. } => "the subscription is cancelled: make a new one",
        Standing::Expired { .. } => "the subscription is expired: make a new one",
    }
}

impl From<KeyCheckError> for ApiError {
    fn from(error: KeyCheckError) -> Self {
        match error {
            KeyCheckError::Store(error) => error.into(),
            KeyCheckError::Away => {
                Self::unavailable("DATABASE_UNAVAILABLE", "the API keys cannot be read: try again")
            }
            KeyCheckError::Hash(HashFailure::Busy) => Self::overloaded(),
            KeyCheckError::Hash(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an API key could not be checked");
                Self::internal()
            }
        }
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Malformed(errors) => errors.into(),
            AgentError::NotFound => Self::not_found("this agent"),
            AgentError::WalletTaken(by) => {
                let message = format!("the wallet is registered already, as {by}: change that one");
                Self::new(StatusCode::CONFLICT, "AGENT_EXISTS", message)
            }
            AgentError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        let conflict = |code, message: &str| Self::new(StatusCode::CONFLICT, code, message);
        match error {
            KeyError::Malformed(errors) => errors.into(),
            KeyError::BeyondCaller(scope) => Self::insufficient_scope(scope),
            KeyError::NotFound => Self::not_found("this API key"),
            KeyError::Revoked => conflict("API_KEY_REVOKED", "the API key is revoked: create a new one"),
            KeyError::Expired => conflict("API_KEY_EXPIRED", "the API key is expired: create a new one"),
            KeyError::Rotated => conflict(
                "API_KEY_ROTATED",
                "the API key was rotated before: rotate the one in its replacedBy",
            ),
            KeyError::CallerEnded => Self::unauthorized(INVALID_KEY),
            KeyError::CallerRotated => conflict(
                "API_KEY_ROTATED",
                "the calling API key was rotated meanwhile, and ends before the new key would: try again",
            ),
            KeyError::TooManyActive => conflict(
                "API_KEY_LIMIT_REACHED",
                "the user has 100 active API keys: revoke those that are not needed",
            ),
            KeyError::TooManyRotated => conflict(
                "API_KEY_LIMIT_REACHED",
                "100 rotated API keys of the user still work: revoke some, or rotate with overlapSeconds 0",
            ),
            KeyError::TooManyMade => conflict(
                "API_KEY_LIMIT_REACHED",
                "1000 API keys were made for the user within a day: wait until some of them are a day old",
            ),
            KeyError::Store(error) => error.into(),
            KeyError::Tags(error) => error.into(),
            KeyError::Busy | KeyError::Hash(HashFailure::Busy) => Self::overloaded(),
            KeyError::NoPrefix | KeyError::Hash(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an API key could not be made");
                Self::internal()
            }
        }
    }
}
