//! Connections: accepting them, counting them, and ending them in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};
use tokio_util::task::TaskTracker;

use super::{
    admission::Peer,
    connection::{ConnectionLimits, serve_connection},
    slots::Slots,
};
use crate::{
    metrics::Metrics,
    shutdown::{DRAIN_TIMEOUT, Shutdown},
};

/// Pause after a failed accept, which usually means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` until the shutdown begins and its connections have ended. Connections beyond the total wait in the
/// kernel's backlog; those that one client has too many are closed.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    limits: ConnectionLimits,
    slots: Slots,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.begun() => break,
        };
        let Ok((stream, address, free)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(slot) = slots.take(free, address.ip()) else {
            metrics.connection_refused();
            tracing::debug!(client = %address.ip(), "too many connections from one client");
            continue;
        };
        let (app, metrics, shutdown) = (app.clone(), Arc::clone(&metrics), shutdown.clone());
        connections.spawn(async move {
            let _open = OpenConnection::new(metrics);
            let served = serve_connection(stream, Peer(address.ip()), app, limits, &shutdown).await;
            if let Err(error) = served {
                tracing::debug!(error = error.as_ref() as &dyn std::error::Error, "a connection broke");
            }
            drop(slot);
        });
    }
    drop(listener);
    // In this order: a request whose body is still arriving has no task yet.
    let drained = async {
        connections.close();
        connections.wait().await;
        shutdown.drained().await;
    };
    if shutdown.within(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// A connection as it is counted, until it has ended, however it does.
struct OpenConnection(Arc<Metrics>);

impl OpenConnection {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Slots,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let free = slots.free().await;
    let (stream, address) = listener.accept().await.inspect_err(|error| {
        tracing::warn!(error = error as &dyn std::error::Error, "a connection could not be accepted");
    })?;
    stream.set_nodelay(true)?;
    Ok((stream, address, free))
}
