//! A port for a server that a test stops and starts again.

use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that nobody else is given, whether a server runs there or not: it is bound, and never listened on.
/// A server that asks for this very port, and does not mind that it is bound (`SO_REUSEADDR`), gets it all the same.
#[derive(Debug)]
pub struct Port(TcpSocket);

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}
