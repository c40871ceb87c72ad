//! A merchant on `x402-axum`, x402 version 1 or 2. Prints JSON `{url}` of its paid resource, and serves until killed.

use std::error::Error;

use axum::{Router, routing::get};
use serde::Deserialize;
use solana_pubkey::Pubkey;
use tokio::net::TcpListener;
use x402_axum::X402Middleware;
use x402_chain_solana::{KnownNetworkSolana, V1SolanaExact, V2SolanaExact};
use x402_types::networks::USDC;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    facilitator: String,
    pay_to: String,
    version: u8,
}

pub async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let x402 = X402Middleware::try_new(&settings.facilitator)?;
    let pay_to: Pubkey = settings.pay_to.parse()?;
    let price = USDC::solana_devnet().parse("0.05")?;
    let resource = get(async || "the resource");
    // Without a type it says null, which x402-fetch 1.2.0 does not take.
    let resource = match settings.version {
        1 => resource.layer(
            x402.with_price_tag(V1SolanaExact::price_tag(pay_to, price))
                .with_mime_type("text/plain".to_owned()),
        ),
        _ => resource.layer(
            x402.with_price_tag(V2SolanaExact::price_tag(pay_to, price))
                .with_mime_type("text/plain".to_owned()),
        ),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/paid", listener.local_addr()?);
    println!("{}", serde_json::json!({"url": url}));
    axum::serve(listener, Router::new().route("/paid", resource)).await?;
    Ok(())
}
