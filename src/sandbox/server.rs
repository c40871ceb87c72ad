//! The tasks of a running sandbox: the HTTP and WebSocket listeners and the slot timer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    SandboxError,
    chain::Chain,
    rpc::{self, Node},
};

/// Bytes in a request, as a validator allows.
const MAX_REQUEST_BYTES: usize = 50 * 1024;

/// Attempts to find two free ports side by side.
const PORT_ATTEMPTS: u32 = 64;

/// How long open connections may take to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Server {
    pub rpc_addr: SocketAddr,
    pub ws_addr: SocketAddr,
    tasks: JoinSet<()>,
    /// Stops the tasks, and the connections they have opened, when the server is dropped.
    stop: DropGuard,
}

impl Server {
    pub async fn start(
        chain: Arc<Chain>,
        addr: SocketAddr,
        slot_time: Option<Duration>,
    ) -> Result<Self, SandboxError> {
        if !addr.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(addr));
        }
        let (rpc, ws) = bind_pair(addr).await?;
        let (rpc_addr, ws_addr) = (local_addr(&rpc, addr)?, local_addr(&ws, addr)?);
        let stop = CancellationToken::new();
        let node = Node::new(Arc::clone(&chain), stop.clone());
        let app = Router::new()
            .route("/", post(rpc::over_http).get(rpc::over_websocket))
            .route("/health", get(rpc::health))
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .with_state(node);
        let mut tasks = JoinSet::new();
        for listener in [rpc, ws] {
            tasks.spawn(serve(listener, app.clone(), stop.clone()));
        }
        if let Some(slot_time) = slot_time {
            tasks.spawn(run_slots(chain, slot_time, stop.clone()));
        }
        Ok(Self { rpc_addr, ws_addr, tasks, stop: stop.drop_guard() })
    }

    pub async fn shutdown(mut self) {
        drop(self.stop);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the sandbox's RPC server ended");
    }
}

async fn run_slots(chain: Arc<Chain>, slot_time: Duration, stop: CancellationToken) {
    // Zero would be no timer at all.
    let mut slots = time::interval(slot_time.max(Duration::from_millis(1)));
    slots.set_missed_tick_behavior(MissedTickBehavior::Skip);
    slots.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = slots.tick() => chain.change(|ledger| ledger.advance(1)),
        }
    }
}

fn local_addr(listener: &TcpListener, addr: SocketAddr) -> Result<SocketAddr, SandboxError> {
    listener.local_addr().map_err(|source| SandboxError::Bind { addr, source })
}

async fn bind(addr: SocketAddr) -> Result<TcpListener, SandboxError> {
    TcpListener::bind(addr).await.map_err(|source| SandboxError::Bind { addr, source })
}

async fn bind_pair(addr: SocketAddr) -> Result<(TcpListener, TcpListener), SandboxError> {
    if addr.port() != 0 {
        return Ok((bind(addr).await?, bind(next_port(addr).ok_or(SandboxError::NoPortPair)?).await?));
    }
    for _ in 0..PORT_ATTEMPTS {
        let rpc = bind(addr).await?;
        let Some(next) = next_port(local_addr(&rpc, addr)?) else { continue };
        if let Ok(ws) = bind(next).await {
            return Ok((rpc, ws));
        }
    }
    Err(SandboxError::NoPortPair)
}

fn next_port(addr: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(addr.ip(), addr.port().checked_add(1)?))
}
