//! One connection: HTTP/1.1 or HTTP/2, how long it may do nothing, how it ends.
//!
//! Versions are told apart by the first bytes (h2c with prior knowledge). Whatever is bounded by neither hyper nor a
//! handler is bounded here: a connection without a request in flight, be it silent, in the middle of a head that never
//! ends, or not reading its answers, is ended after a while.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tower::ServiceExt;

use super::admission::Peer;
use crate::shutdown::Shutdown;

/// Largest head of an HTTP/1 request, in bytes; hyper takes at most 100 headers in it.
const MAX_HEAD: usize = 32 * 1024;
/// Largest head of an HTTP/2 request, in bytes, decompressed.
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Bytes an HTTP/2 client may send ahead of being read, for a request and for the connection.
const WINDOW: u32 = 64 * 1024;
/// Bytes of an answer kept for an HTTP/2 client that does not read.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Requests an HTTP/2 client may take back before they were looked at, and those we reset for its mistakes: floods of
/// either end the connection.
const MAX_RESETS: usize = 20;
const MAX_OUR_RESETS: usize = 100;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// To show its version, and to send the head of an HTTP/1 request; so long an HTTP/1 connection may also be idle.
    pub head: Duration,
    /// To be without a request in flight.
    pub idle: Duration,
    /// To live: clients of long standing come back on another connection, perhaps to another instance.
    pub age: Duration,
    /// To finish what is in flight once it was told to end. Longer than a request may take.
    pub ending: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            age: Duration::from_hours(1),
            ending: Duration::from_secs(65),
        }
    }
}

/// Serves one connection until it ends, or has to.
pub(super) async fn serve_connection(
    stream: TcpStream,
    peer: Peer,
    app: Router,
    limits: ConnectionLimits,
    shutdown: &Shutdown,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let activity = Arc::new(Activity::new());
    let counted = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(app.clone(), request, InFlight::new(&counted))
    });
    let builder = builder(limits.head);
    let stream = TokioIo::new(Opening::new(stream, limits.head));
    let mut connection = pin!(builder.serve_connection(stream, service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.begun() => {}
        () = activity.idle(limits.idle) => {}
        () = sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(limits.ending, connection).await.unwrap_or_else(|_| Err("it did not end in time".into()))
}

async fn answer(
    app: Router,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Result<Response, Infallible> {
    let answered = app.oneshot(request).await;
    drop(in_flight);
    answered
}

fn builder(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_OUR_RESETS);
    builder
}

/// How many requests a connection has in flight, and since when it has that many.
#[derive(Debug)]
struct Activity(Mutex<(usize, Instant)>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }

    fn state(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once there has been no request in flight for so long.
    async fn idle(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let until = match *self.state() {
                (0, since) => since + limit,
                _ => now + limit,
            };
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// A request in flight, from its head to its answer's head.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.state().0 += 1;
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = (state.0 - 1, Instant::now());
    }
}

/// A stream that breaks where its version stays open for too long: hyper waits for ever for the rest of a preface.
struct Opening {
    stream: TcpStream,
    /// How much of the preface has arrived.
    matched: usize,
    /// `None` once the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Opening {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, matched: 0, deadline: Some(Box::pin(sleep(limit))) }
    }

    fn look_at(&mut self, arrived: &[u8]) {
        let rest = &PREFACE[self.matched..];
        let decided = arrived.len() >= rest.len() || !rest.starts_with(arrived);
        self.matched += arrived.len().min(rest.len());
        if decided {
            self.deadline = None;
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(deadline) = &mut this.deadline {
            if read.is_pending() && deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.look_at(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Opening {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
