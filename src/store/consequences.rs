//! What a payment does besides being booked: the one place for it, in both databases.
//!
//! A batch of payments with consequences is one database transaction. First it locks whom they concern, in the order of
//! their ids. Then, for each payment, `check` says whether it may be, without writing; it is booked as any other is; and
//! `apply` writes what follows from it. What is refused, or was used before, has written nothing.
//!
//! What a payment concerns is its agent, with its limits and services, its spending, its transactions and reputation; and
//! its subscription, a period of which it pays.

use crate::{
    agents::{Purchase, SpendingUnit},
    payments::Payment,
};

/// What a payment's agent is asked for.
pub(super) fn purchase(payment: &Payment) -> Purchase<'_> {
    Purchase {
        unit: Some(SpendingUnit::of(payment.currency)),
        amount: payment.amount,
        resource: payment.resource.as_deref(),
    }
}

/// Recording with consequences, beside the decisions about agents' money. `$begin` begins the database transaction. `$book` books one
/// payment as it is booked without consequences, where the unique constraints decide.
macro_rules! consequential_transactions {
    ($connection:ty, $begin:literal, $book:path, $subscriptions:path) => {
        use std::collections::{BTreeMap, BTreeSet};

        use sqlx::Connection;
        use $subscriptions as subscriptions;

        use $crate::{
            agents::{Agent, SpendingUnit},
            calendar::Day,
            ids::{AgentId, SubscriptionId},
            payments::{Objection, Payment, RecordOutcome},
            store::{consequences::purchase, decisions::NO_MESSAGE, rows::used, sql},
            subscriptions::{Advanced, Money, PaidPeriod},
        };

        /// Whom the payments concern, as they are while the transaction holds them.
        struct Concerned {
            agents: BTreeMap<AgentId, Agent>,
        }

        /// What follows from a payment that may be.
        struct Plan {
            /// What the agent has spent on its day then.
            spent: Option<(AgentId, SpendingUnit, u64)>,
            /// The subscription then, and the period that is paid.
            paid: Option<(Advanced, PaidPeriod)>,
        }

        /// Books payments with what follows from them: one outcome for each, in their order. `in_doubt`: an attempt
        /// before this one may have been committed.
        pub(super) async fn record(
            connection: &mut $connection,
            payments: &[Payment],
            in_doubt: bool,
        ) -> Result<Vec<RecordOutcome>, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let concerned = lock(&mut transaction, payments).await?;
            // In the order in which those without consequences go in.
            let mut order: Vec<usize> = (0..payments.len()).collect();
            order.sort_by_cached_key(|index| payments[*index].transaction.to_string());
            let mut outcomes = vec![RecordOutcome::Recorded; payments.len()];
            for index in order {
                let payment = &payments[index];
                // Under the locks, so that the earlier attempt is over. Ids are random, so its own says that it was booked.
                if !in_doubt || !is_booked(&mut transaction, payment).await? {
                    outcomes[index] = one(&mut transaction, payment, &concerned).await?;
                }
            }
            transaction.commit().await?;
            Ok(outcomes)
        }

        async fn one(
            connection: &mut $connection,
            payment: &Payment,
            concerned: &Concerned,
        ) -> Result<RecordOutcome, sqlx::Error> {
            match check(connection, payment, concerned).await? {
                Ok(plan) => {
                    let outcome = $book(connection, payment).await?;
                    if outcome == RecordOutcome::Recorded {
                        apply(connection, payment, plan).await?;
                    }
                    Ok(outcome)
                }
                // That it was used before is told first, as it is without consequences.
                Err(objection) => {
                    let (nonce, transaction) = sqlx::query_as(sql::USED)
                        .bind(&payment.nonce)
                        .bind(payment.transaction.to_string())
                        .fetch_one(connection)
                        .await?;
                    let used = used(nonce, transaction);
                    Ok(used.map_or(RecordOutcome::Refused(objection), RecordOutcome::AlreadyUsed))
                }
            }
        }

        async fn is_booked(connection: &mut $connection, payment: &Payment) -> Result<bool, sqlx::Error> {
            sqlx::query_scalar(sql::IS_BOOKED).bind(payment.id.as_str()).fetch_one(connection).await
        }

        /// Locks everyone whom the payments concern, in one order.
        async fn lock(connection: &mut $connection, payments: &[Payment]) -> Result<Concerned, sqlx::Error> {
            let ids: BTreeSet<&AgentId> =
                payments.iter().filter_map(|payment| payment.agent.as_ref()).collect();
            let mut agents = BTreeMap::new();
            for id in ids {
                if let Some(agent) = lock_agent(connection, id).await? {
                    agents.insert(id.clone(), agent);
                }
            }
            let ids: BTreeSet<(&SubscriptionId, &str)> = payments.iter().filter_map(named).collect();
            for (id, owner) in ids {
                subscriptions::lock(connection, owner, id.as_str()).await?;
            }
            Ok(Concerned { agents })
        }

        /// Whether a payment may be, and what follows from it then. Writes nothing.
        async fn check(
            connection: &mut $connection,
            payment: &Payment,
            concerned: &Concerned,
        ) -> Result<Result<Plan, Objection>, sqlx::Error> {
            let spent = match spending(connection, payment, concerned).await? {
                Ok(spent) => spent,
                Err(objection) => return Ok(Err(objection)),
            };
            let paid = period(connection, payment).await?;
            Ok(paid.map(|paid| Plan { spent, paid }))
        }

        async fn spending(
            connection: &mut $connection,
            payment: &Payment,
            concerned: &Concerned,
        ) -> Result<Result<Option<(AgentId, SpendingUnit, u64)>, Objection>, sqlx::Error> {
            let Some(id) = &payment.agent else { return Ok(Ok(None)) };
            let Some(agent) = concerned.agents.get(id) else { return Ok(Err(Objection::AgentGone)) };
            let (unit, at) = (SpendingUnit::of(payment.currency), payment.verified_at);
            let so_far = so_far(connection, id, unit, at, NO_MESSAGE).await?;
            let admitted = agent.admit(&purchase(payment), so_far, Day::of(at));
            let spent = so_far.spent.saturating_add(payment.amount.atomic());
            Ok(admitted.map(|()| Some((id.clone(), unit, spent))).map_err(Objection::Agent))
        }

        fn named(payment: &Payment) -> Option<(&SubscriptionId, &str)> {
            payment.subscription.as_ref().zip(payment.owner.as_deref())
        }

        /// The subscription is read anew: an earlier payment of the batch may have paid a period of it.
        async fn period(
            connection: &mut $connection,
            payment: &Payment,
        ) -> Result<Result<Option<(Advanced, PaidPeriod)>, Objection>, sqlx::Error> {
            if payment.subscription.is_none() {
                return Ok(Ok(None));
            }
            let Some((id, owner)) = named(payment) else { return Ok(Err(Objection::SubscriptionGone)) };
            let held = match subscriptions::find(connection, owner, id.as_str()).await? {
                Some(held) => held.map_err(|error| sqlx::Error::Decode(error.into()))?,
                None => return Ok(Err(Objection::SubscriptionGone)),
            };
            let now = payment.verified_at;
            let Advanced { subscription, mut told } = held.subscription.advance(now, held.price.amount);
            let money = Money { payer: payment.payer, amount: payment.amount, currency: payment.currency };
            Ok(match subscription.pay(money, now, held.price) {
                Ok((paid, period)) => {
                    told.extend(paid.told);
                    Ok(Some((Advanced { subscription: paid.subscription, told }, period)))
                }
                Err(why) => Err(Objection::Subscription(why)),
            })
        }

        /// Writes what follows from a payment that was booked.
        async fn apply(
            connection: &mut $connection,
            payment: &Payment,
            plan: Plan,
        ) -> Result<(), sqlx::Error> {
            if let Some((agent, unit, spent)) = plan.spent {
                capture(connection, &agent, unit, Day::of(payment.verified_at), spent).await?;
            }
            if let Some((advanced, period)) = plan.paid {
                subscriptions::write(connection, &advanced, Some(&payment.id)).await?;
                subscriptions::note_paid(connection, &advanced.subscription.id, &period, payment).await?;
            }
            Ok(())
        }
    };
}
pub(super) use consequential_transactions;
