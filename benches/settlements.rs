//! How many settlements a second the books take, each claimed, journalled and finished in three database transactions:
//!
//! ```text
//! cargo bench --bench settlements
//! ```
//!
//! On PostgreSQL with fsync. All settlements of a UTC day count their fees in one row, so that row could be what they wait
//! for; the second line of each pair has a day for each settlement, and so no such row. Compare the two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use pay402::{
    chain::assets::Network,
    clock::UnixMs,
    ids::PaymentId,
    metrics::Metrics,
    money::{Amount, Currency},
    payments::settlement::{
        Caps, Claim, Claimed, Ending, Journal, Journalled, MessageHash, NewSettlement, SettlementStore,
        TermsHash,
    },
    store::{Books, postgres::PostgresStore},
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/logs.rs"]
mod logs;
#[path = "../tests/it/harness/port.rs"]
mod port;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/secrets.rs"]
mod secrets;

use postgres::PostgresServer;

/// How long each line is measured.
const MEASURED: Duration = Duration::from_secs(5);
const NOON: UnixMs = UnixMs(1_790_078_400_000);
const DAY: Duration = Duration::from_hours(24);
/// Far more than all of them cost.
const CAPS: Caps = Caps { per_key_lamports: None, total_lamports: Some(u64::MAX / 4) };

fn journal(number: u64, at: UnixMs) -> Journal {
    let mut message = [1; 32];
    message[..8].copy_from_slice(&number.to_be_bytes());
    let mut signature = [1; 64];
    signature[..8].copy_from_slice(&number.to_be_bytes());
    let lease_until = at + Duration::from_secs(10);
    Journal {
        claim: Claim {
            message: MessageHash(message),
            terms: TermsHash([0; 32]),
            holder: "instance".to_owned(),
            attempt: format!("instance/{number}"),
            at,
            lease_until,
        },
        payment: PaymentId::from_stored(format!("pay_{number:026}")),
        settlement: NewSettlement {
            transaction: vec![7; 400],
            signature: Signature::from(signature),
            fee_payer: Pubkey::new_from_array([9; 32]),
            payer: Pubkey::new_from_array([1; 32]),
            pay_to: Pubkey::new_from_array([2; 32]),
            asset: Pubkey::new_from_array([3; 32]),
            currency: Some(Currency::Usdc),
            amount: Amount::from_atomic(50_000).expect("it is small"),
            network: Network::Sandbox,
            resource: Some("https://shop.example/report".to_owned()),
            owner: Some("merchant".to_owned()),
            // Keys have rows of their own, and each settlement here another key.
            agent: None,
            key_id: Some(format!("key_{number}")),
            max_fee_lamports: 10_001,
            x402_version: 2,
        },
        last_valid_block_height: 150,
        at,
        lease_until,
        caps: CAPS,
    }
}

async fn settle(store: &dyn SettlementStore, number: u64, at: UnixMs) {
    let entry = journal(number, at);
    assert_eq!(store.claim(&entry.claim).await.expect("the database answers"), Claimed::Fresh);
    assert_eq!(store.journal(&entry).await.expect("the database answers"), Journalled::Done);
    let finished = store.finish(&entry.claim.message, &Ending::Settled { slot: 7 }, at).await;
    assert!(finished.expect("the database answers").expect("it is journalled").first);
}

/// Settlements a second, by so many callers.
async fn rate(store: &Arc<dyn SettlementStore>, numbers: &AtomicU64, callers: usize, apart: bool) -> f64 {
    let (started, before) = (Instant::now(), numbers.load(Ordering::Relaxed));
    join_all((0..callers).map(async |_| {
        while started.elapsed() < MEASURED {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let day = u32::try_from(number).expect("not so many").saturating_mul(u32::from(apart));
            settle(store.as_ref(), number, NOON + DAY * day).await;
        }
    }))
    .await;
    let done = numbers.load(Ordering::Relaxed) - before;
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let done = done as f64;
    done / started.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let server = PostgresServer::start().await;
    let store = PostgresStore::open(&server.url(), Arc::new(Metrics::new())).await.expect("it runs");
    let books = Books::new(store);
    books.database.migrate().await.expect("it is empty");
    let numbers = AtomicU64::new(0);
    for callers in [1, 4, 16, 64] {
        for (apart, what) in [(false, "one row for all fees"), (true, "a row for each")] {
            let rate = rate(&books.settlements, &numbers, callers, apart).await;
            println!("{callers:>3} at a time, {what:<21} {rate:>7.0} settlements a second");
        }
    }
}
