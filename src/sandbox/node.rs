//! Another RPC node of the same chain.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{Faults, SandboxError, chain::Chain, server::Server};

/// A node beside the first one: the same ledger, and faults of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct SandboxNode {
    chain: Arc<Chain>,
    server: Server,
}

impl SandboxNode {
    pub(super) async fn start(chain: Chain) -> Result<Self, SandboxError> {
        let chain = Arc::new(chain);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(Arc::clone(&chain), addr, None).await?;
        Ok(Self { chain, server })
    }

    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.server.rpc_addr)
    }

    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.server.ws_addr)
    }

    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.chain.faults
    }

    /// Stops the node, with the connections to it.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
