//! The subscription that a proof pays.

use super::{PaymentProof, verify::ProofVerifier};
use crate::{
    api_keys::Caller,
    clock::UnixMs,
    ids::SubscriptionId,
    money::{Amount, Currency, decimal_text},
    payments::{Refusal, RefusalCode},
    store_error::StoreError,
    subscriptions::{Money, Standing, Subscribed, Unpayable},
};

impl ProofVerifier {
    /// The caller's subscription that the proof names, if it names one: as far as can be told before the chain is asked.
    /// Recording is the judge.
    pub(super) async fn named_subscription(
        &self,
        proof: &PaymentProof,
        caller: Option<&Caller>,
        now: UnixMs,
    ) -> Result<Result<Option<SubscriptionId>, Refusal>, StoreError> {
        let Some(name) = &proof.subscription_id else { return Ok(Ok(None)) };
        let found = match caller {
            Some(caller) => self.subscriptions.find_subscription(&caller.user, name).await?,
            None => None,
        };
        let Some(found) = found else { return Ok(Err(subscription_not_found())) };
        let money = Money { payer: proof.payer, amount: proof.amount, currency: proof.currency };
        let Subscribed { subscription, price, .. } = found.at(now);
        let id = subscription.id.clone();
        Ok(subscription.pay(money, now, price).map(|_| Some(id)).map_err(unpayable))
    }
}

pub(super) fn subscription_not_found() -> Refusal {
    let message = "the key's user has no such subscription";
    Refusal::new(RefusalCode::SubscriptionNotFound, message)
}

pub(super) fn unpayable(why: Unpayable) -> Refusal {
    let (code, message) = match why {
        Unpayable::Inactive(standing) => (RefusalCode::SubscriptionInactive, inactive(standing).to_owned()),
        Unpayable::WrongWallet { expected } => (
            RefusalCode::InvalidPayment,
            format!("the subscription is paid by {expected}, the proof is by somebody else"),
        ),
        Unpayable::WrongCurrency { expected } => {
            (RefusalCode::CurrencyMismatch, format!("the subscription is paid in {expected}"))
        }
        Unpayable::TooLittle { price, currency } => (
            RefusalCode::InsufficientAmount,
            format!("the subscription's period costs {}", tokens(price, currency)),
        ),
        Unpayable::PaidAhead { until } => (
            RefusalCode::SubscriptionAlreadyPaid,
            format!("the subscription is paid until {}, as far ahead as it may be: pay later", until.0),
        ),
    };
    Refusal::new(code, message)
}

const fn inactive(standing: Standing) -> &'static str {
    match standing {
        Standing::Active { .. } => {
            "the subscription is to end with the time that is paid: it takes no more payments"
        }
        Standing::PastDue { .. } => "the subscription is past due",
        Standing::Cancelled { .. } => "the subscription is cancelled: make a new one",
        Standing::Expired { .. } => "the subscription is expired: make a new one",
    }
}

fn tokens(amount: Amount, currency: Currency) -> String {
    format!("{} {currency}", decimal_text(amount.atomic(), currency.decimals()))
}
