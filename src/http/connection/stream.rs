//! The socket, watched: what version it speaks, whether anything arrives, whether it takes what it is given; and what
//! hyper answers by itself.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{activity::Activity, refusal::Refusal};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy)]
enum Speaks {
    /// So many bytes of the preface have arrived.
    Open(usize),
    Http1,
    Http2,
}

pub(super) struct WatchedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    app: Router,
    speaks: Speaks,
    blocked: bool,
    /// What is sent in the stead of what hyper is writing.
    refusal: Option<Refusal>,
}

impl WatchedStream {
    pub const fn new(stream: TcpStream, activity: Arc<Activity>, app: Router) -> Self {
        Self { stream, activity, app, speaks: Speaks::Open(0), blocked: false, refusal: None }
    }

    fn look_at(&mut self, arrived: &[u8]) {
        match self.speaks {
            Speaks::Open(matched) => {
                let rest = &PREFACE[matched..];
                let common = arrived.len().min(rest.len());
                self.speaks = if arrived[..common] != rest[..common] {
                    Speaks::Http1
                } else if common < rest.len() {
                    Speaks::Open(matched + common)
                } else {
                    self.activity.is_http2();
                    Speaks::Http2
                };
            }
            Speaks::Http1 => self.activity.arrived(),
            Speaks::Http2 => {}
        }
    }

    /// Sends what is to be sent in the stead of `bytes`; `None` where they may be written.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() && matches!(self.speaks, Speaks::Http1) {
            self.refusal = Refusal::of(bytes, &self.app);
        }
        let refusal = self.refusal.as_mut()?;
        Some(refusal.poll_send(cx, &mut self.stream).map(|sent| {
            self.refusal = None;
            sent.map(|()| bytes.len())
        }))
    }

    fn wrote(&mut self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.blocked != wrote.is_pending() {
            self.blocked = wrote.is_pending();
            self.activity.blocked(self.blocked);
        }
        wrote
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let arrived = &buf.filled()[before..];
        if !arrived.is_empty() {
            this.look_at(arrived);
        }
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let refused = this.poll_refuse(cx, buf);
        let wrote = refused.unwrap_or_else(|| Pin::new(&mut this.stream).poll_write(cx, buf));
        this.wrote(wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let refused = bufs.first().and_then(|first| this.poll_refuse(cx, first));
        let wrote = refused.unwrap_or_else(|| Pin::new(&mut this.stream).poll_write_vectored(cx, bufs));
        this.wrote(wrote)
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
