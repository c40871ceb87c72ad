//! An answer's body, which keeps its request in flight for as long as any part of it is kept for the client.
//!
//! HTTP/2 takes a whole body at once and keeps it until the client has read it: that the body has come to its end says
//! nothing, so each part holds on to the request by itself.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use hyper::body::{Buf, Frame, SizeHint};

use super::activity::InFlight;

#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    in_flight: Arc<InFlight>,
}

impl Answer {
    pub const fn new(body: Body, in_flight: Arc<InFlight>) -> Self {
        Self { body, in_flight }
    }
}

impl hyper::body::Body for Answer {
    type Data = Part;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, axum::Error>>> {
        let this = self.get_mut();
        let part = |bytes| Part { bytes, in_flight: Arc::clone(&this.in_flight) };
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that wait to be sent.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Bytes,
    in_flight: Arc<InFlight>,
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.in_flight.taken();
    }
}
