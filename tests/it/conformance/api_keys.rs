//! API keys, their audit trail, and the server's own secrets.

use futures_util::future::join_all;
use pay402::{
    api_keys::{
        ApiKeyRecord, Created, Environment, Guard, KeyEvent, KeyEventKind, KeysOf, Rotation, RotationOutcome,
        Scope, Scopes, StoredKey,
    },
    clock::UnixMs,
    ids::{ApiKeyId, EventId, OsEntropy},
    server_secrets::{ServerSecret, server_secret},
    store_error::StoreError,
};
use solana_pubkey::Pubkey;

use super::{Backend, on_both};

on_both!(
    what_is_kept_is_found_as_it_was,
    a_prefix_is_taken_once,
    rows_that_make_no_sense_are_rejected,
    keys_come_in_pages_newest_first,
    of_many_rotations_at_once_one_comes_about,
    a_rotated_key_ends_no_later_than_it_would_have,
    an_ended_key_is_not_rotated,
    of_many_revocations_at_once_one_is_told,
    rotation_and_revocation_cross,
    the_time_of_use_moves_forwards_only,
    instances_that_note_the_same_keys_do_not_stand_in_each_others_way,
    every_instance_has_the_same_secret,
);

pub(super) const NOW: UnixMs = UnixMs(1_790_000_000_000);
const HASH: &str = "$2b$12$0123456789012345678901234567890123456789012345678901x";

/// The operator's.
const FREE: Guard = Guard { actor: None, max_active: None, max_made: None };

pub(super) fn key(number: u64) -> StoredKey {
    let record = ApiKeyRecord {
        id: ApiKeyId::from_stored(format!("key_{number:026}")),
        prefix: format!("sk_test_{number:08}"),
        environment: Environment::Test,
        name: "a name".to_owned(),
        user: "user".to_owned(),
        scopes: Scopes::EVERYTHING,
        recipients: Vec::new(),
        created_at: NOW,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
        replaced_by: None,
        created_by: Some("operator".to_owned()),
    };
    StoredKey { record, hash: HASH.to_owned() }
}

pub(super) fn event(key: &StoredKey, kind: KeyEventKind) -> KeyEvent {
    let id = EventId::new(NOW, &OsEntropy);
    KeyEvent { id, key: key.record.id.clone(), kind, actor: "operator".to_owned(), at: NOW }
}

pub(super) async fn create(books: &pay402::store::Books, key: &StoredKey) {
    let created = books.api_keys.create_key(key, &event(key, KeyEventKind::Created), &FREE).await.unwrap();
    assert_eq!(created, Created::Kept);
}

pub(super) fn rotation(old: &StoredKey, successor: StoredKey, old_ends_at: UnixMs) -> Rotation {
    let events = [event(&successor, KeyEventKind::Created), event(old, KeyEventKind::Rotated)];
    Rotation { old: old.record.id.clone(), old_ends_at, successor, events, at: NOW, guard: FREE }
}

/// The audit trail: which key, what, who, when.
async fn trail(backend: &Backend) -> Vec<(String, String, String, i64)> {
    let select = "SELECT key_id, type, actor, occurred_at_ms FROM api_key_events ORDER BY key_id, type";
    match backend {
        Backend::Sqlite(folder) => {
            let url = format!("sqlite://{}", folder.path().join("books.db").display());
            let database = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query_as(select).fetch_all(&database).await.unwrap()
        }
        Backend::Postgres(server) => {
            sqlx::query_as(select).fetch_all(&mut server.connect().await).await.unwrap()
        }
    }
}

fn told(key: &StoredKey, kind: &str) -> (String, String, String, i64) {
    (key.record.id.to_string(), kind.to_owned(), "operator".to_owned(), NOW.0)
}

