//! A chain, a database, services that can be killed, and buyers whose payments have them settled.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pay402::{
    clock::{Clock, ManualClock, SystemClock, UnixMs},
    sandbox::{FINALITY_SLOTS, MAX_BLOCKHASH_AGE, Sandbox, SandboxConfig, SandboxNode, USDC},
};
use serde_json::Value;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_signature::Signature;
use solana_signer::Signer;
use tempfile::TempDir;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use crate::{
    conformance::Backend,
    harness::{
        Answer, KEY, TestApp,
        process::ServiceProcess,
        secrets,
        x402::{Order, PATIENCE, settling_process, signature_of},
    },
    sandbox::setup::{Fixture, START},
};

/// Longer than any request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Between two requests for the same.
const PAUSE: Duration = Duration::from_millis(100);

/// Long enough for anything on its way to be known for dead.
pub const LIFETIME_SLOTS: u64 = MAX_BLOCKHASH_AGE + FINALITY_SLOTS + 2;

/// A payment that a buyer has signed, and what it will be called.
#[derive(Clone, Debug)]
pub struct Payment {
    pub units: u64,
    pub signature: Signature,
    pub request: Value,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Settled,
    Pending,
    Failed,
    Expired,
    /// Not good, for this reason; nothing was sent.
    Refused(String),
    /// 503: nothing was sent.
    Unavailable,
    /// No answer, or not to its end.
    Nothing,
}

impl Told {
    /// Whether asking again may tell more.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Pending | Self::Unavailable | Self::Nothing)
    }
}

/// Databases are opened one after the other: a disk that is kept busy by all of them at once is slower than they wait for
/// when they are opened.
static OPENING: Mutex<()> = Mutex::const_new(());

pub struct Stage {
    pub chain: Sandbox,
    pub backend: Backend,
    /// Of a node of its own, which has no faults.
    pub rpc: RpcClient,
    _node: SandboxNode,
    /// Where the chain has one that only tests move.
    pub clock: Option<Arc<ManualClock>>,
    folder: TempDir,
    paid: AtomicU64,
    before: u64,
    /// What the fee payer had in the beginning, in lamports.
    lamports_before: u64,
}

impl Stage {
    /// Slots pass by themselves, and the clock is the system's: for services that are processes.
    pub async fn set(backend: Backend, slot_time: Duration) -> Self {
        let config =
            SandboxConfig { slot_time: Some(slot_time), ..SandboxConfig::new(Arc::new(SystemClock)) };
        Self::on(backend, config, None).await
    }

    /// Slots and the clock move when a test says so: for services in this process.
    pub async fn by_hand(backend: Backend) -> Self {
        Self::by_hand_since(backend, START).await
    }

    /// As [`by_hand`](Self::by_hand), beginning now: for what a process has begun and a service in this one ends.
    pub async fn by_hand_today(backend: Backend) -> Self {
        Self::by_hand_since(backend, SystemClock.now()).await
    }

