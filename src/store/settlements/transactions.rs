//! What of settling is done in one database transaction, alike on both databases.

/// The database transactions. `$begin` takes the locks that they need.
macro_rules! settlement_transactions {
    ($connection:ty, $begin:literal) => {
        use std::sync::atomic::{AtomicBool, Ordering};

        use sqlx::Connection;

        use $crate::{
            agents::{Agent, Hold, NotAdmitted, SpendingUnit},
            clock::UnixMs,
            ids::{AgentId, EventId, PaymentId},
            payments::settlement::{
                Cap, Claim, Ending, Journal, Journalled, MessageHash, TermsHash, kept_resource,
            },
            store::{
                rows::units,
                settlements::{self, AdoptedRow, SettlementRow, day, number, subject},
            },
        };

        /// `committing` is set before the commit is sent: from then on it may have taken place.
        pub(super) async fn journal(
            connection: &mut $connection,
            journal: &Journal,
            committing: &AtomicBool,
        ) -> Result<Journalled, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            // Before anything else, as where proofs are booked.
            let agent = paying_agent(&mut transaction, journal).await?;
            let refused = if !enter_pending(&mut transaction, journal, agent.as_ref()).await? {
                Some(why_not(&mut transaction, &journal.claim, Journalled::SignatureUsed).await?)
            } else if !write_down(&mut transaction, journal).await? {
                Some(why_not(&mut transaction, &journal.claim, Journalled::ClaimLost).await?)
            } else if let Some(Err(why)) = hold_for(&mut transaction, journal, agent.as_ref()).await? {
                Some(Journalled::NotAdmitted(why))
            } else {
                reserve(&mut transaction, journal).await?.map(Journalled::CapReached)
            };
            if let Some(refused) = refused {
                transaction.rollback().await?;
                return Ok(refused);
            }
            committing.store(true, Ordering::Relaxed);
            transaction.commit().await?;
            Ok(Journalled::Done)
        }

        /// The agent that pays, locked. One that was deleted since has no limits any more, but its wallet may be
        /// registered anew.
        async fn paying_agent(
            connection: &mut $connection,
            journal: &Journal,
        ) -> Result<Option<Agent>, sqlx::Error> {
            let new = &journal.settlement;
            let Some(id) = &new.agent else { return Ok(None) };
            let agent = lock_agent(&mut *connection, id).await?;
            let (None, Some(owner)) = (&agent, &new.owner) else { return Ok(agent) };
            match lock_wallet(&mut *connection, &new.payer.to_string(), owner).await? {
                Some(id) => lock_agent(connection, &id).await,
                None => Ok(None),
            }
        }

        async fn hold_for(
            connection: &mut $connection,
            journal: &Journal,
            agent: Option<&Agent>,
        ) -> Result<Option<Result<(), NotAdmitted>>, sqlx::Error> {
            let Some(agent) = agent else { return Ok(None) };
            let new = &journal.settlement;
            let wanted = Hold {
                message: journal.claim.message.0,
                agent: agent.id.clone(),
                unit: new.currency.map(SpendingUnit::of),
                amount: new.amount,
                resource: new.resource.clone(),
                at: journal.at,
            };
            hold(connection, agent, &wanted, None).await.map(Some)
        }

        async fn enter_pending(
            connection: &mut $connection,
            journal: &Journal,
            agent: Option<&Agent>,
        ) -> Result<bool, sqlx::Error> {
            let new = &journal.settlement;
            let entered = sqlx::query(settlements::ENTER_PENDING)
                .bind(journal.payment.as_str())
                .bind(&new.owner)
                .bind(new.signature.to_string())
                .bind(new.payer.to_string())
                .bind(new.pay_to.to_string())
                .bind(new.currency.map(|currency| currency.as_str()))
                .bind(units(new.amount))
                .bind(new.resource.as_deref().map(kept_resource))
                .bind(new.network.as_str())
                .bind(journal.at.0)
                .bind(new.asset.to_string())
                .bind(number(journal.last_valid_block_height))
                .bind(agent.map(|agent| agent.id.as_str()))
                .execute(connection)
                .await?;
            Ok(entered.rows_affected() == 1)
        }

        /// Whether the same attempt has journalled before, or somebody else has the claim.
        async fn why_not(
            connection: &mut $connection,
            claim: &Claim,
            otherwise: Journalled,
        ) -> Result<Journalled, sqlx::Error> {
            let row: Option<(String, String)> =
                sqlx::query_as("SELECT attempt, state FROM settlements WHERE message = $1")
                    .bind(claim.message.0.as_slice())
                    .fetch_optional(connection)
                    .await?;
            Ok(match row {
                Some((attempt, _)) if attempt != claim.attempt => Journalled::ClaimLost,
                Some((_, state)) if state != "claimed" => Journalled::Done,
                Some(_) => otherwise,
                None => Journalled::ClaimLost,
            })
        }

        async fn write_down(connection: &mut $connection, journal: &Journal) -> Result<bool, sqlx::Error> {
            let new = &journal.settlement;
            let written = sqlx::query(settlements::JOURNAL)
                .bind(journal.claim.message.0.as_slice())
                .bind(&journal.claim.attempt)
                .bind(&journal.claim.holder)
                .bind(journal.lease_until.0)
                .bind(journal.payment.as_str())
                .bind(new.signature.to_string())
                .bind(new.fee_payer.to_string())
                .bind(i64::from(new.x402_version))
                .bind(number(journal.last_valid_block_height))
                .bind(&new.key_id)
                .bind(number(new.max_fee_lamports))
                .bind(journal.at.0)
                .bind(new.transaction.as_slice())
                .execute(connection)
                .await?;
            Ok(written.rows_affected() == 1)
        }

        /// Reserves the fee, of the key's day first and then of everyone's, which is held the shortest; the cap that is
        /// in the way.
        async fn reserve(
            connection: &mut $connection,
            journal: &Journal,
        ) -> Result<Option<Cap>, sqlx::Error> {
            let key = journal.settlement.key_id.as_deref();
            let key = key.map(|key| (Cap::Key, subject(Some(key)), journal.caps.per_key_lamports));
            let all = (Cap::Total, subject(None), journal.caps.total_lamports);
            for (cap, subject, lamports) in key.into_iter().chain([all]) {
                let reserved = sqlx::query(settlements::RESERVE_FEE)
                    .bind(day(journal.at))
                    .bind(subject)
                    .bind(number(journal.settlement.max_fee_lamports))
                    .bind(lamports.map_or(i64::MAX, number))
                    .execute(&mut *connection)
                    .await?;
                if reserved.rows_affected() == 0 {
                    return Ok(Some(cap));
                }
            }
            Ok(None)
        }

        /// What stands there afterwards, and whether this call ended it.
        pub(super) async fn finish(
            connection: &mut $connection,
            message: &MessageHash,
            ending: &Ending,
            at: UnixMs,
        ) -> Result<(Option<SettlementRow>, bool), sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let failure = match ending {
                Ending::Failed { reason, .. } => Some(reason),
                Ending::Settled { .. } | Ending::Expired => None,
            };
            let ended: Option<(String, Option<String>, i64, i64)> = sqlx::query_as(settlements::END)
                .bind(message.0.as_slice())
                .bind(ending.as_str())
                .bind(failure)
                .bind(at.0)
                .fetch_optional(&mut *transaction)
                .await?;
            let mut fee_of = None;
            if let Some((payment, key_id, fee, journalled_at_ms)) = ended {
                let payment = PaymentId::from_stored(payment);
                let agent = end_payment(&mut transaction, payment, ending, at).await?;
                if let Some(agent) = agent.map(AgentId::from_stored) {
                    end_hold(&mut transaction, &agent, &message.0, ending).await?;
                }
                fee_of = Some((day(UnixMs(journalled_at_ms)), key_id, fee));
            }
            let row = sqlx::query_as(settlements::FIND_SETTLEMENT)
                .bind(message.0.as_slice())
                .fetch_optional(&mut *transaction)
                .await?;
            let first = fee_of.is_some();
            // Last, since everyone's settlements of a day wait for that row until the commit.
            if let Some((day, key_id, fee)) = fee_of {
                release(&mut transaction, day, key_id.as_deref(), fee, ending.landed()).await?;
            }
            transaction.commit().await?;
            Ok((row, first))
        }

        pub(super) async fn adopt(
            connection: &mut $connection,
            message: &MessageHash,
            terms: &TermsHash,
            owner: &str,
        ) -> Result<bool, sqlx::Error> {
            let mut transaction = connection.begin_with($begin).await?;
            let adopted: Option<AdoptedRow> = sqlx::query_as(settlements::ADOPT)
                .bind(message.0.as_slice())
                .bind(terms.0.as_slice())
                .bind(owner)
                .fetch_optional(&mut *transaction)
                .await?;
            if let Some(payment) = &adopted {
                let agent = lock_wallet(&mut transaction, &payment.payer, owner).await?;
                if let Some(agent) = &agent {
                    sqlx::query(settlements::ADOPT_AGENT)
                        .bind(&payment.id)
                        .bind(agent.as_str())
                        .execute(&mut *transaction)
                        .await?;
                    count_after_all(&mut transaction, agent, &message.0, payment).await?;
                }
                let events: Vec<String> = sqlx::query_scalar(settlements::ADOPT_EVENTS)
                    .bind(&payment.id)
                    .bind(owner)
                    .bind(agent.as_ref().map(AgentId::as_str))
                    .fetch_all(&mut *transaction)
                    .await?;
                // Last, since the summing up waits for it.
                add_adopted(&mut transaction, &payment.id, &events).await?;
            }
            transaction.commit().await?;
            Ok(adopted.is_some())
        }

        /// The agent that paid.
        async fn end_payment(
            connection: &mut $connection,
            payment: PaymentId,
            ending: &Ending,
            at: UnixMs,
        ) -> Result<Option<String>, sqlx::Error> {
            let (owner, agent): (Option<String>, Option<String>) = sqlx::query_as(settlements::END_PAYMENT)
                .bind(payment.as_str())
                .bind(ending.as_str())
                .bind(ending.slot().map(number))
                .bind(at.0)
                .fetch_one(&mut *connection)
                .await?;
            sqlx::query(settlements::TELL_END)
                .bind(EventId::of_ending(&payment, at).as_str())
                .bind(format!("payment.{}", ending.as_str()))
                .bind(owner)
                .bind(payment.as_str())
                .bind(at.0)
                .bind(&agent)
                .execute(connection)
                .await?;
            Ok(agent)
        }

        /// In the order in which fees are reserved.
        async fn release(
            connection: &mut $connection,
            day: i64,
            key_id: Option<&str>,
            fee: i64,
            landed: bool,
        ) -> Result<(), sqlx::Error> {
            for subject in key_id.map(|key| subject(Some(key))).into_iter().chain([subject(None)]) {
                sqlx::query(settlements::RELEASE_FEE)
                    .bind(day)
                    .bind(subject)
                    .bind(fee)
                    .bind(if landed { fee } else { 0 })
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        }
    };
}
pub(in crate::store) use settlement_transactions;
