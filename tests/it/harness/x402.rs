//! A market on a sandbox chain: buyers who sign payments as x402 clients do, and services that settle them.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use pay402::{
    chain::assets::Network,
    clock::SystemClock,
    config::Environment,
    payments::x402::Version,
    sandbox::{Sandbox, SandboxConfig, TokenProgram, USDC},
};
use serde_json::{Value, json};
use solana_hash::Hash;
use solana_instruction::{AccountMeta, Instruction};
use solana_keypair::Keypair;
use solana_message::{VersionedMessage, v0};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Answer, TestApp, process::ServiceProcess, secrets};
use crate::{
    sandbox::setup::{Fixture, start, token_account},
    x402::kit::{limit, memo, price, transfer_data},
};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Ten times as fast as on mainnet: a payment is good for six seconds, and a busy machine may hold one up for two.
const SLOT_TIME: Duration = Duration::from_millis(40);

/// What a buyer pays for, and how. Two orders are two payments, though they be for the same.
#[derive(Debug)]
pub struct Order {
    pub version: Version,
    pub payer: Keypair,
    pub fee_payer: Pubkey,
    pub pay_to: Pubkey,
    pub mint: Pubkey,
    pub program: TokenProgram,
    pub units: u64,
    pub resource: String,
    /// As clients make them: no two are the same.
    pub memo: String,
    pub compute_unit_price: u64,
}

impl Order {
    /// The sandbox's agent pays its merchant 0.05 USDC by version 2.
    pub fn of(sandbox: &Sandbox) -> Self {
        let wallets = sandbox.wallets();
        Self {
            version: Version::V2,
            payer: wallets.agent.insecure_clone(),
            fee_payer: wallets.fee_payer.pubkey(),
            pay_to: wallets.merchant.pubkey(),
            mint: USDC,
            program: TokenProgram::Token,
            units: 50_000,
            resource: "https://shop.example/cats".to_owned(),
            memo: Keypair::new().pubkey().to_string(),
            compute_unit_price: 1,
        }
    }

    fn network(&self) -> &'static str {
        self.version.network_name(Network::Sandbox)
    }

    pub fn transfer(&self) -> Instruction {
        let holder = |owner| token_account(&self.mint, owner, self.program);
        let accounts = vec![
            AccountMeta::new(holder(&self.payer.pubkey()), false),
            AccountMeta::new_readonly(self.mint, false),
            AccountMeta::new(holder(&self.pay_to), false),
            AccountMeta::new_readonly(self.payer.pubkey(), true),
        ];
        Instruction { program_id: self.program.id(), accounts, data: transfer_data(self.units, 6) }
    }

    /// What stock clients build.
    pub fn stock(&self) -> Vec<Instruction> {
        vec![limit(20_000), price(self.compute_unit_price), self.transfer(), memo(self.memo.as_bytes())]
    }

    /// Signed by the buyer alone, as stock clients build it.
    pub fn sign(&self, blockhash: Hash) -> VersionedTransaction {
        self.sign_instructions(&self.stock(), blockhash)
    }

    /// Of whatever instructions.
    pub fn sign_instructions(&self, instructions: &[Instruction], blockhash: Hash) -> VersionedTransaction {
        let message = v0::Message::try_compile(&self.fee_payer, instructions, &[], blockhash).unwrap();
        self.sign_message(VersionedMessage::V0(message))
    }

    /// Signed by the buyer, where it is asked to.
    pub fn sign_message(&self, message: VersionedMessage) -> VersionedTransaction {
        let required = usize::from(message.header().num_required_signatures);
        let keys = message.static_account_keys().iter().take(required);
        let signatures = keys.map(|key| {
            let signs = *key == self.payer.pubkey();
            if signs { self.payer.sign_message(&message.serialize()) } else { Signature::default() }
        });
        VersionedTransaction { signatures: signatures.collect(), message }
    }

    pub fn requirements(&self) -> Value {
        let mut requirements = json!({
            "scheme": "exact", "network": self.network(), "asset": self.mint.to_string(),
            "payTo": self.pay_to.to_string(), "maxTimeoutSeconds": 60,
            "extra": {"feePayer": self.fee_payer.to_string()},
        });
        match self.version {
            Version::V1 => {
                requirements["maxAmountRequired"] = self.units.to_string().into();
                requirements["resource"] = self.resource.as_str().into();
                requirements["description"] = "cats".into();
            }
            Version::V2 => requirements["amount"] = self.units.to_string().into(),
        }
        requirements
    }

    pub fn payload(&self, transaction: &VersionedTransaction) -> Value {
        let payload =
            json!({"transaction": BASE64_STANDARD.encode(bincode::serialize(transaction).unwrap())});
        match self.version {
            Version::V1 => {
                json!({"x402Version": 1, "scheme": "exact", "network": self.network(), "payload": payload})
            }
            Version::V2 => json!({
                "x402Version": 2, "resource": {"url": self.resource}, "accepted": self.requirements(),
                "payload": payload,
            }),
        }
    }

    /// The body of a verify or settle request.
    pub fn request(&self, transaction: &VersionedTransaction) -> Value {
        json!({
            "x402Version": self.version.number(),
            "paymentPayload": self.payload(transaction),
            "paymentRequirements": self.requirements(),
        })
    }

    /// As early clients send it.
    pub fn header_request(&self, transaction: &VersionedTransaction) -> Value {
        json!({
            "x402Version": self.version.number(),
            "paymentHeader": BASE64_STANDARD.encode(self.payload(transaction).to_string()),
            "paymentRequirements": self.requirements(),
        })
    }
}

