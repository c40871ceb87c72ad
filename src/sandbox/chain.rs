//! The chain shared by the RPC server, the slot timer and the tests' handle: the ledger behind its lock, and the word
//! that it changed.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use solana_account::ReadableAccount;
use solana_account_decoder::parse_token::is_known_spl_token_id;
use solana_clock::Slot;
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use tokio::sync::watch;

use super::{
    MintSpec, SandboxError,
    faucet::Faucet,
    faults::Faults,
    keys::{Seed, Wallets},
    ledger::{Landed, Ledger},
    mints::MintLayout,
};
use crate::clock::Clock;

/// The chain as one node shows it: the nodes share the ledger, and each has faults of its own.
pub struct Chain {
    ledger: Arc<Mutex<Ledger>>,
    /// Bumped after every change of the ledger.
    changed: watch::Sender<u64>,
    pub faults: Faults,
    faucet: Arc<Faucet>,
    seed: Seed,
    /// Sets apart the faucet's transactions, and numbers the mints made.
    unique: Arc<AtomicU32>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Chain {
    pub fn new(seed: Seed, wallets: &Wallets, clock: Arc<dyn Clock>) -> Result<Self, SandboxError> {
        let faucet = Faucet::new(seed);
        let mut ledger = Ledger::new(seed.genesis_hash(), clock);
        faucet.endow(&mut ledger, wallets)?;
        Ok(Self {
            ledger: Arc::new(Mutex::new(ledger)),
            changed: watch::Sender::default(),
            faults: Faults::default(),
            faucet: Arc::new(faucet),
            seed,
            unique: Arc::default(),
        })
    }

    /// The same chain as another node shows it.
    pub fn at_another_node(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            changed: self.changed.clone(),
            faults: Faults::default(),
            faucet: Arc::clone(&self.faucet),
            seed: self.seed,
            unique: Arc::clone(&self.unique),
        }
    }

    /// For reading, and for changes no subscriber needs to hear of.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let done = change(&mut self.ledger());
        self.changed.send_modify(|version| *version += 1);
        done
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The slot this node shows at a commitment, its lag included.
    pub fn slot_at(&self, ledger: &Ledger, commitment: CommitmentLevel) -> Slot {
        ledger.slot_at(commitment, self.faults.lag_slots())
    }

    pub fn land(&self, transaction: &VersionedTransaction) -> Result<Arc<Landed>, TransactionError> {
        self.change(|ledger| ledger.land(transaction))
    }

    pub fn airdrop(&self, to: &Pubkey, lamports: u64) -> Result<Signature, SandboxError> {
        let unique = self.next_unique();
        self.land_faucet(|faucet, ledger| {
            Ok(faucet.airdrop(to, lamports, ledger.latest_blockhash(ledger.tip()), unique))
        })
    }

    pub fn mint_tokens(&self, mint: &Pubkey, owner: &Pubkey, amount: u64) -> Result<Signature, SandboxError> {
        let unique = self.next_unique();
        self.land_faucet(|faucet, ledger| {
            let program = token_program(ledger, mint)?;
            faucet.mint_tokens(mint, owner, program, amount, ledger.latest_blockhash(ledger.tip()), unique)
        })
    }

    pub fn create_mint(&self, spec: MintSpec) -> Result<Pubkey, SandboxError> {
        let mint = self.seed.keypair(&format!("mint {}", self.next_unique()));
        self.land_faucet(|faucet, ledger| {
            let blockhash = ledger.latest_blockhash(ledger.tip());
            faucet.create_mint(
                &mint,
                &MintLayout::from(spec),
                |space| ledger.minimum_balance(space),
                blockhash,
            )
        })?;
        Ok(mint.pubkey())
    }

    /// The associated token account of an owner.
    pub fn token_account(&self, mint: &Pubkey, owner: &Pubkey) -> Result<Pubkey, SandboxError> {
        let program = token_program(&self.ledger(), mint)?;
        Ok(get_associated_token_address_with_program_id(owner, mint, &program))
    }

    fn next_unique(&self) -> u32 {
        self.unique.fetch_add(1, Ordering::Relaxed)
    }

    fn land_faucet(
        &self,
        transaction: impl FnOnce(&Faucet, &Ledger) -> Result<VersionedTransaction, SandboxError>,
    ) -> Result<Signature, SandboxError> {
        let landed = self.change(|ledger| {
            let transaction = transaction(&self.faucet, ledger)?;
            ledger.land(&transaction).map_err(SandboxError::Refused)
        })?;
        landed.meta.status.clone().map_err(SandboxError::Failed)?;
        Ok(landed.signature)
    }
}

fn token_program(ledger: &Ledger, mint: &Pubkey) -> Result<Pubkey, SandboxError> {
    let account = ledger.account(mint, ledger.tip()).ok_or(SandboxError::NotAMint(*mint))?;
    let owner = *account.owner();
    if is_known_spl_token_id(&owner) { Ok(owner) } else { Err(SandboxError::NotAMint(*mint)) }
}
