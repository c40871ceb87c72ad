//! The engine on the real stores, and on the sandbox chain over JSON-RPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use pay402::{
    chain::{assets::Network, solana::SolanaRpc},
    clock::{Clock, ManualClock, UnixMs},
    ids::OsEntropy,
    metrics::Metrics,
    money::{Amount, Currency},
    payments::settlement::{
        Answer, Caps, Ending, MessageHash, NewSettlement, Policy, Record, Settled, SettlementState,
        SettlementStore, Settlements, TermsHash,
    },
    sandbox::{Disconnect, TokenProgram, USDC},
    shutdown::Shutdown,
};
use sha2::{Digest, Sha256};
use solana_commitment_config::CommitmentConfig;
use solana_signer::Signer;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    conformance::{Backend, on_both},
    harness::x402::{PATIENCE, while_slots_pass},
    sandbox::setup::{Fixture, start},
};

on_both!(
    an_accepted_send_whose_answer_is_lost_is_a_success_once,
    what_fails_on_chain_is_failed_and_its_fee_spent,
    what_never_lands_is_pending_and_then_expired,
    nothing_expires_before_its_time_whatever_the_heights,
    twins_at_two_instances_get_one_outcome,
    what_a_dead_instance_left_behind_is_finished_by_another,
    an_instance_that_ends_in_order_leaves_its_work_at_once,
    who_waits_when_an_instance_ends_is_told_that_it_is_pending,
    an_engine_that_died_is_seen_and_what_it_journalled_is_pending,
);

struct Stage {
    chain: Fixture,
    backend: Backend,
}

/// One instance of the service, as far as it settles.
struct Instance {
    settlements: Settlements,
    store: Arc<dyn SettlementStore>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

fn policy() -> Policy {
    Policy {
        answer_within: PATIENCE,
        poll_every: Duration::from_millis(20),
        send_every: Duration::from_millis(50),
        finality_every: Duration::from_millis(50),
        take_over_every: Duration::from_millis(50),
        wait_every: Duration::from_millis(20),
        retry_after: Duration::from_millis(50),
        // The clock stands still here.
        least_life: Duration::ZERO,
        least_watch: Duration::ZERO,
        ..Policy::new(Caps::default())
    }
}

impl Stage {
    async fn set(backend: Backend) -> Self {
        let chain = start().await;
        // Blockhashes have to be confirmed before they are used.
        chain.sandbox.advance_slots(2);
        Self { chain, backend }
    }

    async fn instance(&self, policy: Policy) -> Instance {
        let store = self.backend.books().await.settlements;
        let clock = Arc::<ManualClock>::clone(&self.chain.clock);
        Instance::start(policy, store, &self.chain.sandbox.rpc_url(), clock)
    }

    /// A payment that everyone has signed.
    fn payment(&self, units: u64) -> (MessageHash, NewSettlement) {
        let transaction = self.chain.token_payment(&USDC, TokenProgram::Token, units);
        let agent = self.chain.agent().pubkey();
        let new = NewSettlement {
            signature: transaction.signatures[0],
            fee_payer: agent,
            payer: agent,
            pay_to: self.chain.merchant(),
            asset: USDC,
            currency: Some(Currency::Usdc),
            amount: Amount::from_atomic(units).unwrap(),
            network: Network::Sandbox,
            resource: None,
            owner: Some("merchant".to_owned()),
            agent: None,
            key_id: Some("key_1".to_owned()),
            max_fee_lamports: 5_000,
            x402_version: 2,
            transaction: bincode::serialize(&transaction).unwrap(),
        };
        (MessageHash(Sha256::digest(transaction.message.serialize()).into()), new)
    }

    fn received(&self) -> u64 {
        self.chain.sandbox.token_balance(&USDC, &self.chain.merchant())
    }

