//! Connections: accepting them, counting them, cutting off those that send nothing, and ending them in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::ServiceExt;

use super::admission::Peer;
use crate::{
    metrics::Metrics,
    shutdown::{DRAIN_TIMEOUT, Shutdown},
};

/// Connections open at a time. Further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a failed accept, which usually means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` until the shutdown begins and its connections have ended.
pub async fn serve(listener: TcpListener, app: Router, metrics: Arc<Metrics>, shutdown: Shutdown) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);

    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.begun() => break,
        };
        let Ok((stream, address, slot)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let peer = Peer(address.ip());
        let service = app.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
        let connection = graceful.watch(connection);
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            metrics.connection_opened();
            if let Err(error) = connection.await {
                tracing::debug!(error = error.as_ref(), "a connection broke");
            }
            metrics.connection_closed();
            drop(slot);
        });
    }
    drop(listener);
    // In this order: a request whose body is still arriving has no task yet.
    let drained = async {
        graceful.shutdown().await;
        shutdown.drained().await;
    };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await.inspect_err(|error| {
        tracing::warn!(error = error as &dyn std::error::Error, "a connection could not be accepted");
    })?;
    stream.set_nodelay(true)?;
    Ok((stream, address, slot))
}
