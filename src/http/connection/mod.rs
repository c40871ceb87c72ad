//! One connection: HTTP/1.1 or HTTP/2, how long it may do nothing, how it ends.
//!
//! Versions are told apart by the first bytes (h2c with prior knowledge). Whatever is bounded by neither hyper nor a
//! handler is bounded here: a connection that is silent, in the middle of a head that never ends, or not reading its
//! answers, is ended after a while.

mod activity;
mod answer;
mod refusal;
mod stream;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, extract::Request, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    pin,
    time::{Instant, sleep_until},
};
use tower::ServiceExt;

use self::{
    activity::{Activity, InFlight, Overdue, Patience},
    answer::Answer,
    stream::WatchedStream,
};
use super::{
    admission::Peer,
    error::{ErrorCode, RATE_LIMIT_EXCEEDED},
    load::AnswerRoom,
};
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

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// To show its version, and to send the head of an HTTP/1 request, once it has begun.
    pub head: Duration,
    /// To be without a request in flight. Longer than load balancers keep their idle connections (60 s is common), or
    /// they send requests into connections that end.
    pub idle: Duration,
    /// To take nothing of what is there for it.
    pub stall: Duration,
    /// To take the whole of an answer.
    pub answer: Duration,
    /// To live: clients of long standing come back on another connection, perhaps to another instance.
    pub age: Duration,
    /// To finish what is in flight once it was told to end. Longer than a request may take.
    pub ending: Duration,
    /// To hear that it is to end, where nothing is in flight. A round trip is needed.
    pub linger: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            answer: Duration::from_mins(2),
            age: Duration::from_hours(1),
            ending: Duration::from_secs(65),
            linger: Duration::from_secs(3),
        }
    }
}

impl ConnectionLimits {
    fn open(&self) -> Patience {
        Patience {
            from: Instant::now(),
            head: self.head,
            idle: self.idle,
            stall: self.stall,
            answer: self.answer,
        }
    }

    /// For one that was told to end.
    fn ending(&self) -> Patience {
        Patience { head: self.linger, idle: self.linger, ..self.open() }
    }

    /// When the whole service ends: who does not read costs the others no time.
    fn last(&self) -> Patience {
        Patience { stall: self.linger, ..self.ending() }
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
    let stream = WatchedStream::new(stream, Arc::clone(&activity), app.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(app.clone(), request, InFlight::new(&counted))
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    pin!(connection);
    let mut patience = limits.open();
    let mut end_at = Instant::now() + limits.age;
    let (mut told, mut hurried) = (false, false);
    loop {
        let why = tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = shutdown.begun(), if !hurried => Overdue::Shutdown,
            why = activity.overdue(&patience) => why,
            () = sleep_until(end_at) => Overdue::Age,
        };
        match why {
            Overdue::Shutdown => (hurried, patience) = (true, limits.last()),
            Overdue::Idle | Overdue::Age if !told => patience = limits.ending(),
            why => return Err(why.into()),
        }
        if !told {
            told = true;
            end_at = Instant::now() + limits.ending;
            connection.as_mut().graceful_shutdown();
        }
    }
}

async fn answer(
    app: Router,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Result<Response<Answer>, Infallible> {
    let mut response = app.oneshot(request).await?;
    let room = response.extensions_mut().remove::<AnswerRoom>();
    let in_flight = Arc::new(in_flight.answered(asked_too_often(&response), room));
    Ok(response.map(|body| Answer::new(body, in_flight)))
}

/// A meter that is told of a quota asks neither in vain nor too often, though it is told so with the same status.
fn asked_too_often(response: &Response) -> bool {
    response.extensions().get::<ErrorCode>().is_some_and(|code| code.0 == RATE_LIMIT_EXCEEDED)
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // hyper's own timeout does not tell a head that is arriving from an idle connection.
    builder.http1().header_read_timeout(None).max_buf_size(MAX_HEAD);
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

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::asked_too_often;
    use crate::{
        clock::UnixMs,
        http::error::ApiError,
        usage::{OverLimit, Refused, Window, service::UsageError},
    };

    #[test]
    fn a_quota_is_no_rate_limit() {
        let now = UnixMs(1_700_000_000_000);
        let over = OverLimit { window: Window::Day, limit: 1, used: 1, resets_at: now };
        let over = ApiError::from(UsageError::Refused { index: None, why: Refused::OverLimit(over), now });
        let limited = ApiError::rate_limited(1).into_response();
        assert!(asked_too_often(&limited));
        let over = over.into_response();
        assert_eq!(over.status(), limited.status());
        assert!(!asked_too_often(&over));
    }
}
