//! A Solana chain inside the process.
//!
//! A real SVM with the real System, SPL Token, Token-2022, Associated Token Account, Memo and Compute Budget programs,
//! served as Solana JSON-RPC over HTTP and WebSocket on loopback, so that the service talks to it through the client
//! it talks to mainnet with. It starts in milliseconds, is the same under the same seed, and can be told to misbehave.
//!
//! Not modelled: durable nonces, votes, stake, rent collection, blocks as such (`getBlock`), and the compute-unit
//! figures of a validator (`LiteSVM`'s are lower).

pub mod agent;
mod buyer;
mod chain;
mod dice;
mod error;
mod faucet;
pub mod faults;
mod hold;
mod keys;
mod ledger;
pub mod mints;
mod node;
mod rpc;
mod server;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use solana_account::{Account, ReadableAccount};
use solana_hash::Hash;
use solana_program_runtime::invoke_context::BuiltinFunctionRegisterer;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use spl_token_2022_interface::{extension::StateWithExtensions, state::Account as TokenAccount};

pub use error::SandboxError;
pub use faults::{Disconnect, Faults};
pub use hold::{Held, Hold};
pub use keys::Wallets;
pub use ledger::{FINALITY_SLOTS, MAX_BLOCKHASH_AGE, MAX_LAG_SLOTS};
pub use mints::{MintSpec, PYUSD, TokenProgram, TransferFee, USDC, USDT};
pub use node::SandboxNode;

use crate::clock::Clock;
use chain::Chain;
use keys::Seed;
use server::Server;

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Determines every key and hash.
    pub seed: u64,
    /// Loopback. A WebSocket is accepted on this port and on the one after it, which is where Solana's clients look;
    /// port 0 takes any two consecutive ports.
    pub rpc_addr: SocketAddr,
    /// How long a slot lasts; `None` for slots that move only by [`Sandbox::advance_slots`] (and when a block is
    /// full).
    pub slot_time: Option<Duration>,
    /// Block times and the Clock sysvar follow it.
    pub clock: Arc<dyn Clock>,
}

impl SandboxConfig {
    /// Seed 402, any port, slots of 400 ms.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: 402,
            rpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            slot_time: Some(Duration::from_millis(400)),
            clock,
        }
    }
}

/// A running chain. Clones are handles to the same one; it stops with the last of them.
#[derive(Clone, Debug)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    chain: Arc<Chain>,
    wallets: Wallets,
    rpc_addr: SocketAddr,
    ws_addr: SocketAddr,
    server: Mutex<Option<Server>>,
}

impl Sandbox {
    /// Starts a chain and its RPC server.
    ///
    /// # Errors
    /// When the address is not on loopback or its ports are taken.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let seed = Seed(config.seed);
        let wallets = seed.wallets();
        let chain = Arc::new(Chain::new(seed, &wallets, config.clock)?);
        let server = Server::start(Arc::clone(&chain), config.rpc_addr, config.slot_time).await?;
        let (rpc_addr, ws_addr) = (server.rpc_addr, server.ws_addr);
        Ok(Self(Arc::new(Inner { chain, wallets, rpc_addr, ws_addr, server: Mutex::new(Some(server)) })))
    }

    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.0.rpc_addr)
    }

    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.0.ws_addr)
    }

    #[must_use]
    pub fn wallets(&self) -> &Wallets {
        &self.0.wallets
    }

    /// Opens `n` new slots. What landed in the present one is confirmed one slot later and final after
    /// [`FINALITY_SLOTS`].
    pub fn advance_slots(&self, n: u64) {
        self.0.chain.change(|ledger| ledger.advance(n));
    }

    /// The slot transactions land in.
    #[must_use]
    pub fn slot(&self) -> u64 {
        self.0.chain.ledger().tip()
    }

    #[must_use]
    pub fn latest_blockhash(&self) -> Hash {
        let ledger = self.0.chain.ledger();
        ledger.latest_blockhash(ledger.tip())
    }

    /// Sends SOL from the faucet.
    ///
    /// # Errors
    /// When the transaction fails, for instance because it would leave an account below rent exemption.
    pub fn airdrop(&self, to: &Pubkey, lamports: u64) -> Result<Signature, SandboxError> {
        self.0.chain.airdrop(to, lamports)
    }

    /// Mints to the owner's associated token account, which is created where it is missing, and returned.
    ///
    /// # Errors
    /// When there is no such mint, or it is not this chain's.
    pub fn mint_tokens(&self, mint: &Pubkey, owner: &Pubkey, amount: u64) -> Result<Pubkey, SandboxError> {
        self.0.chain.mint_tokens(mint, owner, amount)?;
        self.0.chain.token_account(mint, owner)
    }

    /// Lamports of an account in the present slot.
    #[must_use]
    pub fn balance(&self, of: &Pubkey) -> u64 {
        let ledger = self.0.chain.ledger();
        ledger.account(of, ledger.tip()).map_or(0, |account| account.lamports())
    }

    /// Atomic units in the owner's associated token account in the present slot.
    #[must_use]
    pub fn token_balance(&self, mint: &Pubkey, owner: &Pubkey) -> u64 {
        let Ok(address) = self.0.chain.token_account(mint, owner) else { return 0 };
        let ledger = self.0.chain.ledger();
        ledger.account(&address, ledger.tip()).map_or(0, |account| {
            StateWithExtensions::<TokenAccount>::unpack(account.data()).map_or(0, |token| token.base.amount)
        })
    }

    /// Makes a mint whose tokens [`mint_tokens`](Self::mint_tokens) can mint.
    ///
    /// # Errors
    /// When the description asks SPL Token for an extension.
    pub fn create_mint(&self, spec: MintSpec) -> Result<Pubkey, SandboxError> {
        self.0.chain.create_mint(spec)
    }

    /// Puts a transaction straight into the ledger. One that fails while it runs still lands, with its error.
    ///
    /// # Errors
    /// When no block would contain it: malformed, badly signed, expired, a duplicate, or its fee cannot be paid.
    pub fn send(&self, tx: &VersionedTransaction) -> Result<Signature, SandboxError> {
        self.0.chain.land(tx).map(|landed| landed.signature).map_err(SandboxError::Refused)
    }

    /// Adds a native program.
    pub fn add_builtin(&self, program_id: Pubkey, entrypoint: BuiltinFunctionRegisterer) {
        self.0.chain.ledger().add_builtin(program_id, entrypoint);
    }

    /// Writes an account in the present slot.
    pub fn set_account(&self, key: Pubkey, account: Account) {
        self.0.chain.change(|ledger| ledger.write_account(key, account));
    }

    /// Makes a transaction that is not final disappear as if its fork had lost: its effects are undone, and what
    /// landed after it runs again without it. False when it is unknown or final.
    #[must_use]
    pub fn drop_by_fork(&self, signature: &Signature) -> bool {
        self.0.chain.change(|ledger| ledger.drop_by_fork(signature))
    }

    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.chain.faults
    }

    /// Starts another RPC node of this chain, with faults of its own, on any port. Slots move by this one's timer.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn add_node(&self) -> Result<SandboxNode, SandboxError> {
        SandboxNode::start(self.0.chain.at_another_node()).await
    }

    /// Stops the server and the slots, and waits until they have. The other handles still see the ledger.
    pub async fn shutdown(self) {
        let server = self.0.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.shutdown().await;
        }
    }
}
