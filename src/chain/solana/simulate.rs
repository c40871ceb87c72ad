//! Simulating a transaction, and reading accounts beside it in the same breath.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    request::RpcRequest,
    response::{Response, UiTransactionError},
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use super::{
    SolanaRpc,
    accounts::{accounts_params, read_accounts},
    endpoint::{Answer, CallError},
    pool::Attempt,
};
use crate::chain::{
    ChainError,
    simulation::{FailureKind, Simulation, SimulationFailure, Simulator},
};

/// How long a simulation may take on all endpoints together.
const SIMULATION_TIMEOUT: Duration = Duration::from_secs(8);
/// Characters of a program's log that are passed on.
const MAX_LOG: usize = 200;

/// What is read of `simulateTransaction`'s answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Simulated {
    err: Option<UiTransactionError>,
    #[serde(default)]
    logs: Option<Vec<String>>,
    #[serde(default)]
    units_consumed: Option<u64>,
}

/// A simulation at one endpoint.
struct Finding {
    simulation: Simulation,
    /// The endpoint does not know the blockhash, or not any more.
    unknown_blockhash: bool,
}

fn read_simulated(answer: Response<Simulated>) -> Answer<Finding> {
    let Simulated { err, logs, units_consumed } = answer.value;
    let error = err.map(TransactionError::from);
    let unknown_blockhash = error == Some(TransactionError::BlockhashNotFound);
    let failure = error.map(|error| SimulationFailure {
        kind: kind_of(&error),
        error: error.to_string(),
        log: last_words(&logs.unwrap_or_default()),
    });
    let slot = answer.context.slot;
    let simulation = Simulation { slot, failure, units_consumed, accounts: Vec::new() };
    Answer::at(slot, Finding { simulation, unknown_blockhash })
}

/// A fee payer without an account has nothing to pay with either.
fn kind_of(error: &TransactionError) -> FailureKind {
    match error {
        TransactionError::BlockhashNotFound => FailureKind::UnknownBlockhash,
        TransactionError::AlreadyProcessed => FailureKind::AlreadyLanded,
        TransactionError::InsufficientFundsForFee
        | TransactionError::AccountNotFound
        | TransactionError::InsufficientFundsForRent { account_index: 0 } => FailureKind::FeePayerShort,
        _ => FailureKind::Other,
    }
}

/// The last thing a program said, else the last failure the runtime told.
fn last_words(logs: &[String]) -> Option<String> {
    let said = logs.iter().rev().find_map(|line| line.strip_prefix("Program log: "));
    let words =
        said.or_else(|| logs.iter().rev().map(String::as_str).find(|line| line.contains(" failed")))?;
    let words: String = words.chars().filter(|character| !character.is_control()).take(MAX_LOG).collect();
    (!words.trim().is_empty()).then_some(words)
}

/// The transaction without its signatures: simulating needs none, and so none can be misused on the way.
fn simulate_params(transaction: &VersionedTransaction) -> Result<Value, ChainError> {
    let unsigned = VersionedTransaction {
        signatures: vec![Signature::default(); transaction.signatures.len()],
        message: transaction.message.clone(),
    };
    let bytes = bincode::serialize(&unsigned).map_err(|error| ChainError::Unreachable(error))?;
    Ok(json!([
        BASE64_STANDARD.encode(bytes),
        {"encoding": "base64", "commitment": "confirmed", "sigVerify": false, "replaceRecentBlockhash": false},
    ]))
}

impl SolanaRpc {
    async fn simulate_at(
        &self,
        attempt: &Attempt,
        simulate: &Value,
        accounts: &[Pubkey],
    ) -> Result<Finding, CallError> {
        let call = attempt.call(RpcRequest::SimulateTransaction, simulate);
        let simulated = attempt.endpoint.ask(call, |answer| Ok(read_simulated(answer)));
        let wanted = accounts_params(accounts);
        let read = async {
            if accounts.is_empty() {
                return Ok(Vec::new());
            }
            let call = attempt.call(RpcRequest::GetMultipleAccounts, &wanted);
            attempt.endpoint.ask(call, |answer| read_accounts(accounts.len(), answer)).await
        };
        let (mut finding, accounts) = tokio::try_join!(simulated, read)?;
        finding.simulation.accounts = accounts;
        if self.pool.is_behind(&attempt.endpoint, finding.simulation.slot) {
            return Err(CallError::Behind);
        }
        Ok(finding)
    }
}

#[async_trait]
impl Simulator for SolanaRpc {
    /// A node that does not know the blockhash may only be behind, so the others are asked as well.
    async fn simulate(
        &self,
        transaction: &VersionedTransaction,
        accounts: &[Pubkey],
    ) -> Result<Simulation, ChainError> {
        let params = simulate_params(transaction)?;
        let mut unknown_blockhash = None;
        let mut attempts = self.pool.attempts(SIMULATION_TIMEOUT);
        while let Some(attempt) = attempts.next().await {
            match self.simulate_at(&attempt, &params, accounts).await {
                Ok(finding) if finding.unknown_blockhash => unknown_blockhash = Some(finding.simulation),
                Ok(finding) => return Ok(finding.simulation),
                Err(error) => attempts.failed(attempt, error),
            }
        }
        unknown_blockhash.ok_or_else(|| attempts.into_failure())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use solana_keypair::Keypair;
    use solana_message::{Message, VersionedMessage};
    use solana_signature::Signature;
    use solana_signer::Signer;
    use solana_transaction::versioned::VersionedTransaction;

    use super::{MAX_LOG, last_words, simulate_params};

    #[test]
    fn no_signature_leaves_the_process() {
        let key = Keypair::new();
        let message = VersionedMessage::Legacy(Message::new(&[], Some(&key.pubkey())));
        let signed = VersionedTransaction::try_new(message, &[&key]).unwrap();
        let params = simulate_params(&signed).unwrap();
        let bytes = BASE64_STANDARD.decode(params[0].as_str().unwrap()).unwrap();
        let sent: VersionedTransaction = bincode::deserialize(&bytes).unwrap();
        assert_eq!((sent.signatures, sent.message), (vec![Signature::default()], signed.message));
        assert_eq!(
            (&params[1]["sigVerify"], &params[1]["replaceRecentBlockhash"]),
            (&false.into(), &false.into())
        );
    }

    fn words(logs: &[&str]) -> Option<String> {
        last_words(&logs.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_words_are_a_programs_or_the_runtimes() {
        let failed = "Program Tokenkeg failed: custom program error: 0x1";
        let said = "Program log: Error: insufficient funds";
        assert_eq!(
            words(&["Program Tokenkeg invoke [1]", said, failed]).unwrap(),
            "Error: insufficient funds"
        );
        assert_eq!(words(&["Program Tokenkeg invoke [1]", failed]).unwrap(), failed);
        assert_eq!(words(&["Program Tokenkeg invoke [1]"]), None);
        assert_eq!(words(&[]), None);
        assert_eq!(words(&["Program log: a\u{1b}[31mb"]).unwrap(), "a[31mb");
        assert_eq!(words(&[&format!("Program log: {}", "é".repeat(5000))]).unwrap().chars().count(), MAX_LOG);
    }
}
