//! The reference facilitator's verdicts.

use std::{
    fmt::{self, Write},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Sample, scene::Scene};
use crate::clients::programs::node;

/// What a facilitator says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With the payer.
    Valid(String),
    /// With the reason.
    Refused(String),
    /// It is left to whoever hosts the facilitator what to answer.
    Thrown,
}

impl Verdict {
    pub fn refused(reason: &str) -> Self {
        Self::Refused(reason.to_owned())
    }

    /// Of an answer to verify, or `{thrown}`.
    pub fn of(answer: &Value) -> Self {
        if answer.get("thrown").is_some() {
            return Self::Thrown;
        }
        let text =
            |member: &str| answer[member].as_str().unwrap_or_else(|| panic!("{member}: {answer}")).to_owned();
        if answer["isValid"] == true {
            Self::Valid(text("payer"))
        } else {
            Self::Refused(text("invalidReason"))
        }
    }

    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid(_) => f.write_str("valid"),
            Self::Refused(reason) => f.write_str(reason),
            Self::Thrown => f.write_str("thrown"),
        }
    }
}

pub async fn judge(scene: &Scene, samples: &[Sample]) -> Vec<Verdict> {
    let settings = json!({
        "key": scene.fee_payer().to_base58_string(), "rpc": scene.app.chain.sandbox.rpc_url(),
    });
    let mut command = Command::from(node("facilitator.mjs"));
    command.arg(settings.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let mut lines = String::new();
    for Sample { payload, requirements, .. } in samples {
        let request = json!({"paymentPayload": payload, "paymentRequirements": requirements});
        writeln!(lines, "{request}").unwrap();
    }
    let mut stdin = process.stdin.take().unwrap();
    let told = tokio::spawn(async move { stdin.write_all(lines.as_bytes()).await });
    let output = process.wait_with_output().await.unwrap();
    told.await.unwrap().unwrap();
    assert!(output.status.success(), "the reference facilitator failed");
    let answers = std::str::from_utf8(&output.stdout).unwrap().lines();
    let verdicts: Vec<_> = answers.map(|line| Verdict::of(&serde_json::from_str(line).unwrap())).collect();
    assert_eq!(verdicts.len(), samples.len());
    verdicts
}
