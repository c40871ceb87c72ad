//! Agents in the books.

use futures_util::future::join_all;
use pay402::{
    agents::{
        Agent, AgentPatch, AllowedServices, Created, Limits, Reputation, Spending, UnitLimits, Updated,
    },
    clock::UnixMs,
    ids::{AgentId, EventId},
    money::Amount,
};
use solana_pubkey::Pubkey;

use super::{Backend, OWNER, on_both};

on_both!(
    what_is_kept_is_found_as_it_was,
    strange_names_find_nothing,
    a_wallet_is_kept_once,
    a_change_and_a_deletion_at_once,
);

/// The agent of this number: no two have anything in common that must be unique.
pub fn registered(number: u8) -> Agent {
    Agent {
        id: AgentId::from_stored(format!("agent_{number:026}")),
        owner: OWNER.to_owned(),
        name: format!("agent {number}"),
        public_key: Pubkey::new_from_array([number; 32]),
        limits: Limits::default(),
        allowed_services: None,
        reputation: Reputation::default(),
        metadata: None,
        created_at: UnixMs(1_700_000_000_000),
        updated_at: UnixMs(1_700_000_000_000),
    }
}

/// Events that nobody else writes.
pub fn event(number: u64) -> EventId {
    EventId::from_stored(format!("evt_of_agent_{number}"))
}

async fn what_is_kept_is_found_as_it_was(backend: Backend) {
    let store = backend.books().await.agents;
    let all = UnitLimits { daily: Some(Amount::MAX), per_transaction: Some(0) };
    let full = Agent {
        name: "l'été \u{1f680} ' OR 1=1 --".to_owned(),
        limits: Limits { stable: all, sol: UnitLimits { daily: Some(1), per_transaction: None } },
        allowed_services: Some(
            AllowedServices::parse(vec!["/v1/*".to_owned(), "https://*.example.com/ü\"".to_owned()]).unwrap(),
        ),
        metadata: Some(r#"{"b": 1,  "a":" ' \" ü", "c": 1.10}"#.to_owned()),
        ..registered(1)
    };
    for (number, agent) in (0..).zip([full, registered(2)]) {
        assert_eq!(store.create(&agent, &event(number)).await.unwrap(), Created::Kept);
        for name in [agent.id.to_string(), agent.public_key.to_string()] {
            assert_eq!(store.find(OWNER, &name).await.unwrap().as_ref(), Some(&agent));
            assert_eq!(store.find("another", &name).await.unwrap(), None);
        }
        assert_eq!(store.spending(&agent.id, agent.created_at).await.unwrap(), Spending::default());
    }
    let page = store.list(OWNER, 1, 1).await.unwrap();
    assert_eq!((page.total, page.agents.len(), page.agents[0].id.clone()), (2, 1, registered(1).id));
    assert_eq!(store.list("another", 50, 0).await.unwrap().total, 0);
}

async fn strange_names_find_nothing(backend: Backend) {
    let store = backend.books().await.agents;
    store.create(&registered(1), &event(1)).await.unwrap();
    for strange in ["", "AGENT", "agent_%", "a\0b", "' OR 1=1 --"] {
        assert_eq!(store.find(OWNER, strange).await.unwrap(), None, "{strange:?}");
        let patch = AgentPatch::default();
        let updated = store.update(OWNER, strange, &patch, UnixMs(1), &event(2)).await.unwrap();
        assert_eq!(updated, Updated::NotFound);
        assert_eq!(store.delete(OWNER, strange, UnixMs(1), &event(3)).await.unwrap(), None);
    }
}

async fn a_wallet_is_kept_once(backend: Backend) {
    let (first, second) = (backend.books().await.agents, backend.open().await.agents);
    let creating = (0..16).map(|number: u8| {
        let agent = Agent { public_key: Pubkey::new_from_array([99; 32]), ..registered(number) };
        let store = if number.is_multiple_of(2) { first.clone() } else { second.clone() };
        async move { store.create(&agent, &event(number.into())).await.unwrap() }
    });
    let created = join_all(creating).await;
    assert_eq!(created.iter().filter(|outcome| **outcome == Created::Kept).count(), 1);
    let kept = first.list(OWNER, 50, 0).await.unwrap().agents;
    assert_eq!(kept.len(), 1);
    for outcome in created {
        assert!(matches!(&outcome, Created::Kept) || outcome == Created::WalletTaken(kept[0].id.clone()));
    }
}

/// Whatever comes first, the agent is deleted in the end, once.
async fn a_change_and_a_deletion_at_once(backend: Backend) {
    let store = backend.books().await.agents;
    let agent = registered(1);
    store.create(&agent, &event(0)).await.unwrap();
    let patch = AgentPatch::parse(br#"{"name": "changed"}"#).unwrap();
    let at = UnixMs(agent.created_at.0 - 5);
    let (changed, deleted) = tokio::join!(
        join_all(
            (1..5)
                .map(async |number| store.update(OWNER, agent.id.as_str(), &patch, at, &event(number)).await)
        ),
        join_all((5..9).map(async |number| store.delete(OWNER, agent.id.as_str(), at, &event(number)).await)),
    );
    assert!(changed.iter().all(|outcome| matches!(outcome, Ok(Updated::Changed(_) | Updated::NotFound))));
    let deleted: Vec<_> = deleted.into_iter().map(Result::unwrap).collect();
    assert_eq!(deleted.iter().flatten().count(), 1, "{deleted:?}");
    assert_eq!(store.find(OWNER, agent.id.as_str()).await.unwrap(), None);
}