/// A payment of an order, with a blockhash that is confirmed when this returns.
pub fn signed(sandbox: &Sandbox, order: &Order) -> VersionedTransaction {
    let transaction = order.sign(sandbox.latest_blockhash());
    sandbox.advance_slots(2);
    transaction
}

/// A payment of an order, ready to be sent to `/verify` or `/settle`.
pub fn paid(sandbox: &Sandbox, order: &Order) -> Value {
    order.request(&signed(sandbox, order))
}

/// What a payment is known by on chain once the sandbox's fee payer has signed it.
pub fn signature_of(sandbox: &Sandbox, transaction: &VersionedTransaction) -> Signature {
    sandbox.wallets().fee_payer.sign_message(&transaction.message.serialize())
}

/// Fails unless the answer says that this was settled; the transaction that did it.
#[track_caller]
pub fn settled(answer: &Answer, order: &Order) -> Signature {
    let transaction = answer.body["transaction"].as_str().unwrap_or_default();
    let expected = json!({
        "success": true, "payer": order.payer.pubkey().to_string(), "transaction": transaction,
        "network": order.network(), "amount": order.units.to_string(),
    });
    assert_eq!((answer.status, &answer.body), (200, &expected));
    transaction.parse().unwrap()
}

/// A chain whose slots pass by themselves, by the system's clock.
pub async fn running_chain() -> Sandbox {
    let config = SandboxConfig { slot_time: Some(SLOT_TIME), ..SandboxConfig::new(Arc::new(SystemClock)) };
    let chain = Sandbox::start(config).await.unwrap();
    let wallets = chain.wallets();
    [&wallets.agent, &wallets.merchant, &wallets.fee_payer].into_iter().for_each(secrets::register_wallet);
    chain
}

/// Asks a service that is a process of its own.
pub async fn post(url: &str, path: &str, body: &Value) -> Answer {
    let sent = reqwest::Client::new().post(format!("{url}{path}")).json(body).send().await;
    Answer::of(sent.unwrap()).await
}

/// Has slots pass for as long as something takes.
pub async fn while_slots_pass<T>(sandbox: &Sandbox, work: impl Future<Output = T>) -> T {
    let passing = async {
        loop {
            sleep(SLOT_TIME).await;
            sandbox.advance_slots(1);
        }
    };
    tokio::select! {
        done = work => done,
        () = passing => unreachable!("slots pass for ever"),
        () = sleep(PATIENCE) => panic!("it takes too long"),
    }
}

/// Sets what a service needs to settle on this chain.
pub fn settling(sandbox: &Sandbox) -> [(&'static str, String); 3] {
    [
        ("SOLANA_RPC_URL", sandbox.rpc_url()),
        ("SOLANA_WS_URL", sandbox.ws_url()),
        ("FEE_PAYER_KEYPAIR", sandbox.wallets().fee_payer.to_base58_string()),
    ]
}

/// `pay402 serve`, settling on this chain.
pub async fn settling_process(
    sandbox: &Sandbox,
    folder: &Path,
    adapt: impl FnOnce(&mut Command),
) -> ServiceProcess {
    ServiceProcess::start(folder, |command| {
        command.env("SOLANA_NETWORK", "sandbox").envs(settling(sandbox));
        adapt(command);
    })
    .await
}

impl TestApp {
    /// One that settles. Slots do not pass by themselves.
    pub async fn settling() -> Self {
        Self::settling_with(&[]).await
    }

    pub async fn settling_with(variables: &[(&str, &str)]) -> Self {
        Self::settling_on(start().await, Arc::new(tempfile::tempdir().unwrap()), variables).await
    }

    /// On a chain and a database folder that are there already.
    pub async fn settling_on(chain: Fixture, folder: Arc<TempDir>, variables: &[(&str, &str)]) -> Self {
        Self::on(chain, folder, |environment, chain| {
            let set = |environment: Environment, (name, value): (&str, String)| environment.with(name, value);
            let own = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
            settling(&chain.sandbox).into_iter().chain(own).fold(environment, set)
        })
        .await
    }

    pub fn order(&self) -> Order {
        Order::of(&self.chain.sandbox)
    }

    /// What an order's payment is sent as.
    pub fn paid(&self, order: &Order) -> Value {
        paid(&self.chain.sandbox, order)
    }

    pub async fn verify_x402(&self, request: &Value) -> Answer {
        self.post("/verify", None, request).await
    }

    /// While slots pass.
    pub async fn settle(&self, key: Option<&str>, request: &Value) -> Answer {
        while_slots_pass(&self.chain.sandbox, self.post("/settle", key, request)).await
    }

    /// What the merchant holds, in atomic units of USDC.
    pub fn received(&self) -> u64 {
        self.chain.sandbox.token_balance(&USDC, &self.merchant())
    }
}
