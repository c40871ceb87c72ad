//! Asking what became of transactions: in the recent past, and in all history.
//!
//! An endpoint that has pruned a transaction answers as one that has never heard of it. So whoever knows nothing of one is
//! asked how far back its history reaches as well.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use solana_rpc_client_api::{request::RpcRequest, response::Response};
use solana_signature::Signature;
use solana_transaction_status_client_types::{TransactionConfirmationStatus, TransactionStatus};

use super::{
    SolanaRpc,
    endpoint::{Answer, Call, CallError, Endpoint},
    evidence::{Evidence, findings, weigh},
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
/// How long each endpoint may take to tell where its history begins, or when that was.
const BEGINNING_TIMEOUT: Duration = Duration::from_secs(3);
/// How far the chain's clock and this machine's may be apart.
const CLOCKS_APART: Duration = Duration::from_mins(10);

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
    Ok(Answer::at(slot, Evidence { slot, statuses, would_know: 0..=u64::MAX, since: None }))
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
        let thorough = is_thorough(self.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let wanted = |status: &Option<SignatureStatus>| {
            thorough || status.as_ref().is_some_and(|status| status.commitment > Commitment::Processed)
        };
        let indices: Vec<usize> = (0..signatures.len()).filter(|it| wanted(&first.statuses[*it])).collect();
        if !indices.is_empty() && self.pool.endpoints().len() > 1 {
            let asked: Vec<Signature> = indices.iter().map(|it| signatures[*it]).collect();
            let known = indices.iter().map(|it| first.statuses[*it].clone()).collect();
            let known = Evidence { statuses: known, ..first.clone() };
            for (it, status) in indices.into_iter().zip(self.second_opinion(&asked, index, known).await) {
                first.statuses[it] = status;
            }
        }
        Ok(Findings { statuses: first.statuses, since: None })
    }

    /// What is known already stands where nobody else answers. Who hears of no new slot, or says that it is catching up, knows
    /// of no new transaction either, which speaks against none.
    async fn second_opinion(
        &self,
        asked: &[Signature],
        first: usize,
        known: Evidence,
    ) -> Vec<Option<SignatureStatus>> {
        let params = statuses_params(asked, false);
        let read = |answer| read_statuses(asked.len(), answer);
        let request = RpcRequest::GetSignatureStatuses;
        let mut others = self.pool.besides(first, request, &params, SECOND_OPINION_TIMEOUT, read);
        let mut told = vec![(first, known)];
        while let Some(answer) = others.next().await {
            told.push(answer);
            if are_agreed(&told) {
                break;
            }
        }
        findings(&self.as_far_as_they_know(told).await)
    }

    /// Who does not know what another one does is asked whether it is catching up.
    async fn as_far_as_they_know(&self, told: Vec<(usize, Evidence)>) -> Vec<Evidence> {
        let known = |index: usize| told.iter().any(|(_, evidence)| evidence.statuses[index].is_some());
        let known: Vec<bool> = (0..told[0].1.statuses.len()).map(known).collect();
        let asked = told.into_iter().map(|(endpoint, evidence)| {
            let doubts = evidence.statuses.iter().zip(&known).any(|(own, known)| own.is_none() && *known);
            let endpoint = &self.pool.endpoints()[endpoint];
            async move {
                let is_behind =
                    self.pool.is_stuck(endpoint.index()) || doubts && endpoint.is_catching_up().await;
                let newest = if is_behind { evidence.slot } else { u64::MAX };
                Evidence { would_know: 0..=newest, ..evidence }
            }
        });
        join_all(asked).await
    }

    /// Whether any endpoint keeps history, for all that they have said. Without one nobody can say that a payment has never
    /// landed.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.pool.endpoints().iter().any(|endpoint| endpoint.keeps_history())
    }

    /// Has the endpoints say whether they keep history, and how much.
    pub async fn look_for_history(&self) {
        // No transaction has it.
        let found = self.search_history(&[Signature::default()], 0).await;
        if !self.keeps_history() {
            tracing::warn!(
                "no RPC endpoint keeps transaction history: payments that never land stay pending"
            );
        } else if found.is_ok_and(|found| found.since.is_none()) {
            tracing::warn!(
                "no RPC endpoint tells how far back its history reaches: payments that never land stay pending"
            );
        }
    }

    /// What all endpoints know, with their histories.
    pub(super) async fn search_history(
        &self,
        signatures: &[Signature],
        seen: u64,
    ) -> Result<Findings, ChainError> {
        let params = statuses_params(signatures, true);
        let told = self.pool.endpoints().iter().map(|it| told_by(it, &params, signatures.len(), seen));
        weigh(join_all(told).await, seen)
    }
}

/// Whether two say the same of every transaction, so that a third need not be waited for.
fn are_agreed(told: &[(usize, Evidence)]) -> bool {
    let [(_, first), others @ ..] = told else { return false };
    let agree = |index: usize, said: &SignatureStatus| {
        others.iter().filter_map(|(_, other)| other.statuses.get(index)?.as_ref()).any(|other| {
            other.commitment > Commitment::Processed && other.failure.is_some() == said.failure.is_some()
        })
    };
    let mut statuses = first.statuses.iter().enumerate();
    statuses.all(|(index, status)| status.as_ref().is_some_and(|said| agree(index, said)))
}

/// What one endpoint knows with its history, and how far back that reaches.
async fn told_by(
    endpoint: &Arc<Endpoint>,
    params: &Value,
    asked: usize,
    seen: u64,
) -> Result<Evidence, CallError> {
    let request = RpcRequest::GetSignatureStatuses;
    let call = Call { request, params, limit: HISTORY_TIMEOUT, trial: false };
    let answer = endpoint.ask(call, |answer| read_statuses(asked, answer)).await;
    endpoint.has_history(&answer);
    let mut evidence = answer?;
    // What is sought has landed by then, or never.
    let newest = if evidence.slot >= seen { u64::MAX } else { evidence.slot };
    evidence.would_know = 0..=newest;
    if evidence.statuses.iter().any(Option::is_none) {
        // Asked afterwards: meanwhile a history gets shorter, and never longer.
        if let Ok((slot, since)) = beginning(endpoint).await {
            evidence.would_know = slot..=newest;
            evidence.since = Some(since);
        }
    }
    Ok(evidence)
}

/// The first slot of an endpoint's history, and from when on what landed is in it.
async fn beginning(endpoint: &Arc<Endpoint>) -> Result<(u64, UnixMs), CallError> {
    let limit = BEGINNING_TIMEOUT;
    let (request, params) = (RpcRequest::GetFirstAvailableBlock, Value::Null);
    let call = Call { request, params: &params, limit, trial: false };
    let slot = endpoint.ask(call, |slot: u64| Ok(Answer { value: slot, slot: None })).await?;
    if slot == 0 {
        return Ok((0, UnixMs(0)));
    }
    let (request, params) = (RpcRequest::GetBlockTime, json!([slot]));
    let call = Call { request, params: &params, limit, trial: false };
    let read = |seconds: i64| {
        let time = seconds.checked_mul(1000).filter(|time| *time > 0).ok_or("a block of no known time")?;
        Ok(Answer { value: UnixMs(time) + CLOCKS_APART, slot: None })
    };
    Ok((slot, endpoint.ask(call, read).await?))
}

#[cfg(test)]
mod tests {
    use super::is_thorough;

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
