//! What a wallet does: read, send, wait, read back.

use pay402::sandbox::{PYUSD, TokenProgram, USDC, USDT};
use solana_signer::Signer;

use super::setup::{start, token_account};

#[tokio::test]
async fn a_payment_in_each_stablecoin_arrives() {
    let fixture = start().await;
    let merchant = fixture.merchant();
    for (mint, program) in
        [(USDC, TokenProgram::Token), (USDT, TokenProgram::Token), (PYUSD, TokenProgram::Token2022)]
    {
        assert_eq!(fixture.sandbox.token_balance(&mint, &fixture.agent().pubkey()), 1_000_000_000);
        let payment = fixture.token_payment(&mint, program, 250_000);
        fixture.sandbox.advance_slots(1);
        let signature = fixture.rpc.send_transaction(&payment).await.unwrap();
        fixture.sandbox.advance_slots(1);
        let landed = fixture.rpc.get_signature_statuses(&[signature]).await.unwrap().value.remove(0).unwrap();
        assert_eq!(landed.err, None);
        assert_eq!(fixture.sandbox.token_balance(&mint, &merchant), 250_000);
        let account = token_account(&mint, &merchant, program);
        let balance = fixture.rpc.get_token_account_balance(&account).await.unwrap();
        assert_eq!((balance.amount.as_str(), balance.ui_amount_string.as_str()), ("250000", "0.25"));
    }
}
