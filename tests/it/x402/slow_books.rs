//! Settling with a database that does not answer, or late. Clients wait for 30 seconds: whatever is slow, they hear by then
//! what is known.
//!
//! Half a minute passes at once here, as the runtime's time is paused while everybody waits. No real database and no real
//! node would wait with it: so the books are the model that the databases are compared with, some of whose calls take long,
//! and the chain says little.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use pay402::{
    agents::{
        Agent, AgentPage, AgentPatch, AgentStore, Created, Failure, Held, Hold, NotAdmitted, Spending,
        Updated,
    },
    api_keys::{Caller, Scopes},
    chain::{
        ChainError,
        accounts::{Account, AccountReader},
        assets::Network,
        funds::FeePayerFunds,
        hints::NoHints,
        settlement::{Finality, Findings, Search, SettlementChain},
        simulation::{Simulation, Simulator},
        solana::{
            rules::{RulePolicy, message_sha256},
            signer::FeePayers,
        },
    },
    clock::{Clock, ManualClock, UnixMs},
    ids::{AgentId, EventId, OsEntropy},
    metrics::Metrics,
    payments::{
        settlement::{
            Caps, Claim, Claimed, Ending, Finished, InFlight, Journal, Journalled, MessageHash, Policy,
            Record, SettlementStore, Settlements, Sponsored, TermsHash,
        },
        x402::{Agents, Facilitator, SettleReply, Signing, Undecided, X402Request},
    },
    shutdown::Shutdown,
    store_error::StoreError,
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use tokio::time::{Instant, sleep};

use super::kit::Case;
use crate::{
    conformance::{agents::registered, settlements::journal},
    settlement::model::Model,
};

const NOW: UnixMs = UnixMs(1_790_000_000_000);
/// Within what everybody is answered, as the documentation says, and what a timer may be late by.
const ANSWERED_WITHIN: Duration = Duration::from_millis(28_000 + 50);
/// As good as for ever.
const STUCK: Duration = Duration::from_hours(1);

