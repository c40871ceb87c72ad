//! Asking what became of transactions: in the recent past, and in all history.
//!
//! An endpoint that has pruned a transaction answers as one that has never heard of it. So whoever knows nothing of one is
//! asked how far back its history reaches as well.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_rpc_client_api::{request::RpcRequest, response::Response};
use solana_signature::Signature;
use solana_transaction_status_client_types::{TransactionConfirmationStatus, TransactionStatus};
use tokio::time::{Instant, sleep, timeout};

use super::{
    SolanaRpc,
    endpoint::{Answer, Call, CallError, Endpoint, History},
    evidence::{
        CLOCKS_APART, Doubt, Evidence, Weighed, are_agreed, earliest_slot, findings, needs_others, weigh,
    },
    pool::voice_of,
};
use crate::{
    chain::{
        ChainError,
        settlement::{Commitment, Findings, SignatureStatus},
    },
    clock::UnixMs,
};

/// How long a look at the recent past may take on all endpoints together.
const RECENT_TIMEOUT: Duration = Duration::from_secs(8);
/// How long each endpoint may take to say what it knows besides.
const SECOND_OPINION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long each endpoint may take to search its history: it may lie on slow storage.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long each endpoint may take to tell where its history begins, and when that was.
const BEGINNING_TIMEOUT: Duration = Duration::from_secs(3);
/// By this slot every chain has had a block after its first one.
const BEGUN_BY: u64 = 1_000;
/// How often it is looked whether what the endpoints have said of their histories is enough. They are asked as often while
/// it is not, and else after so many looks.
const WATCH_EVERY: Duration = Duration::from_mins(1);
const ASK_AFTER: u32 = 10;
/// How often the log warns of endpoints that contradict each other, at most: what they do so about is looked at twice a
/// second.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// When the log last warned of a contradiction.
#[derive(Debug, Default)]
pub(super) struct Warned(Mutex<Option<Instant>>);

impl Warned {
    /// Whether it is time to warn, which is then done.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last + WARN_EVERY <= now);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

fn statuses_params(signatures: &[Signature], history: bool) -> Value {
    let texts: Vec<String> = signatures.iter().map(Signature::to_string).collect();
    json!([texts, {"searchTransactionHistory": history}])
}

fn read_statuses(
    asked: usize,
    answer: Response<Vec<Option<TransactionStatus>>>,
) -> Result<Answer<Evidence>, &'static str> {
    if answer.value.len() != asked {
        return Err("not as many statuses as were asked for");
    }
    let slot = answer.context.slot;
    let statuses = answer.value.into_iter().map(|status| status.map(read_status)).collect();
    Ok(Answer::at(slot, Evidence::recent(slot, statuses)))
}

fn read_status(status: TransactionStatus) -> SignatureStatus {
    let commitment = match status.confirmation_status() {
        TransactionConfirmationStatus::Processed => Commitment::Processed,
        TransactionConfirmationStatus::Confirmed => Commitment::Confirmed,
        TransactionConfirmationStatus::Finalized => Commitment::Finalized,
    };
    // Old nodes say it in `status` alone.
    let failure = status.err.or(status.status.err()).map(|error| error.to_string());
    SignatureStatus { slot: status.slot, commitment, failure }
}

/// Every fourth look at the recent past, on the average, whoever else answers is asked about what the first endpoint does
/// not know: it may lag, or have lost it. Not each fourth one: of batches that are asked about in turn, some would be
/// passed over for ever. The multiples of the golden ratio are spread evenly, whichever steps they are taken in.
const fn is_thorough(look: u64) -> bool {
    look.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62 == 0
}

