//! Every merchant sells to every buyer that speaks its version of x402, and to none that cannot pay.

use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;

use super::{
    programs::{Bought, Buyer, Merchant},
    stage::{Stage, asked},
};
use crate::harness::KEY;

/// 0.05 USDC, in atomic units.
const PRICE: u64 = 50_000;

const BUYERS: [Buyer; 3] = [Buyer::Fetch, Buyer::Reqwest, Buyer::Httpx];
const BUYERS_OF_VERSION_1: [Buyer; 4] = [Buyer::OldFetch, Buyer::Fetch, Buyer::Reqwest, Buyer::Httpx];

/// A merchant's shop, and whom its money goes to.
struct Market {
    stage: Stage,
    merchant: Merchant,
    url: String,
    pay_to: Pubkey,
    _shop: super::programs::Shop,
}

impl Market {
    async fn open(merchant: Merchant) -> Self {
        Self::open_on(Stage::start(&[]).await, merchant, None).await
    }

    async fn open_on(stage: Stage, merchant: Merchant, api_key: Option<&str>) -> Self {
        let pay_to = stage.wallet(0).pubkey();
        // Most clients strip a slash at the end.
        let slash = if matches!(merchant, Merchant::OldExpress) { "" } else { "/" };
        let mut settings = json!({
            "facilitator": format!("{}{slash}", stage.service.url), "payTo": pay_to.to_string(), "rpc": stage.chain.rpc_url(),
        });
        if let Some(key) = api_key {
            settings["apiKey"] = key.into();
        }
        let shop = merchant.open(settings).await;
        Self { stage, merchant, url: shop.url.clone(), pay_to, _shop: shop }
    }

    fn earned(&self) -> u64 {
        self.stage.usdc(&self.pay_to)
    }

    fn version(&self) -> u8 {
        self.merchant.version()
    }