async fn what_is_kept_is_found_as_it_was(backend: Backend) {
    let books = backend.books().await;
    let mut full = key(1);
    full.record.prefix = "sk_live_abcdefgh".into();
    full.record.environment = Environment::Live;
    full.record.name = "l'été \u{1f680} ' OR 1=1 --".into();
    full.record.scopes = Scopes::NONE.with(Scope::Verify).with(Scope::KeysManage);
    full.record.recipients = vec![Pubkey::new_from_array([2; 32]), Pubkey::new_from_array([3; 32])];
    full.record.expires_at = Some(UnixMs(i64::MAX));
    for key in [full, key(2)] {
        create(&books, &key).await;
        let found = books.api_keys.key_by_prefix(&key.record.prefix).await.unwrap().unwrap();
        assert_eq!((&found.record, &found.hash), (&key.record, &key.hash));
        for name in [key.record.id.as_str(), &key.record.prefix] {
            assert_eq!(books.api_keys.find_key(name).await.unwrap().as_ref(), Some(&key.record));
        }
        assert!(!format!("{found:?}").contains(HASH));
    }
    for strange in ["", "sk_test_", "SK_TEST_00000002", "sk_test_0000000_", "a\0b", "%"] {
        assert!(books.api_keys.find_key(strange).await.unwrap().is_none(), "{strange:?}");
    }
    assert_eq!(trail(&backend).await, [told(&key(1), "created"), told(&key(2), "created")]);
}

async fn a_prefix_is_taken_once(backend: Backend) {
    let books = backend.books().await;
    create(&books, &key(1)).await;
    let mut rival = key(2);
    rival.record.prefix = key(1).record.prefix;
    let created =
        books.api_keys.create_key(&rival, &event(&rival, KeyEventKind::Created), &FREE).await.unwrap();
    assert_eq!(created, Created::PrefixTaken);
    let rotated = books.api_keys.rotate_key(&rotation(&key(1), rival, NOW)).await.unwrap();
    assert_eq!(rotated, RotationOutcome::PrefixTaken);
    let found = books.api_keys.key_by_prefix(&key(1).record.prefix).await.unwrap().unwrap();
    assert_eq!(found.record, key(1).record);
    assert_eq!(trail(&backend).await, [told(&key(1), "created")], "nothing is told of what did not happen");
}

async fn rows_that_make_no_sense_are_rejected(backend: Backend) {
    let books = backend.books().await;
    let spoil: [fn(&mut StoredKey); 6] = [
        |key| key.hash = "sk_test_the_plain_key".into(),
        |key| key.hash = HASH.replacen("$12$", "$04$", 1),
        |key| key.record.environment = Environment::Live,
        |key| key.record.prefix = "sk_test_".into(),
        |key| key.record.scopes = Scopes::NONE,
        |key| key.record.name = String::new(),
    ];
    for spoil in spoil {
        let mut spoilt = key(1);
        spoil(&mut spoilt);
        let outcome = books.api_keys.create_key(&spoilt, &event(&spoilt, KeyEventKind::Created), &FREE).await;
        assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{spoilt:?}: {outcome:?}");
    }
    // An event without its key.
    let outcome = books.api_keys.create_key(&key(1), &event(&key(2), KeyEventKind::Created), &FREE).await;
    assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{outcome:?}");
    assert_eq!(books.api_keys.list_keys(None, 50, 0).await.unwrap().total, 0, "neither without the other");
}

async fn keys_come_in_pages_newest_first(backend: Backend) {
    let books = backend.books().await;
    for number in 1..=6 {
        let mut key = key(number);
        if number % 2 == 0 {
            key.record.user = "another".into();
        }
        if number == 4 {
            (key.record.environment, key.record.prefix) = (Environment::Live, "sk_live_00000004".into());
        }
        create(&books, &key).await;
    }
    let page = async |of, limit, offset| {
        let page = books.api_keys.list_keys(of, limit, offset).await.unwrap();
        let numbers = page.keys.iter().map(|key| key.prefix[8..].parse().unwrap());
        (numbers.collect::<Vec<u64>>(), page.total)
    };
    let of = |user| Some(KeysOf { user, environment: None });
    assert_eq!(page(of("user"), 50, 0).await, (vec![5, 3, 1], 3));
    assert_eq!(page(of("another"), 2, 1).await, (vec![4, 2], 3));
    assert_eq!(page(of("nobody"), 50, 0).await, (vec![], 0));
    for (environment, expected) in [(Environment::Test, vec![6, 2]), (Environment::Live, vec![4])] {
        let of = Some(KeysOf { user: "another", environment: Some(environment) });
        let total = expected.len() as u64;
        assert_eq!(page(of, 50, 0).await, (expected, total));
    }
    assert_eq!(page(None, 4, 0).await, (vec![6, 5, 4, 3], 6));
    assert_eq!(page(None, 4, 4).await, (vec![2, 1], 6));
}

