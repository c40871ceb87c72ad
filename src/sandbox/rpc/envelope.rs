//! JSON-RPC 2.0 itself: single calls, batches and notifications in, answers out.

use jsonrpc_core::{Call, Error, Failure, Id, MethodCall, Output, Request, Version};

use super::Node;
use crate::sandbox::hold::Lost;

/// Calls in one batch.
const MAX_BATCH: usize = 100;

/// The connection breaks without an answer.
pub struct Broken;

impl From<Lost> for Broken {
    fn from(Lost: Lost) -> Self {
        Self
    }
}

/// The answer to a request body; empty when it held only notifications.
pub async fn answer(node: &Node, body: &[u8]) -> Result<String, Broken> {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(_) => return Ok(to_string(&failure(Error::parse_error()))),
    };
    match request {
        Request::Single(call) => {
            Ok(answer_call(node, call).await?.map(|output| to_string(&output)).unwrap_or_default())
        }
        Request::Batch(calls) if calls.is_empty() || calls.len() > MAX_BATCH => {
            Ok(to_string(&failure(Error::invalid_request())))
        }
        Request::Batch(calls) => {
            let mut outputs = Vec::new();
            for call in calls {
                outputs.extend(answer_call(node, call).await?);
            }
            Ok(if outputs.is_empty() { String::new() } else { to_string(&outputs) })
        }
    }
}

async fn answer_call(node: &Node, call: Call) -> Result<Option<Output>, Broken> {
    match checked(call) {
        Ok(Some(MethodCall { jsonrpc, method, params, id })) => {
            let result = node.call(&method, params).await?;
            Ok(Some(Output::from(result, id, jsonrpc)))
        }
        Ok(None) => Ok(None),
        Err(refused) => Ok(Some(refused)),
    }
}

/// The call if it is one to be answered; notifications are not.
pub fn checked(call: Call) -> Result<Option<MethodCall>, Output> {
    match call {
        Call::MethodCall(call) if call.jsonrpc != Some(Version::V2) => {
            Err(Output::invalid_request(call.id, None))
        }
        Call::MethodCall(call) => Ok(Some(call)),
        Call::Notification(_) => Ok(None),
        Call::Invalid { id } => Err(Output::invalid_request(id, Some(Version::V2))),
    }
}

pub fn failure(error: Error) -> Output {
    Output::Failure(Failure { jsonrpc: Some(Version::V2), error, id: Id::Null })
}

pub fn to_string(output: &impl serde::Serialize) -> String {
    serde_json::to_string(output).expect("JSON values have string keys only")
}