    /// The network as this version of x402 names it.
    fn network(&self) -> &'static str {
        if self.version() == 1 { "solana-devnet" } else { "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" }
    }

    async fn assert_asks_to_be_paid(&self) {
        let response = reqwest::get(&self.url).await.unwrap();
        assert_eq!(response.status(), 402);
        let asked = asked(response, self.version()).await;
        assert_eq!(asked["x402Version"], self.version());
        let accepts = &asked["accepts"][0];
        let amount = if self.version() == 1 { "maxAmountRequired" } else { "amount" };
        assert_eq!(accepts[amount], PRICE.to_string(), "{asked}");
        assert_eq!(
            (&accepts["network"], &accepts["payTo"]),
            (&json!(self.network()), &json!(self.pay_to.to_string()))
        );
        let fee_payer = self.stage.chain.wallets().fee_payer.pubkey();
        assert_eq!(accepts["extra"]["feePayer"], fee_payer.to_string(), "{asked}");
    }

    async fn buy(&self, buyer: Buyer, wallet: &Keypair, twice: bool) -> Bought {
        let settings = json!({
            "url": self.url, "key": wallet.to_base58_string(), "rpc": self.stage.chain.rpc_url(), "twice": twice,
        });
        buyer.buy(&settings).await
    }

    async fn assert_sells_to(&self, buyer: Buyer) {
        let wallet = self.stage.wallet(PRICE + 7);
        let before = self.earned();
        let bought = self.buy(buyer, &wallet, false).await;
        assert_eq!((bought.status, bought.body.as_str()), (200, "the resource"), "{buyer:?}: {bought:?}");
        assert_eq!(self.earned() - before, PRICE, "{buyer:?}");
        assert_eq!(self.stage.usdc(&wallet.pubkey()), 7, "{buyer:?}");
        let receipt = bought.receipt.expect("there is a receipt");
        assert_eq!(
            (&receipt["success"], &receipt["network"]),
            (&json!(true), &json!(self.network())),
            "{receipt}"
        );
        assert_eq!(receipt["payer"], wallet.pubkey().to_string(), "{receipt}");
        self.assert_paid_by(&receipt, &wallet.pubkey()).await;
    }

    /// The receipt's transaction is the one that did it.
    async fn assert_paid_by(&self, receipt: &Value, payer: &Pubkey) {
        let mut moved = self.stage.moved(receipt["transaction"].as_str().unwrap()).await;
        let price = i128::from(PRICE);
        let mut expected = [(self.pay_to.to_string(), price), (payer.to_string(), -price)];
        moved.sort();
        expected.sort();
        assert_eq!(moved, expected);
    }

    async fn assert_refuses_who_is_broke(&self, buyer: Buyer) {
        // One that looks before it pays has to have the money then.
        let twice = matches!(buyer, Buyer::OldFetch);
        let wallet = self.stage.wallet(if twice { PRICE } else { PRICE - 1 });
        let before = self.earned();
        let bought = self.buy(buyer, &wallet, twice).await;
        assert_eq!(bought.status, 402, "{buyer:?}: {bought:?}");
        assert_eq!(self.earned() - before, if twice { PRICE } else { 0 }, "{buyer:?}");
        assert_ne!(bought.body, "the resource");
        let error = bought.error.expect("the buyer hears why");
        let reason = "transaction_simulation_failed";
        assert!(error.contains(reason), "{buyer:?} of {:?}: {error}", self.merchant);
        assert_eq!(error.contains("invalid_exact_svm_"), self.version() == 2, "{error}");
    }

    async fn assert_trades_with(&self, buyers: &[Buyer]) {
        self.assert_asks_to_be_paid().await;
        for &buyer in buyers {
            self.assert_sells_to(buyer).await;
            self.assert_refuses_who_is_broke(buyer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_x402_express_of_version_2_sells() {
    Market::open(Merchant::Express).await.assert_trades_with(&BUYERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_x402_express_1_sells() {
    Market::open(Merchant::OldExpress).await.assert_trades_with(&BUYERS_OF_VERSION_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x402_axum_sells_by_version_2() {
    Market::open(Merchant::Axum(2)).await.assert_trades_with(&BUYERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x402_axum_sells_by_version_1() {
    Market::open(Merchant::Axum(1)).await.assert_trades_with(&BUYERS_OF_VERSION_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_x402_with_fastapi_sells() {
    Market::open(Merchant::FastApi).await.assert_trades_with(&BUYERS).await;
}

/// `@x402/fetch` and the Python client put in the memo that the merchant asks for; the Rust one has one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_with_its_memo_or_refused() {
    let mut market = Market::open(Merchant::Express).await;
    market.url = market.url.replace("/paid", "/order");
    market.assert_sells_to(Buyer::Fetch).await;
    market.assert_sells_to(Buyer::Httpx).await;
    let bought = market.buy(Buyer::Reqwest, &market.stage.wallet(PRICE), false).await;
    assert_eq!(bought.status, 402, "{bought:?}");
    assert!(bought.error.unwrap().contains("invalid_exact_svm_payload_memo_mismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_with_an_api_key_sells_where_one_is_required() {
    let variables = [("REQUIRE_API_KEY", "true"), ("VALID_API_KEYS", KEY)];
    let market = Market::open_on(Stage::start(&variables).await, Merchant::Express, Some(KEY)).await;
    market.assert_sells_to(Buyer::Fetch).await;
    let open = reqwest::Client::new().post(format!("{}/settle", market.stage.service.url)).body("{}");
    assert_eq!(open.header("content-type", "application/json").send().await.unwrap().status(), 401);
}

/// What is paid for is the whole URL, whose query may be long.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_with_a_long_query_is_sold() {
    let mut market = Market::open(Merchant::Express).await;
    market.url = format!("{}?q={}", market.url, "x".repeat(3_000));
    market.assert_sells_to(Buyer::Fetch).await;
}

/// `x402-express` 1.2.0 asks what is supported at each request, and ends when it is not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_asks_each_time_may_have_many_visitors() {
    let limits = [("RATE_LIMIT_PUBLIC", "60"), ("RATE_LIMIT_VERIFICATION", "100")];
    let market = Market::open_on(Stage::start(&limits).await, Merchant::OldExpress, None).await;
    for visitor in 0..100 {
        assert_eq!(reqwest::get(&market.url).await.unwrap().status(), 402, "visitor {visitor}");
    }
    market.assert_sells_to(Buyer::OldFetch).await;
}