async fn of_many_rotations_at_once_one_comes_about(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    create(&instances[0], &key(0)).await;
    let rotations = (1..=64).map(|number| {
        let store = instances[number % 2].api_keys.clone();
        let rotation = rotation(&key(0), key(number as u64), NOW);
        tokio::spawn(async move { (number as u64, store.rotate_key(&rotation).await.unwrap()) })
    });
    let outcomes: Vec<_> = join_all(rotations).await.into_iter().map(Result::unwrap).collect();
    let won: Vec<u64> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == RotationOutcome::Rotated)
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let lost = outcomes.iter().filter(|(_, outcome)| *outcome == RotationOutcome::Over).count();
    assert_eq!(lost, 63);
    let old = instances[1].api_keys.find_key(key(0).record.id.as_str()).await.unwrap().unwrap();
    assert_eq!(old.replaced_by, Some(key(won[0]).record.id));
    assert_eq!(instances[1].api_keys.list_keys(None, 50, 0).await.unwrap().total, 2, "no other was made");
    let expected = [told(&key(0), "created"), told(&key(0), "rotated"), told(&key(won[0]), "created")];
    assert_eq!(trail(&backend).await, expected);
}

async fn a_rotated_key_ends_no_later_than_it_would_have(backend: Backend) {
    let books = backend.books().await;
    let later = UnixMs(NOW.0 + 1000);
    for (number, own, ends_at) in [
        (1, None, later),
        (2, Some(UnixMs(NOW.0 + 1)), UnixMs(NOW.0 + 1)),
        (3, Some(UnixMs(i64::MAX)), later),
    ] {
        let mut old = key(number);
        old.record.expires_at = own;
        create(&books, &old).await;
        let outcome = books.api_keys.rotate_key(&rotation(&old, key(number + 10), later)).await.unwrap();
        assert_eq!(outcome, RotationOutcome::Rotated);
        let found = books.api_keys.find_key(old.record.id.as_str()).await.unwrap().unwrap();
        assert_eq!(found.expires_at, Some(ends_at), "{own:?}");
    }
}

async fn an_ended_key_is_not_rotated(backend: Backend) {
    let books = backend.books().await;
    let mut expired = key(1);
    expired.record.expires_at = Some(NOW);
    create(&books, &expired).await;
    create(&books, &key(2)).await;
    assert!(books.api_keys.revoke_key(&event(&key(2), KeyEventKind::Revoked)).await.unwrap());
    for old in [expired, key(2), key(3)] {
        let outcome = books.api_keys.rotate_key(&rotation(&old, key(10), NOW)).await.unwrap();
        assert_eq!(outcome, RotationOutcome::Over, "{old:?}");
    }
    assert_eq!(books.api_keys.list_keys(None, 50, 0).await.unwrap().total, 2);
}

async fn of_many_revocations_at_once_one_is_told(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    create(&instances[0], &key(1)).await;
    let revocations = (0..64).map(|number: i64| {
        let store = instances[usize::from(number % 2 == 0)].api_keys.clone();
        let revoked = KeyEvent { at: UnixMs(NOW.0 + number), ..event(&key(1), KeyEventKind::Revoked) };
        tokio::spawn(async move { store.revoke_key(&revoked).await.unwrap().then_some(revoked.at) })
    });
    let told: Vec<UnixMs> = join_all(revocations).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let found = instances[1].api_keys.find_key(key(1).record.id.as_str()).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(told[0]));
    assert_eq!(trail(&backend).await.len(), 2);
    let nobody = instances[0].api_keys.revoke_key(&event(&key(9), KeyEventKind::Revoked)).await.unwrap();
    assert!(!nobody);
}