impl SolanaRpc {
    /// What one endpoint knows. Before anything is believed that ends a settlement, the others are heard as well: that a
    /// payment failed makes the buyer pay again, and that it succeeded makes the merchant deliver.
    pub(super) async fn recent_statuses(&self, signatures: &[Signature]) -> Result<Findings, ChainError> {
        let params = statuses_params(signatures, false);
        let read = |answer| read_statuses(signatures.len(), answer);
        let request = RpcRequest::GetSignatureStatuses;
        let (index, mut first) = self.pool.first_by(request, &params, RECENT_TIMEOUT, read).await?;
        self.pool.endpoints()[index].recent_silence.note(true, Instant::now());
        let thorough = is_thorough(self.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let indices = needs_others(&first, thorough);
        if !indices.is_empty() && self.pool.endpoints().len() > 1 {
            let asked: Vec<Signature> = indices.iter().map(|it| signatures[*it]).collect();
            let known = indices.iter().map(|it| first.statuses[*it].clone()).collect();
            let known = Evidence { statuses: known, ..first.clone() };
            let told = self.second_opinion(&asked, index, known).await;
            self.note_doubts(&asked, &told.doubts);
            for (it, status) in indices.into_iter().zip(told.findings.statuses) {
                first.statuses[it] = status;
            }
        }
        Ok(Findings { statuses: first.statuses, since: None })
    }

    /// What is known already stands where nobody else has answered for a while. Who hears of no new slot, or says that it is
    /// catching up, knows of no new transaction either, which speaks against none.
    async fn second_opinion(&self, asked: &[Signature], first: usize, known: Evidence) -> Weighed {
        let params = statuses_params(asked, false);
        let read = |answer| read_statuses(asked.len(), answer);
        let mut others = self.pool.besides(first, &params, SECOND_OPINION_TIMEOUT, read);
        let (mut whose, mut told, mut silent) = (vec![first], vec![known], 0);
        while let Some((endpoint, evidence)) = others.next().await {
            let Some(evidence) = evidence else {
                silent += 1;
                continue;
            };
            whose.push(endpoint);
            told.push(evidence);
            if are_agreed(&told) {
                break;
            }
        }
        let mut told = self.as_far_as_they_know(&whose, &told).await;
        told.extend((0..silent).map(|_| Evidence::yet_to_be_told()));
        // All would know everything of the recent past, whichever slot it is said to be in.
        findings(&told, 0)
    }

    /// Tells of the outcomes that are held back.
    fn note_doubts(&self, asked: &[Signature], doubts: &[(usize, Doubt)]) {
        for (index, doubt) in doubts {
            let signature = &asked[*index];
            self.metrics.solana.outcome_in_doubt(match doubt {
                Doubt::Alone => "alone",
                Doubt::Contradicted => "contradicted",
            });
            match doubt {
                Doubt::Alone => tracing::debug!(%signature, "one RPC endpoint alone tells an outcome"),
                Doubt::Contradicted if self.warned.is_due(Instant::now()) => {
                    tracing::warn!(%signature, "RPC endpoints contradict each other about a transaction");
                }
                Doubt::Contradicted => {
                    tracing::debug!(%signature, "RPC endpoints contradict each other about a transaction");
                }
            }
        }
    }

    /// Who knows less than another one is asked whether it is catching up.
    async fn as_far_as_they_know(&self, whose: &[usize], told: &[Evidence]) -> Vec<Evidence> {
        let asked = whose.iter().zip(told).map(|(endpoint, evidence)| async {
            let endpoint = &self.pool.endpoints()[*endpoint];
            let is_behind = self.pool.is_stuck(endpoint.index())
                || evidence.knows_less(told) && endpoint.is_catching_up().await;
            if is_behind { evidence.clone().of_one_behind() } else { evidence.clone() }
        });
        join_all(asked).await
    }

    /// Why payments that never land stay pending, for all that the endpoints have said of their histories.
    #[must_use]
    pub fn lack_of_history(&self) -> Option<&'static str> {
        match self.pool.endpoints().iter().map(|endpoint| endpoint.history()).max()? {
            History::None => {
                Some("no RPC endpoint keeps transaction history: payments that never land stay pending")
            }
            History::Untold => Some(
                "no RPC endpoint tells how far back its history reaches: payments that never land stay pending",
            ),
            History::Unknown | History::Told => None,
        }
    }

    /// Has the endpoints say whether they keep history, and how much.
    pub async fn look_for_history(&self) {
        // No transaction has it. What is found is noted with the endpoints.
        let _ = self.search_history(&[Signature::default()], 0, Duration::ZERO).await;
    }

    /// Has them say so again and again, and the log say what has changed.
    pub async fn watch_history(&self) {
        let mut known = None;
        for look in (0..ASK_AFTER).cycle() {
            if look == 0 || known.is_some() {
                self.look_for_history().await;
            }
            // Settlements have them say so as well.
            let lack = self.lack_of_history();
            match lack {
                Some(lack) if known != Some(lack) => tracing::warn!("{lack}"),
                None if known.is_some() => {
                    tracing::info!("an RPC endpoint tells again how far back its history reaches");
                }
                _ => {}
            }
            known = lack;
            sleep(WATCH_EVERY).await;
        }
    }

