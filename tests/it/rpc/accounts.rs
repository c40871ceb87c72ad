//! Accounts and balances, read.

use pay402::{
    chain::accounts::AccountReader,
    sandbox::{TokenProgram, USDC, faults::ANY},
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use super::cluster::Cluster;
use crate::sandbox::setup::token_account;

#[tokio::test]
async fn accounts_come_in_their_order_with_gaps() {
    let cluster = Cluster::start(1).await;
    let held = token_account(&USDC, &cluster.chain.merchant(), TokenProgram::Token);
    let wanted = [USDC, Pubkey::new_unique(), held];
    let accounts = cluster.rpc.accounts(&wanted).await.unwrap();
    let [Some(mint), None, Some(held)] = &accounts[..] else { panic!("{accounts:?}") };
    assert_eq!((mint.owner, held.owner), (TokenProgram::Token.id(), TokenProgram::Token.id()));
    assert_eq!((mint.data.len(), held.data.len()), (82, 165));
    assert_eq!(&held.data[..32], USDC.as_ref());
    assert!(held.lamports > 0);
}

#[tokio::test]
async fn a_balance_is_zero_only_where_there_is_none() {
    let cluster = Cluster::start(1).await;
    assert_eq!(cluster.rpc.balance(&Pubkey::new_unique()).await.unwrap(), 0);
    assert_eq!(cluster.rpc.balance(&cluster.chain.merchant()).await.unwrap(), 100_000_000_000);
}

/// No answer that is cut short, null, or of another shape is taken for a balance or for an account that is not there.
#[tokio::test]
async fn what_makes_no_sense_is_an_error_and_never_nothing() {
    type Lie = fn(Value) -> Value;
    let lies: [Lie; 6] = [
        |_| Value::Null,
        |_| json!(0),
        |mut answer| {
            answer["value"] = Value::Null;
            answer
        },
        |mut answer| {
            answer.as_object_mut().unwrap().remove("value");
            answer
        },
        |mut answer| {
            answer["value"] = json!([]);
            answer
        },
        |mut answer| {
            answer["value"] = json!([{"lamports": 1, "owner": "nobody", "data": ["", "base64"],
                "executable": false, "rentEpoch": 0}]);
            answer
        },
    ];
    let cluster = Cluster::start(1).await;
    for lie in lies {
        cluster.faults(0).lie(ANY, Box::new(lie));
        let merchant = cluster.chain.merchant();
        assert!(cluster.rpc.balance(&merchant).await.is_err());
        assert!(cluster.rpc.accounts(&[merchant]).await.is_err());
    }
    cluster.faults(0).clear();
    cluster.rpc.balance(&cluster.chain.merchant()).await.unwrap();
}