/// Whichever comes first: a revoked key has no successor that was made later, and a rotated one can be revoked.
async fn rotation_and_revocation_cross(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    for number in 0..16 {
        let old = key(number);
        create(&instances[0], &old).await;
        let rotation = rotation(&old, key(number + 100), UnixMs(NOW.0 + 1000));
        let revoked = event(&old, KeyEventKind::Revoked);
        let (rotated, revoked) = tokio::join!(
            instances[0].api_keys.rotate_key(&rotation),
            instances[1].api_keys.revoke_key(&revoked)
        );
        assert!(revoked.unwrap());
        let found = instances[0].api_keys.find_key(old.record.id.as_str()).await.unwrap().unwrap();
        assert!(found.revoked_at.is_some());
        let successor = instances[0].api_keys.find_key(key(number + 100).record.id.as_str()).await.unwrap();
        let rotated = rotated.unwrap() == RotationOutcome::Rotated;
        assert_eq!((found.replaced_by.is_some(), successor.is_some()), (rotated, rotated));
    }
}

async fn the_time_of_use_moves_forwards_only(backend: Backend) {
    let store = backend.books().await.api_keys;
    for number in 1..=3 {
        let key = key(number);
        store.create_key(&key, &event(&key, KeyEventKind::Created), &FREE).await.unwrap();
    }
    let id = |number: u64| key(number).record.id;
    store.note_use(&[(id(1), UnixMs(10)), (id(2), UnixMs(20)), (id(9), UnixMs(5))]).await.unwrap();
    store.note_use(&[(id(1), UnixMs(9)), (id(2), UnixMs(21))]).await.unwrap();
    store.note_use(&[]).await.unwrap();
    for (number, expected) in [(1, Some(10)), (2, Some(21)), (3, None)] {
        let found = store.find_key(id(number).as_str()).await.unwrap().unwrap();
        assert_eq!(found.last_used_at, expected.map(UnixMs));
    }
}

async fn instances_that_note_the_same_keys_do_not_stand_in_each_others_way(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    for number in 0..50 {
        create(&instances[0], &key(number)).await;
    }
    let rounds = (0..32).map(|round: i64| {
        let store = instances[usize::from(round % 2 == 0)].api_keys.clone();
        let mut used: Vec<_> = (0..50).map(|number| (key(number).record.id, UnixMs(NOW.0 + round))).collect();
        if round % 2 == 0 {
            used.reverse();
        }
        tokio::spawn(async move { store.note_use(&used).await.unwrap() })
    });
    join_all(rounds).await.into_iter().for_each(Result::unwrap);
    let page = instances[1].api_keys.list_keys(None, 50, 0).await.unwrap();
    assert!(page.keys.iter().all(|key| key.last_used_at == Some(UnixMs(NOW.0 + 31))), "{page:?}");
}

async fn every_instance_has_the_same_secret(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    let asking = (0..64).map(|number| {
        let store = instances[number % 2].secrets.clone();
        tokio::spawn(async move { server_secret(store.as_ref(), "a", &OsEntropy).await.unwrap() })
    });
    let secrets: Vec<ServerSecret> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
    assert!(secrets.windows(2).all(|pair| pair[0].expose() == pair[1].expose()), "they differ");
    assert_ne!(*secrets[0].expose(), [0; 32]);
    let other = server_secret(instances[0].secrets.as_ref(), "b", &OsEntropy).await.unwrap();
    assert_ne!(other.expose(), secrets[0].expose());
    let found = instances[1].secrets.find_secret("b").await.unwrap().unwrap();
    assert_eq!(found.expose(), other.expose());
    assert!(instances[1].secrets.find_secret("c").await.unwrap().is_none());
}