/// The model, of which the calls that are named take so long.
#[derive(Debug)]
struct Books {
    model: Mutex<Model>,
    slow: Vec<(&'static str, Duration)>,
    /// The journal finds that the agent may not pay.
    not_admitted: bool,
}

impl Books {
    async fn call<T>(&self, name: &str, decide: impl FnOnce(&mut Model) -> T) -> Result<T, StoreError> {
        for (_, how_long) in self.slow.iter().filter(|(slow, _)| *slow == name) {
            sleep(*how_long).await;
        }
        Ok(decide(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[async_trait]
impl SettlementStore for Books {
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.call("claim", |model| model.claim(claim)).await
    }

    async fn look_up(&self, message: &MessageHash, terms: &TermsHash) -> Result<Claimed, StoreError> {
        self.call("look_up", |model| match model.rows.get(message) {
            Some(row) if row.terms != *terms => Claimed::OtherTerms,
            Some(row) => {
                row.record(*message).map_or(Claimed::Verifying, |record| Claimed::Booked(Box::new(record)))
            }
            None => Claimed::Verifying,
        })
        .await
    }

    async fn abandon(&self, claim: &Claim) -> Result<bool, StoreError> {
        self.call("abandon", |model| model.abandon(claim)).await
    }

    async fn journal(&self, journal: &Journal) -> Result<Journalled, StoreError> {
        self.call("journal", |model| {
            if self.not_admitted {
                return Journalled::NotAdmitted(NotAdmitted::Service);
            }
            model.journal(journal)
        })
        .await
    }

    async fn finish(
        &self,
        message: &MessageHash,
        ending: &Ending,
        _: UnixMs,
    ) -> Result<Option<Finished>, StoreError> {
        self.call("finish", |model| model.finish(message, ending)).await
    }

    async fn renew(
        &self,
        holder: &str,
        messages: &[MessageHash],
        until: UnixMs,
    ) -> Result<Vec<MessageHash>, StoreError> {
        self.call("renew", |model| model.renew(holder, messages, until)).await
    }

    async fn take_over(
        &self,
        holder: &str,
        now: UnixMs,
        until: UnixMs,
        limit: u32,
    ) -> Result<Vec<InFlight>, StoreError> {
        self.call("take_over", |model| model.take_over(holder, now, until, limit)).await
    }

    async fn forget_claims(&self, now: UnixMs, _: u32) -> Result<u64, StoreError> {
        self.call("forget_claims", |model| model.forget_claims(now)).await
    }

    async fn adopt(&self, _: &MessageHash, _: &TermsHash, _: &str) -> Result<bool, StoreError> {
        self.call("adopt", |_| true).await
    }

    async fn find(&self, signature: &Signature) -> Result<Option<Record>, StoreError> {
        self.call("find", |model| model.find(signature)).await
    }

    async fn sponsored(&self, _: UnixMs, _: Option<&str>) -> Result<Sponsored, StoreError> {
        unreachable!("nobody asks for it")
    }
}

/// Every buyer is an agent, without limits.
#[async_trait]
impl AgentStore for Books {
    async fn find(&self, _: &str, _: &str) -> Result<Option<Agent>, StoreError> {
        self.call("find agent", |_| Some(registered(1))).await
    }

    async fn note_failure(&self, _: &Failure) -> Result<bool, StoreError> {
        self.call("note_failure", |_| true).await
    }

    async fn spending(&self, _: &AgentId, _: UnixMs) -> Result<Spending, StoreError> {
        self.call("spending", |_| Spending::default()).await
    }

    async fn create(&self, _: &Agent, _: &EventId) -> Result<Created, StoreError> {
        unreachable!("nobody asks for it")
    }

    async fn list(&self, _: &str, _: u32, _: u32) -> Result<AgentPage, StoreError> {
        unreachable!("nobody asks for it")
    }

    async fn update(
        &self,
        _: &str,
        _: &str,
        _: &AgentPatch,
        _: UnixMs,
        _: &EventId,
    ) -> Result<Updated, StoreError> {
        unreachable!("nobody asks for it")
    }

    async fn delete(&self, _: &str, _: &str, _: UnixMs, _: &EventId) -> Result<Option<Agent>, StoreError> {
        unreachable!("nobody asks for it")
    }

    async fn hold(&self, _: &Hold, _: UnixMs) -> Result<Held, StoreError> {
        unreachable!("nobody asks for it")
    }

    async fn forget(&self, _: UnixMs, _: UnixMs, _: u32) -> Result<u64, StoreError> {
        unreachable!("nobody asks for it")
    }
}

/// Takes everything, and nothing lands. The buyer is rich.
#[derive(Debug)]
struct Chain;

#[async_trait]
impl SettlementChain for Chain {
    async fn last_valid_block_height(&self) -> Result<u64, ChainError> {
        Ok(150)
    }

    async fn finality(&self) -> Result<Finality, ChainError> {
        Ok(Finality { slot: 1, block_height: 1 })
    }

    async fn send(&self, _: &[u8]) -> Result<(), ChainError> {
        Ok(())
    }

    async fn statuses(&self, signatures: &[Signature], _: Search) -> Result<Findings, ChainError> {
        Ok(Findings { statuses: vec![None; signatures.len()], since: None })
    }
}

#[async_trait]
impl Simulator for Chain {
    async fn simulate(
        &self,
        _: &VersionedTransaction,
        accounts: &[Pubkey],
    ) -> Result<Simulation, ChainError> {
        let (mut mint, mut holder) = (vec![0; 82], vec![0; 165]);
        // Its decimals, and that it is one.
        mint[44..46].copy_from_slice(&[6, 1]);
        holder[..32].copy_from_slice(accounts[0].as_ref());
        holder[64..72].fill(0xff);
        holder[108] = 1;
        let account = |data| Some(Account { owner: spl_token_interface::ID, lamports: 1, data });
        let accounts = vec![account(mint), account(holder.clone()), account(holder)];
        Ok(Simulation { slot: 1, failure: None, units_consumed: None, accounts })
    }
}

#[async_trait]
impl AccountReader for Chain {
    async fn accounts(&self, _: &[Pubkey]) -> Result<Vec<Option<Account>>, ChainError> {
        unreachable!("nobody asks for it")
    }

    async fn balance(&self, _: &Pubkey) -> Result<u64, ChainError> {
        unreachable!("nobody asks for it")
    }
}

/// What there is before a payment is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// Another instance has it in flight.
    InFlight,
    /// As well, and the rules have been tightened since.
    RefusedSince,
}

struct Outcome {
    told: Result<Value, Undecided>,
    after: Duration,
}

/// Has a payment settled, with a key, while these calls are slow.
async fn settle(before: Before, slow: &[(&'static str, Duration)], not_admitted: bool) -> Outcome {
    let tight = RulePolicy { max_compute_units: 1, ..RulePolicy::default() };
    let policy = if before == Before::RefusedSince { tight } else { RulePolicy::default() };
    let case = Case { policy, ..Case::new() };
    let request = request(&case);
    let message = MessageHash(message_sha256(&request.payload.transaction).unwrap());
    let mut model = Model::default();
    if before != Before::Nothing {
        let claim = Claim {
            message,
            terms: TermsHash(request.fingerprint()),
            holder: "another instance".to_owned(),
            attempt: "its attempt".to_owned(),
            at: NOW,
            lease_until: NOW + STUCK,
        };
        assert_eq!(model.claim(&claim), Claimed::Fresh);
        let journal = Journal { lease_until: NOW + STUCK, ..journal(claim, 1) };
        assert_eq!(model.journal(&journal), Journalled::Done);
    }
    let facilitator =
        facilitator(&case, Books { model: Mutex::new(model), slow: slow.to_vec(), not_admitted });
    let caller = Caller {
        key_id: "key_1".to_owned(),
        key_prefix: "sk_test_merchant".to_owned(),
        is_configured: true,
        user: "merchant".to_owned(),
        scopes: Scopes::EVERYTHING,
        recipients: Vec::new(),
        expires_at: None,
    };
    let started = Instant::now();
    let told = facilitator.settle(&request, Some(&caller)).await;
    let told = told.map(|reply: SettleReply| serde_json::to_value(reply).unwrap());
    Outcome { told, after: started.elapsed() }
}

fn facilitator(case: &Case, books: Books) -> Facilitator {
    let (books, metrics) = (Arc::new(books), Arc::new(Metrics::new()));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    let settlements = Settlements::start(
        Policy::new(Caps::default()),
        Arc::<Books>::clone(&books),
        Arc::new(Chain),
        Arc::clone(&clock),
        Arc::new(OsEntropy),
        Arc::clone(&metrics),
        Shutdown::default(),
    );
    let fee_payers = FeePayers::new(vec![case.fee_payer.insecure_clone()]).unwrap();
    let addresses = fee_payers.addresses().collect();
    let funds = FeePayerFunds::new(addresses, 0, Arc::new(Chain), Arc::clone(&clock), Arc::clone(&metrics));
    let signing = Signing { fee_payers, funds: Arc::new(funds), hints: Arc::new(NoHints) };
    let agents = Agents { store: books, clock, entropy: Arc::new(OsEntropy) };
    let (network, rules) = (Network::Sandbox, case.rules());
    Facilitator::new(network, rules, Some(signing), Arc::new(Chain), settlements, agents, metrics)
}

fn request(case: &Case) -> X402Request {
    let kind = json!({"scheme": "exact", "network": case.version.network_name(Network::Sandbox)});
    let mut requirements = json!({
        "amount": case.amount.to_string(),
        "asset": case.mint.to_string(),
        "payTo": case.pay_to.to_string(),
        "extra": {"feePayer": case.fee_payer.pubkey().to_string()},
    });
    requirements.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    let payload = json!({"transaction": case.stock_text()});
    let body = json!({
        "paymentPayload": {"x402Version": 2, "accepted": kind, "payload": payload},
        "paymentRequirements": requirements,
    });
    X402Request::parse(body.to_string().as_bytes()).unwrap()
}

impl Outcome {
    #[track_caller]
    fn assert_failed(&self, reason: &str, after: Duration) {
        assert!(self.after <= ANSWERED_WITHIN, "after {:?}", self.after);
        assert!(self.after >= after, "it did not wait: after {:?}", self.after);
        let told = self.told.as_ref().unwrap();
        assert_eq!((&told["success"], &told["errorReason"]), (&json!(false), &json!(reason)), "{told}");
    }

    #[track_caller]
    fn assert_unavailable(&self, after: Duration) {
        assert!(self.after <= ANSWERED_WITHIN, "after {:?}", self.after);
        assert!(self.after >= after, "it did not wait: after {:?}", self.after);
        assert!(matches!(self.told, Err(Undecided::Unavailable)), "{:?}", self.told);
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nothing is slow but the chain: that is what the engine's 25 seconds are for.
#[tokio::test(start_paused = true)]
async fn a_payment_that_does_not_land_is_pending_in_time() {
    for before in [Before::Nothing, Before::InFlight, Before::RefusedSince] {
        settle(before, &[], false).await.assert_failed("settlement_pending", secs(25));
    }
}

/// Whichever call it is that never ends.
#[tokio::test(start_paused = true)]
async fn books_that_do_not_answer_hold_up_no_answer() {
    // The engine waits for no call of its own for longer than 20 seconds.
    settle(Before::Nothing, &[("claim", STUCK)], false).await.assert_unavailable(secs(20));
    settle(Before::InFlight, &[("claim", STUCK)], false).await.assert_unavailable(secs(20));
    settle(Before::Nothing, &[("find agent", STUCK)], false).await.assert_unavailable(secs(25));
    // With the journal's it may be in the books.
    for call in ["journal", "renew", "take_over", "forget_claims", "finish"] {
        let outcome = settle(Before::Nothing, &[(call, STUCK)], false).await;
        outcome.assert_failed("settlement_pending", secs(25));
    }
    settle(Before::InFlight, &[("adopt", STUCK)], false).await.assert_failed("settlement_pending", secs(28));
    settle(Before::RefusedSince, &[("look_up", STUCK)], false).await.assert_unavailable(secs(3));
    settle(Before::RefusedSince, &[("adopt", STUCK)], false)
        .await
        .assert_failed("settlement_pending", secs(28));
}

/// Nor does the sum of what is late by less than is waited for.
#[tokio::test(start_paused = true)]
async fn what_is_slow_before_the_engine_is_asked_leaves_less_for_what_comes_after() {
    let slow = [("look_up", Duration::from_millis(2_900)), ("adopt", STUCK)];
    settle(Before::RefusedSince, &slow, false).await.assert_failed("settlement_pending", secs(28));
    // Refused with the engine's last moment, and then the agent's failure is to be noted.
    for call in ["find agent", "note_failure"] {
        let slow =
            [("claim", secs(11)), ("journal", secs(13)), (call, Duration::from_millis(900)), (call, STUCK)];
        let slow = if call == "find agent" { &slow[..3] } else { &slow[..] };
        settle(Before::Nothing, slow, true).await.assert_failed("service_not_allowed", secs(24));
    }
}
