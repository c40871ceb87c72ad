//! What x402 payments count as: the stablecoins together, at par, and other tokens not at all.

use pay402::sandbox::{MintSpec, PYUSD, TokenProgram, USDT};
use serde_json::json;
use solana_signer::Signer;

use super::{
    limited,
    x402::{app, assert_invalid, assert_unsettled, assert_valid, day, score, verify},
};
use crate::{
    conformance::{Backend, on_both},
    harness::{
        KEY,
        x402::{Order, settled},
    },
};

on_both!(stablecoins_count_together_at_par, an_agent_with_limits_pays_in_no_other_token);

async fn stablecoins_count_together_at_par(backend: Backend) {
    let app = app(&backend).await;
    let limits = json!({"daily": "0.1", "perTransaction": "0.05"});
    let made = limited(&app, &app.agent_address(), limits).await;
    let order = app.order();
    settled(&app.settle(Some(KEY), &app.paid(&order)).await, &order);
    let pyusd = || Order { mint: PYUSD, program: TokenProgram::Token2022, ..app.order() };
    let usdt = |units| Order { mint: USDT, units, ..app.order() };
    for much in [Order { units: 50_001, ..pyusd() }, usdt(50_001)] {
        let refused = verify(&app, &app.paid(&much)).await;
        assert_invalid(&refused, "spending_limit_exceeded");
        let said = refused.body["invalidMessage"].as_str().unwrap();
        assert!(said.contains("at most 0.05"), "{said}");
    }
    let order = pyusd();
    let request = app.paid(&order);
    assert_valid(&verify(&app, &request).await);
    assert_eq!(day(&app, &made).await, ["0.05", "0.05", "0"]);
    let more = app.paid(&usdt(1));
    assert_invalid(&verify(&app, &more).await, "spending_limit_exceeded");
    assert_unsettled(&app.settle(Some(KEY), &more).await, "spending_limit_exceeded");
    settled(&app.settle(Some(KEY), &request).await, &order);
    assert_eq!(day(&app, &made).await, ["0.1", "0", "0"]);
    let id = made["id"].as_str().unwrap();
    for (currency, tokens) in [("USDC", 0.05), ("PYUSD", 0.05)] {
        let series = format!("agent_spending_total{{agent_id=\"{id}\",currency=\"{currency}\"}}");
        let spent = app.metric(&series).await;
        assert!((spent - tokens).abs() < 1e-9, "{currency} {spent}");
    }
}

async fn an_agent_with_limits_pays_in_no_other_token(backend: Backend) {
    let app = app(&backend).await;
    let spec =
        MintSpec { decimals: 6, program: TokenProgram::Token, transfer_fee: None, transfer_hook: None };
    let sandbox = &app.chain.sandbox;
    let mint = sandbox.create_mint(spec).unwrap();
    let order = || Order { mint, ..app.order() };
    let Order { payer, pay_to, .. } = order();
    for owner in [payer.pubkey(), pay_to] {
        sandbox.mint_tokens(&mint, &owner, 1_000_000).unwrap();
    }
    sandbox.advance_slots(2);
    let made = limited(&app, &app.agent_address(), json!({"daily": 1_000_000})).await;
    let request = app.paid(&order());
    let refused = verify(&app, &request).await;
    assert_invalid(&refused, "spending_limit_exceeded");
    let said = refused.body["invalidMessage"].as_str().unwrap();
    assert!(said.contains("and no other token"), "{said}");
    assert_unsettled(&app.settle(Some(KEY), &request).await, "spending_limit_exceeded");

    let changed = super::patch(&app, &made["id"], &json!({"spendingLimit": null})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let order = order();
    let request = app.paid(&order);
    assert_valid(&verify(&app, &request).await);
    settled(&app.settle(Some(KEY), &request).await, &order);
    // It counts as a payment, and as no money.
    assert_eq!(day(&app, &made).await, ["0", "0", "null"]);
    assert_eq!(score(&app, &made).await, (1, 1));
}