    async fn by_hand_since(backend: Backend, start: UnixMs) -> Self {
        let clock = Arc::new(ManualClock::new(start));
        let config =
            SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::<ManualClock>::clone(&clock)) };
        Self::on(backend, config, Some(clock)).await
    }

    async fn on(backend: Backend, config: SandboxConfig, clock: Option<Arc<ManualClock>>) -> Self {
        let chain = Sandbox::start(config).await.unwrap();
        let wallets = chain.wallets();
        secrets::register(KEY);
        [&wallets.agent, &wallets.merchant, &wallets.fee_payer]
            .into_iter()
            .for_each(secrets::register_wallet);
        chain.advance_slots(2);
        let node = chain.add_node().await.unwrap();
        let rpc = RpcClient::new_with_commitment(node.rpc_url(), CommitmentConfig::confirmed());
        let _alone = OPENING.lock().await;
        // Whatever tables there are to be, they are there.
        backend.books().await.database.close().await;
        let before = chain.token_balance(&USDC, &wallets.merchant.pubkey());
        let lamports_before = chain.balance(&wallets.fee_payer.pubkey());
        let (folder, paid) = (tempfile::tempdir().unwrap(), AtomicU64::new(0));
        Self { chain, backend, rpc, _node: node, clock, folder, paid, before, lamports_before }
    }

    /// A service in this process.
    pub async fn app(&self, variables: &[(&str, &str)]) -> TestApp {
        let rpc = RpcClient::new_with_commitment(self.chain.rpc_url(), CommitmentConfig::confirmed());
        let clock = Arc::clone(self.clock.as_ref().expect("the stage is moved by hand"));
        let fixture = Fixture { sandbox: self.chain.clone(), rpc, clock };
        let url = self.backend.database_url();
        let variables: Vec<_> = [("DATABASE_URL", url.as_str())].iter().chain(variables).copied().collect();
        TestApp::settling_on(fixture, Arc::new(tempfile::tempdir().unwrap()), &variables).await
    }

    /// A service that talks to the chain's own node.
    pub async fn service(&self) -> ServiceProcess {
        self.service_with(|_| {}).await
    }

    pub async fn service_at(&self, node: &SandboxNode) -> ServiceProcess {
        self.service_with(|command| {
            command.env("SOLANA_RPC_URL", node.rpc_url()).env("SOLANA_WS_URL", node.ws_url());
        })
        .await
    }

    pub async fn service_with(&self, adapt: impl FnOnce(&mut Command)) -> ServiceProcess {
        let url = self.backend.database_url();
        let _alone = OPENING.lock().await;
        settling_process(&self.chain, self.folder.path(), |command| {
            command.env("DATABASE_URL", url).env("VALID_API_KEYS", KEY);
            adapt(command);
        })
        .await
    }

    /// A payment of an amount that no other one has.
    pub async fn payment(&self) -> Payment {
        self.payments(1).await.remove(0)
    }

    pub async fn payments(&self, count: usize) -> Vec<Payment> {
        let blockhash = self.rpc.get_latest_blockhash().await.unwrap();
        let payments = (0..count).map(|_| {
            let units = self.paid.fetch_add(1, Ordering::Relaxed) + 1;
            let order = Order { units, ..Order::of(&self.chain) };
            let transaction = order.sign(blockhash);
            let signature = signature_of(&self.chain, &transaction);
            Payment { units, signature, request: order.request(&transaction) }
        });
        payments.collect()
    }

    /// What the merchant has got since the beginning.
    pub fn received(&self) -> u64 {
        self.chain.token_balance(&USDC, &self.chain.wallets().merchant.pubkey()) - self.before
    }

    /// What the fee payer has paid since the beginning, in lamports.
    pub fn lamports_paid(&self) -> u64 {
        self.lamports_before - self.chain.balance(&self.chain.wallets().fee_payer.pubkey())
    }

    /// Has slots pass, four times as fast as on mainnet, for as long as something takes.
    pub async fn while_slots_pass<T>(&self, work: impl Future<Output = T>) -> T {
        let passing = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                self.chain.advance_slots(1);
            }
        };
        tokio::select! {
            done = work => done,
            () = passing => unreachable!("slots pass for ever"),
            () = sleep(2 * PATIENCE) => panic!("it takes too long"),
        }
    }

    /// Waits until the payment is in the books.
    pub async fn journalled(&self, payment: &Payment) {
        eventually("it is not journalled", async || self.state(payment).await.is_some()).await;
    }

    /// Waits until the payment is confirmed on the chain.
    pub async fn confirmed(&self, payment: &Payment) {
        eventually("it is not confirmed", async || {
            let statuses = self.rpc.get_signature_statuses(&[payment.signature]).await.unwrap().value;
            statuses[0]
                .as_ref()
                .is_some_and(|status| status.satisfies_commitment(CommitmentConfig::confirmed()))
        })
        .await;
    }

    /// Those that are on the chain, and whether they succeeded there.
    pub async fn landed(&self, payments: &[Payment]) -> Vec<Option<bool>> {
        let mut landed = Vec::new();
        for batch in payments.chunks(256) {
            let signatures: Vec<Signature> = batch.iter().map(|payment| payment.signature).collect();
            let statuses = self.rpc.get_signature_statuses_with_history(&signatures).await.unwrap().value;
            landed.extend(statuses.into_iter().map(|status| Some(status?.err.is_none())));
        }
        landed
    }
}

/// Has a payment settled.
pub async fn settle(url: &str, payment: &Payment) -> Told {
    Box::pin(ask(url, payment)).await
}

/// A connection of its own, so that none outlives the process at its other end.
async fn ask(url: &str, payment: &Payment) -> Told {
    let client =
        reqwest::Client::builder().pool_max_idle_per_host(0).timeout(REQUEST_TIMEOUT).build().unwrap();
    let request = client.post(format!("{url}/settle")).header("x-api-key", KEY).json(&payment.request);
    let Ok(response) = request.send().await else { return Told::Nothing };
    Answer::whole(response).await.map_or(Told::Nothing, |answer| told(&answer, payment))
}

fn told(answer: &Answer, payment: &Payment) -> Told {
    if answer.status == 503 {
        assert_eq!((&answer.body["success"], &answer.body["transaction"]), (&false.into(), &"".into()));
        return Told::Unavailable;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    let transaction = answer.body["transaction"].as_str().unwrap();
    let named = transaction == payment.signature.to_string();
    if answer.body["success"] == true {
        assert!(named, "{answer:?}");
        return Told::Settled;
    }
    let reason = answer.body["errorReason"].as_str().unwrap();
    assert!(named || transaction.is_empty(), "{answer:?}");
    match reason {
        "settlement_pending" => Told::Pending,
        "settle_exact_svm_block_height_exceeded" if named => Told::Expired,
        "invalid_exact_svm_payload_transaction_failed" | "invalid_exact_svm_transaction_failed" if named => {
            Told::Failed
        }
        reason => {
            assert!(transaction.is_empty(), "{answer:?}");
            Told::Refused(reason.to_owned())
        }
    }
}

/// Asks until the outcome is known.
pub async fn outcome(url: &str, payment: &Payment) -> Told {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let told = settle(url, payment).await;
        if !told.is_open() {
            return told;
        }
        assert!(Instant::now() < deadline, "{payment:?} is not known in time: {told:?}");
        sleep(PAUSE).await;
    }
}

/// Waits until something is so.
pub async fn eventually(otherwise: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{otherwise}");
}