    async fn while_slots_pass<T>(&self, work: impl Future<Output = T>) -> T {
        while_slots_pass(&self.chain.sandbox, work).await
    }
}

impl Instance {
    fn start(policy: Policy, store: Arc<dyn SettlementStore>, rpc_url: &str, clock: Arc<dyn Clock>) -> Self {
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::default());
        let rpc = SolanaRpc::new(Network::Sandbox, &[rpc_url.to_owned()], &metrics);
        let settlements = Settlements::start(
            policy,
            Arc::clone(&store),
            Arc::new(rpc),
            clock,
            Arc::new(OsEntropy),
            Arc::clone(&metrics),
            shutdown.clone(),
        );
        Self { settlements, store, metrics, shutdown }
    }

    async fn settle(&self, message: MessageHash, new: &NewSettlement) -> Answer {
        let prepare = || async { Ok::<_, ()>(new.clone()) };
        match self.settlements.settle(message, TermsHash([0; 32]), prepare).await {
            Settled::Answered(answer) => answer,
            Settled::Refused(()) => panic!("nobody refuses"),
        }
    }

    /// Asks until it is in the books, and leaves it in flight.
    async fn put_in_flight(&self, message: MessageHash, new: &NewSettlement) {
        let asking = async { while !matches!(self.settle(message, new).await, Answer::Ended(_)) {} };
        tokio::select! {
            () = asking => panic!("it has ended"),
            () = self.journalled(new) => {}
        }
    }

    /// Without anything to sign: there has to be an outcome.
    async fn repeat(&self, message: MessageHash) -> Answer {
        let prepare = || async { Err::<NewSettlement, _>("asked to sign again") };
        match self.settlements.settle(message, TermsHash([0; 32]), prepare).await {
            Settled::Answered(answer) => answer,
            Settled::Refused(refusal) => panic!("{refusal}"),
        }
    }

