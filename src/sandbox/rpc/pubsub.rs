//! WebSocket connections: subscribing, being notified, unsubscribing.

use std::{collections::BTreeMap, time::Duration};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use jsonrpc_core::{Call, Error, ErrorCode, MethodCall, Output, Value};
use serde_json::json;

use super::{
    Node,
    envelope::{Broken, checked, failure, to_string},
    params,
    subscription::{METHODS, Subscription},
};
use crate::sandbox::faults::Disconnect;

/// Bytes in one message from a client.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: usize = 256;

/// How long a client may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

struct Connection {
    node: Node,
    socket: WebSocket,
    subscriptions: BTreeMap<u64, Subscription>,
    next_id: u64,
}

pub async fn serve(node: Node, socket: WebSocket) {
    let mut changes = node.chain.changes();
    let mut broken = node.chain.faults.sockets();
    let stop = node.stop.clone();
    let mut connection = Connection { node, socket, subscriptions: BTreeMap::new(), next_id: 0 };
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = broken.changed() => return,
            message = connection.socket.recv() => match message {
                Some(Ok(message)) => connection.receive(message).await,
                Some(Err(_)) | None => return,
            },
            _ = changes.changed() => connection.notify().await,
        };
        if done.is_err() {
            return;
        }
    }
}

impl Connection {
    async fn receive(&mut self, message: Message) -> Result<(), Broken> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(Broken),
            // Pings are answered below us.
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        let answer = match serde_json::from_str::<Call>(&text).map(checked) {
            Err(_) => failure(Error::parse_error()),
            Ok(Err(refused)) => refused,
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(MethodCall { jsonrpc, method, params, id }))) => {
                Output::from(self.call(&method, params).await?, id, jsonrpc)
            }
        };
        self.send(to_string(&answer)).await?;
        // What a new subscription asks for may be there already.
        self.notify().await
    }

    async fn call(
        &mut self,
        method: &str,
        params: jsonrpc_core::Params,
    ) -> Result<Result<Value, Error>, Broken> {
        if let Some((_, name)) = METHODS.iter().find(|(_, unsubscribe)| *unsubscribe == method) {
            self.node.chain.faults.count(name);
            return Ok(self.unsubscribe(method, params));
        }
        let Some((name, _)) = METHODS.iter().find(|(subscribe, _)| *subscribe == method) else {
            return Ok(Err(Error::method_not_found()));
        };
        let plan = self.node.chain.faults.plan(name);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        if plan.disconnect == Some(Disconnect::Before) {
            return Err(Broken);
        }
        if let Some((code, message, data)) = plan.error {
            return Ok(Err(Error { code: code.into(), message, data }));
        }
        let subscribed = self.subscribe(name, params);
        if plan.disconnect == Some(Disconnect::After) { Err(Broken) } else { Ok(subscribed) }
    }

    fn subscribe(&mut self, method: &str, params: jsonrpc_core::Params) -> Result<Value, Error> {
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let message = "Internal Error: Subscription refused. Node subscription limit reached".to_owned();
            return Err(Error { code: ErrorCode::InternalError, message, data: None });
        }
        let subscription = Subscription::open(&self.node.chain, method, params)?;
        let id = self.next_id;
        self.next_id += 1;
        self.subscriptions.insert(id, subscription);
        Ok(json!(id))
    }

    fn unsubscribe(&mut self, method: &str, params: jsonrpc_core::Params) -> Result<Value, Error> {
        let (id,): (u64,) = params::read::<_, 1>(params)?;
        if self.subscriptions.get(&id).is_none_or(|open| open.unsubscribe_method() != method) {
            return Err(Error::invalid_params("Invalid subscription id."));
        }
        self.subscriptions.remove(&id);
        Ok(json!(true))
    }

    async fn notify(&mut self) -> Result<(), Broken> {
        for message in self.news() {
            self.send(message).await?;
        }
        Ok(())
    }

    fn news(&mut self) -> Vec<String> {
        let chain = std::sync::Arc::clone(&self.node.chain);
        let ledger = chain.ledger();
        let mut messages = Vec::new();
        self.subscriptions.retain(|id, subscription| {
            let news = subscription.news(&chain, &ledger);
            messages.extend(news.results.iter().map(|result| {
                to_string(&json!({
                    "jsonrpc": "2.0",
                    "method": subscription.notification(),
                    "params": { "result": result, "subscription": id },
                }))
            }));
            !news.last
        });
        messages
    }

    async fn send(&mut self, text: String) -> Result<(), Broken> {
        let sent = self.socket.send(Message::Text(Utf8Bytes::from(text)));
        match tokio::time::timeout(SEND_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Broken),
        }
    }
}
