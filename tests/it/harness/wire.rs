//! Bytes on a connection, for what no client would send.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than any limit that ends a connection.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What begins an HTTP/2 connection: the preface and the client's settings, none.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub struct Wire(pub TcpStream);

impl Wire {
    /// To the service at this `http://` URL.
    pub async fn to(url: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends for as long as the other side listens; whether it still does.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// An HTTP/2 frame.
    pub async fn send_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.try_send(frame).await
    }

    /// Everything until the other side ends the connection, which it must do in time; or breaks it.
    pub async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut read)).await.expect("the connection ends");
        String::from_utf8_lossy(&read).into_owned()
    }

    /// What is there next; nothing where the other side has ended or broken the connection.
    pub async fn read_some(&mut self) -> String {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.0.read(&mut buffer)).await.expect("an answer, or an end");
        String::from_utf8_lossy(&buffer[..read.unwrap_or_default()]).into_owned()
    }

    /// What has come by now.
    pub fn read_now(&mut self) -> String {
        let mut buffer = [0; 4096];
        let read = self.0.try_read(&mut buffer).unwrap_or_default();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    /// Reads until one of these has arrived, or the other side has ended or broken the connection.
    pub async fn read_past(&mut self, one: &str, other: &str) -> String {
        let mut read = String::new();
        while !read.contains(one) && !read.contains(other) {
            let more = self.read_some().await;
            if more.is_empty() {
                break;
            }
            read.push_str(&more);
        }
        read
    }

    /// Reads until this has arrived.
    pub async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(end) {
            let mut buffer = [0; 4096];
            let more = timeout(PATIENCE, self.0.read(&mut buffer)).await.expect("an answer").unwrap();
            assert!(more > 0, "it ended before {end}: {}", String::from_utf8_lossy(&read));
            read.extend(&buffer[..more]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// A client of HTTP/2 that is there: it reads whatever comes, and answers pings.
pub struct Attentive {
    pub wire: Wire,
    arrived: Vec<u8>,
}

impl Attentive {
    const PING: u8 = 6;
    const ACK: u8 = 1;

    pub fn new(wire: Wire) -> Self {
        Self { wire, arrived: Vec::new() }
    }

    /// Takes what has come; whether the connection is still there.
    pub async fn attend(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.wire.0.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(more) => self.arrived.extend(&buffer[..more]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while let Some(frame) = self.next_frame() {
            if (frame[3], frame[4] & Self::ACK) == (Self::PING, 0) {
                self.wire.send_frame(Self::PING, Self::ACK, 0, &frame[9..]).await;
            }
        }
        true
    }

    /// With its head of nine bytes.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.arrived.get(..3)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        (self.arrived.len() >= 9 + length).then(|| self.arrived.drain(..9 + length).collect())
    }
}

/// One request, and all that is answered until the connection ends.
pub async fn exchange(url: &str, request: impl AsRef<[u8]>) -> String {
    let mut wire = Wire::to(url).await;
    wire.try_send(request).await;
    wire.read_to_end().await
}

/// The status of an answer as it stood on the wire.
#[track_caller]
pub fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    line.and_then(|line| line.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"))
}