    /// What all endpoints know, with their histories. None of the transactions was signed longer ago than `age`.
    pub(super) async fn search_history(
        &self,
        signatures: &[Signature],
        seen: u64,
        age: Duration,
    ) -> Result<Findings, ChainError> {
        let params = statuses_params(signatures, true);
        let told = self.pool.endpoints().iter().map(|it| told_by(it, &params, signatures.len(), seen));
        let told = join_all(told).await.into_iter().map(|answer| answer.map_err(ChainError::from));
        let weighed = weigh(told.collect(), seen, earliest_slot(seen, age))?;
        self.note_doubts(signatures, &weighed.doubts);
        Ok(weighed.findings)
    }
}

/// What one endpoint knows with its history, and how far back that reaches; see [`voice_of`].
async fn told_by(
    endpoint: &Arc<Endpoint>,
    params: &Value,
    asked: usize,
    seen: u64,
) -> Result<Option<Evidence>, CallError> {
    let read = |answer| read_statuses(asked, answer);
    let voice = voice_of(endpoint, &endpoint.history_silence, params, HISTORY_TIMEOUT, read).await;
    endpoint.has_history(&voice);
    let Some(evidence) = voice? else { return Ok(None) };
    let evidence = evidence.as_of(seen);
    if evidence.statuses.iter().all(Option::is_some) {
        return Ok(Some(evidence));
    }
    // Asked afterwards: meanwhile a history gets shorter, and never longer.
    let told = timeout(BEGINNING_TIMEOUT, beginning(endpoint)).await;
    let evidence = evidence.with_history(told.ok().and_then(Result::ok));
    endpoint.tells_beginning(evidence.since.is_some());
    Ok(Some(evidence))
}

/// The first slot of an endpoint's history, and from when on what landed is in it, where it can tell.
async fn beginning(endpoint: &Arc<Endpoint>) -> Result<(u64, Option<UnixMs>), CallError> {
    let none = Value::Null;
    let mut first = ask_beginning(endpoint, RpcRequest::GetFirstAvailableBlock, &none, Ok::<u64, _>).await?;
    if first == 0 {
        // Just started from a snapshot, a node says this as well: it has no two final blocks to tell of yet.
        let read = |blocks: Vec<u64>| blocks.first().copied().ok_or("no block at all");
        first = ask_beginning(endpoint, RpcRequest::GetBlocksWithLimit, &json!([1, 1]), read).await?;
        if first <= BEGUN_BY {
            return Ok((0, Some(UnixMs(0))));
        }
    }
    let read = |seconds: i64| {
        let time = seconds.checked_mul(1000).filter(|time| *time > 0).ok_or("a block of no known time")?;
        Ok(UnixMs(time) + CLOCKS_APART)
    };
    let since = ask_beginning(endpoint, RpcRequest::GetBlockTime, &json!([first]), read).await;
    Ok((first, since.ok()))
}

async fn ask_beginning<T: DeserializeOwned, R>(
    endpoint: &Endpoint,
    request: RpcRequest,
    params: &Value,
    read: impl FnOnce(T) -> Result<R, &'static str> + Send,
) -> Result<R, CallError> {
    let call = Call { request, params, limit: BEGINNING_TIMEOUT, trial: false };
    endpoint.ask(call, |answer| Ok(Answer { value: read(answer)?, slot: None })).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{WARN_EVERY, Warned, is_thorough};

    #[test]
    fn a_warning_that_goes_on_is_given_once_a_minute() {
        let (warned, now) = (Warned::default(), Instant::now());
        let due = (0..1_000).filter(|look| warned.is_due(now + Duration::from_millis(500) * *look));
        assert_eq!(due.collect::<Vec<_>>(), (0..9).map(|minute| 120 * minute).collect::<Vec<_>>());
        assert_eq!(WARN_EVERY, Duration::from_mins(1));
    }

    #[test]
    fn every_fourth_look_is_thorough_and_none_of_several_batches_is_passed_over() {
        let thorough = (0..4_000).filter(|look| is_thorough(*look)).count();
        assert!((990..=1010).contains(&thorough), "{thorough}");
        // As many batches as there may be in flight.
        for batches in 1..=16 {
            for batch in 0..batches {
                let looks = (0..64).filter(|pass| is_thorough(pass * batches + batch));
                assert!(looks.count() >= 8, "batch {batch} of {batches}");
            }
        }
    }
}
