//! `x402-clients merchant SETTINGS` and `x402-clients buyer SETTINGS`; the settings are JSON.

mod buyer;
mod merchant;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, settings] = &arguments[..] else { return Err("a role and its settings are wanted".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match role.as_str() {
        "merchant" => runtime.block_on(merchant::run(serde_json::from_str(settings)?)),
        "buyer" => runtime.block_on(buyer::run(serde_json::from_str(settings)?)),
        other => Err(format!("there is no role {other}").into()),
    }
}