    async fn journalled(&self, new: &NewSettlement) {
        let deadline = Instant::now() + PATIENCE;
        while self.settlements.find(&new.signature).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "it is not journalled");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ended(&self, new: &NewSettlement) -> Record {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.settlements.find(&new.signature).await.unwrap().unwrap();
            if record.state != SettlementState::Pending {
                return record;
            }
            assert!(Instant::now() < deadline, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn fees(&self, stage: &Stage) -> (u64, u64) {
        let sponsored = self.store.sponsored(stage.chain.clock.now(), Some("key_1")).await.unwrap();
        (sponsored.reserved, sponsored.spent)
    }

    fn counts(&self, outcome: &str) -> bool {
        self.metrics.render().unwrap().contains(&format!("settlement_total{{outcome=\"{outcome}\"}} 1"))
    }
}

fn ending(answer: &Answer) -> &Ending {
    match answer {
        Answer::Ended(record) => match &record.state {
            SettlementState::Ended(ending) => ending,
            SettlementState::Pending => panic!("{record:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn an_accepted_send_whose_answer_is_lost_is_a_success_once(backend: Backend) {
    let stage = Stage::set(backend).await;
    let one = stage.instance(policy()).await;
    let before = stage.received();
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().disconnect("sendTransaction", Disconnect::After, 100);
    let answer = stage.while_slots_pass(one.settle(message, &new)).await;
    assert!(matches!(ending(&answer), Ending::Settled { .. }));
    assert_eq!(stage.received() - before, 70_000);
    assert_eq!(one.repeat(message).await, answer);
    // After a restart, and for other requirements.
    let other = stage.instance(policy()).await;
    assert_eq!(other.repeat(message).await, answer);
    let prepare = || async { Err::<NewSettlement, _>("not asked") };
    let foreign = other.settlements.settle(message, TermsHash([9; 32]), prepare).await;
    assert_eq!(foreign, Settled::Answered(Answer::Duplicate));
    assert_eq!((one.fees(&stage).await, one.counts("settled")), ((0, 5_000), true));
}

async fn what_fails_on_chain_is_failed_and_its_fee_spent(backend: Backend) {
    let stage = Stage::set(backend).await;
    let one = stage.instance(policy()).await;
    let before = stage.received();
    let (message, new) = stage.payment(u64::from(u32::MAX) * 1_000_000);
    let answer = stage.while_slots_pass(one.settle(message, &new)).await;
    let Ending::Failed { slot, reason } = ending(&answer) else { panic!("{answer:?}") };
    assert!(*slot > 0 && reason.contains("custom program error"), "{reason}");
    assert_eq!((stage.received(), one.repeat(message).await), (before, answer));
    assert_eq!((one.fees(&stage).await, one.counts("failed")), ((0, 5_000), true));
}

async fn what_never_lands_is_pending_and_then_expired(backend: Backend) {
    let stage = Stage::set(backend).await;
    let one = stage.instance(Policy { answer_within: Duration::from_secs(1), ..policy() }).await;
    let before = stage.received();
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    one.put_in_flight(message, &new).await;
    assert_eq!(one.repeat(message).await, Answer::Pending { signature: new.signature });
    assert_eq!(one.settlements.find(&new.signature).await.unwrap().unwrap().state, SettlementState::Pending);
    assert_eq!(one.fees(&stage).await, (5_000, 0));
    stage.chain.sandbox.advance_slots(400);
    let record = one.ended(&new).await;
    assert_eq!(record.state, SettlementState::Ended(Ending::Expired));
    let height =
        stage.chain.rpc.get_block_height_with_commitment(CommitmentConfig::finalized()).await.unwrap();
    assert!(height > record.last_valid_block_height);
    assert_eq!((stage.received(), one.repeat(message).await), (before, Answer::Ended(Box::new(record))));
    assert_eq!((one.fees(&stage).await, one.counts("expired")), ((0, 0), true));
}

/// A chain that runs away in a moment is as good as a node that lies about its height.
async fn nothing_expires_before_its_time_whatever_the_heights(backend: Backend) {
    let stage = Stage::set(backend).await;
    let least_life = Policy::new(Caps::default()).least_life;
    let one = stage.instance(Policy { least_life, ..policy() }).await;
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    one.put_in_flight(message, &new).await;
    stage.chain.sandbox.advance_slots(400);
    stage.chain.clock.advance(least_life.saturating_sub(Duration::from_millis(1)));
    // Many looks at what is in flight.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(one.settlements.find(&new.signature).await.unwrap().unwrap().state, SettlementState::Pending);
    stage.chain.clock.advance(Duration::from_millis(1));
    assert_eq!(one.ended(&new).await.state, SettlementState::Ended(Ending::Expired));
}

async fn twins_at_two_instances_get_one_outcome(backend: Backend) {
    let stage = Stage::set(backend).await;
    let instances = [stage.instance(policy()).await, stage.instance(policy()).await];
    let before = stage.received();
    let (message, new) = stage.payment(70_000);
    let signed = AtomicU64::new(0);
    let twins = (0..16).map(|number| {
        let (instance, new, signed) = (&instances[number % 2], &new, &signed);
        async move {
            let prepare = || async {
                signed.fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(new.clone())
            };
            instance.settlements.settle(message, TermsHash([0; 32]), prepare).await
        }
    });
    let answers = stage.while_slots_pass(join_all(twins)).await;
    let Settled::Answered(first) = &answers[0] else { panic!("{answers:?}") };
    assert!(matches!(ending(first), Ending::Settled { .. }));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((stage.received() - before, signed.into_inner()), (70_000, 1));
}

async fn what_a_dead_instance_left_behind_is_finished_by_another(backend: Backend) {
    let stage = Stage::set(backend).await;
    let before = stage.received();
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    let store = stage.backend.books().await.settlements;
    let (url, clock) = (stage.chain.sandbox.rpc_url(), Arc::<ManualClock>::clone(&stage.chain.clock));
    // A runtime of its own, so that everything it does ends with it.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let payment = new.clone();
    let asked = doomed.spawn(async move {
        Instance::start(policy(), store, &url, clock).put_in_flight(message, &payment).await;
    });
    asked.await.unwrap();
    doomed.shutdown_background();

    // By a node of its own: the last that the dead instance sent may still be on its way to the other.
    let node = stage.chain.sandbox.add_node().await.unwrap();
    let store = stage.backend.books().await.settlements;
    let clock = Arc::<ManualClock>::clone(&stage.chain.clock);
    let heir = Instance::start(policy(), store, &node.rpc_url(), clock);
    // It is left alone until its lease has run out.
    sleep(Duration::from_millis(300)).await;
    stage.chain.sandbox.advance_slots(1);
    assert_eq!(stage.received(), before);
    stage.chain.clock.advance(policy().lease + Duration::from_millis(1));
    let record = stage.while_slots_pass(heir.ended(&new)).await;
    assert!(matches!(record.state, SettlementState::Ended(Ending::Settled { .. })));
    assert_eq!((stage.received() - before, heir.fees(&stage).await), (70_000, (0, 5_000)));
}

async fn an_instance_that_ends_in_order_leaves_its_work_at_once(backend: Backend) {
    let stage = Stage::set(backend).await;
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    let one = stage.instance(Policy { hand_over_after: Duration::from_millis(100), ..policy() }).await;
    one.put_in_flight(message, &new).await;
    one.shutdown.begin();
    one.shutdown.drained().await;
    assert_eq!(one.repeat(message).await, Answer::Pending { signature: new.signature });
    let (other, _) = stage.payment(60_000);
    assert_eq!(one.repeat(other).await, Answer::Busy);

    stage.chain.sandbox.faults().clear();
    let heir = stage.instance(policy()).await;
    // Not for as long as a lease.
    stage.chain.clock.advance(Duration::from_millis(1));
    let record = stage.while_slots_pass(heir.ended(&new)).await;
    assert!(matches!(record.state, SettlementState::Ended(Ending::Settled { .. })));
}

async fn who_waits_when_an_instance_ends_is_told_that_it_is_pending(backend: Backend) {
    let stage = Stage::set(backend).await;
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    let one = stage.instance(Policy { hand_over_after: Duration::from_millis(100), ..policy() }).await;
    let ending = async {
        one.journalled(&new).await;
        one.shutdown.begin();
    };
    let (answer, ()) = tokio::join!(one.settle(message, &new), ending);
    assert_eq!(answer, Answer::Pending { signature: new.signature });
    one.shutdown.drained().await;
    assert!(one.settlements.is_running(), "it is told from one that died");
}

/// A clock that kills who looks at it, once it is told to.
#[derive(Debug)]
struct DeadlyClock {
    clock: Arc<ManualClock>,
    kills: AtomicBool,
}

impl Clock for DeadlyClock {
    fn now(&self) -> UnixMs {
        assert!(!self.kills.load(Ordering::Relaxed), "the clock kills, as it was told to");
        self.clock.now()
    }
}

async fn an_engine_that_died_is_seen_and_what_it_journalled_is_pending(backend: Backend) {
    let stage = Stage::set(backend).await;
    let (message, new) = stage.payment(70_000);
    stage.chain.sandbox.faults().drop_sends(100_000);
    let store = stage.backend.books().await.settlements;
    let clock =
        Arc::new(DeadlyClock { clock: Arc::clone(&stage.chain.clock), kills: AtomicBool::new(false) });
    let deadly = Arc::<DeadlyClock>::clone(&clock);
    let one = Instance::start(policy(), store, &stage.chain.sandbox.rpc_url(), deadly);
    let (tell, heard) = oneshot::channel();
    let dying = async {
        assert_eq!(heard.await, Ok(new.signature));
        assert!(one.settlements.is_running());
        clock.kills.store(true, Ordering::Relaxed);
    };
    let prepare = || async { Ok::<_, ()>(new.clone()) };
    let mut tell = Some(tell);
    let watch = |signature| tell.take().unwrap().send(signature).unwrap();
    let asked = one.settlements.settle_watching(message, TermsHash([0; 32]), prepare, watch);
    let (answer, ()) = tokio::join!(asked, dying);
    assert_eq!(answer, Settled::Answered(Answer::Pending { signature: new.signature }));
    assert!(!one.settlements.is_running());
    assert_eq!(one.repeat(message).await, Answer::Unavailable);
}
