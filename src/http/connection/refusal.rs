//! The answer to a head that hyper cannot read.
//!
//! hyper gives one by itself, a status and nothing else, and asks nobody. It is known by what it lacks, and replaced by the
//! service's own on its way out: with the error envelope and the usual headers, counted and logged like any other.

use std::{
    fmt::Write,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderName, StatusCode},
};
use hyper::body::Buf;
use tokio::{io::AsyncWrite, net::TcpStream};
use tower::ServiceExt;

use crate::http::message::Unreadable;

/// What hyper answers so with.
const STATUSES: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
/// Every answer of the service has it.
const OURS: HeaderName = HeaderName::from_static("x-request-id");
/// Longest body of the replacement, in bytes; an envelope is far shorter.
const MAX_BODY: usize = 16 * 1024;

/// The replacement, being made or sent.
pub(super) enum Refusal {
    Making(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    Sending(Bytes),
}

impl Refusal {
    /// `None` where what is being written is something else.
    pub fn of(written: &[u8], app: &Router) -> Option<Self> {
        let status = bare_status(written)?;
        let (app, date) = (app.clone(), line(written, "date: ").unwrap_or_default().to_owned());
        Some(Self::Making(Box::pin(async move { replacement(app, status, &date).await })))
    }

    /// Sends it in the other's place.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Making(answer) => *self = Self::Sending(ready!(answer.as_mut().poll(cx))),
                Self::Sending(rest) if rest.is_empty() => return Poll::Ready(Ok(())),
                Self::Sending(rest) => {
                    let sent = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
                    if sent == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    rest.advance(sent);
                }
            }
        }
    }
}

/// The status of a head without a body that the service has not seen.
fn bare_status(written: &[u8]) -> Option<StatusCode> {
    let version = written.starts_with(b"HTTP/1.1 ") || written.starts_with(b"HTTP/1.0 ");
    let status = StatusCode::from_bytes(written.get(9..12)?).ok()?;
    let bare = version && written.ends_with(b"\r\n\r\n") && line(written, OURS.as_str()).is_none();
    (bare && STATUSES.contains(&status)).then_some(status)
}

fn line<'a>(head: &'a [u8], start: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find(|line| line.starts_with(start))
}

async fn replacement(app: Router, status: StatusCode, date: &str) -> Bytes {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(Unreadable(status));
    let Ok(response) = app.oneshot(request).await;
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    parts.headers.remove("content-length");
    let mut head = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n{date}\r\n",
        parts.status,
        body.len()
    );
    for (name, value) in &parts.headers {
        if let Ok(value) = value.to_str() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    Bytes::from([head.as_bytes(), b"\r\n", &body].concat())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::bare_status;

    #[test]
    fn only_answers_of_hypers_own_are_replaced() {
        let bare = |text: &str| bare_status(text.as_bytes());
        let too_large = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare(too_large), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        assert_eq!(bare("HTTP/1.0 400 Bad Request\r\n\r\n"), Some(StatusCode::BAD_REQUEST));
        for other in [
            "HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "{\"HTTP/1.1 400\": 1}",
            "HTTP/1.1 ",
            "",
        ] {
            assert_eq!(bare(other), None, "{other}");
        }
    }
}
