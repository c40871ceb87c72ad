//! Keys and what comes from them: who may make one, how many there may be, and how they end together.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::{
    api_keys::{
        Created, EndedKey, Environment, Guard, Hindrance, KeyCounts, KeyEvent, KeyEventKind, KeysOf,
        MADE_WITHIN, Rotation, RotationOutcome, StoredKey, Together,
    },
    clock::UnixMs,
    ids::ApiKeyId,
    store::Books,
};

use super::{
    Backend,
    api_keys::{NOW, create, event, key, rotation},
    on_both,
};

on_both!(
    a_key_that_has_ended_makes_none,
    a_key_makes_none_that_outlives_it,
    a_user_has_no_more_keys_than_allowed,
    rotated_keys_are_counted_apart,
    a_user_gets_no_more_keys_a_day_than_allowed,
    what_comes_from_a_key_is_found,
    a_line_ends_as_a_whole,
    nothing_escapes_the_end_of_a_line,
    all_of_a_user_end_together,
    what_ended_long_ago_is_removed_and_its_trail_kept,
    a_removed_key_still_ties_its_line_together,
    a_long_line_ends_too,
);

fn id(number: u64) -> ApiKeyId {
    key(number).record.id
}

fn ended(number: u64) -> EndedKey {
    let record = key(number).record;
    EndedKey { id: record.id, prefix: record.prefix }
}

/// That `actor` made the key.
fn made_by(actor: u64, key: &StoredKey) -> KeyEvent {
    KeyEvent { actor: id(actor).to_string(), ..event(key, KeyEventKind::Created) }
}

fn guard(actor: u64) -> Guard {
    Guard { actor: Some(id(actor)), ..Guard::default() }
}

async fn make(books: &Books, actor: u64, number: u64) -> Created {
    let key = key(number);
    books.api_keys.create_key(&key, &made_by(actor, &key), &guard(actor)).await.unwrap()
}

fn rotated_by(actor: u64, old: u64, number: u64) -> Rotation {
    Rotation { guard: guard(actor), ..rotation(&key(old), key(number), UnixMs(NOW.0 + 1000)) }
}

fn revoked(key: &ApiKeyId) -> KeyEvent {
    KeyEvent { key: key.clone(), ..event(&self::key(0), KeyEventKind::Revoked) }
}

async fn revoke(books: &Books, number: u64) {
    assert!(books.api_keys.revoke_key(&revoked(&id(number))).await.unwrap());
}

const OF_USER: Option<KeysOf<'static>> = Some(KeysOf { user: "user", environment: None });

async fn count(books: &Books, at: UnixMs) -> KeyCounts {
    books.api_keys.count_keys("user", Environment::Test, at).await.unwrap()
}

async fn descendants(books: &Books, number: u64) -> Vec<u64> {
    let found = books.api_keys.descendants(&id(number), NOW).await.unwrap();
    found.iter().map(|id| id.as_str()["key_".len()..].parse().unwrap()).collect()
}

async fn a_key_that_has_ended_makes_none(backend: Backend) {
    let books = backend.books().await;
    for number in [1, 3, 10] {
        create(&books, &key(number)).await;
    }
    let mut expired = key(2);
    expired.record.expires_at = Some(NOW);
    create(&books, &expired).await;
    assert_eq!(make(&books, 1, 100).await, Created::Kept);
    revoke(&books, 3).await;
    let ended = Hindrance::ActorEnded;
    // Expired, revoked, never there.
    for actor in [2, 3, 4] {
        assert_eq!(make(&books, actor, 101).await, Created::Hindered(ended), "{actor}");
        let outcome = books.api_keys.rotate_key(&rotated_by(actor, 10, 102)).await.unwrap();
        assert_eq!(outcome, RotationOutcome::Hindered(ended), "{actor}");
    }
    assert_eq!(books.api_keys.list_keys(None, 50, 0).await.unwrap().total, 5, "nothing was written");
    let untouched = books.api_keys.find_key(id(10).as_str()).await.unwrap().unwrap();
    assert_eq!(untouched, key(10).record);
    assert_eq!(books.api_keys.rotate_key(&rotated_by(1, 10, 102)).await.unwrap(), RotationOutcome::Rotated);
}

/// As it would if it was rotated since the request came in.
async fn a_key_makes_none_that_outlives_it(backend: Backend) {
    let books = backend.books().await;
    create(&books, &key(1)).await;
    assert_eq!(books.api_keys.rotate_key(&rotated_by(1, 1, 2)).await.unwrap(), RotationOutcome::Rotated);
    assert_eq!(make(&books, 1, 3).await, Created::Hindered(Hindrance::ActorEndsSooner));
    create(&books, &key(4)).await;
    let outcome = books.api_keys.rotate_key(&rotated_by(1, 4, 5)).await.unwrap();
    assert_eq!(outcome, RotationOutcome::Hindered(Hindrance::ActorEndsSooner));
    let mut brief = key(3);
    brief.record.expires_at = Some(UnixMs(NOW.0 + 1000));
    let created = books.api_keys.create_key(&brief, &made_by(1, &brief), &guard(1)).await.unwrap();
    assert_eq!(created, Created::Kept);
}

async fn a_user_has_no_more_keys_than_allowed(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    create(&instances[0], &key(0)).await;
    let making = (1..=32).map(|number| {
        let store = instances[usize::from(number % 2 == 0)].api_keys.clone();
        let guard = Guard { actor: Some(id(0)), max_active: Some(5), max_made: None };
        tokio::spawn(async move {
            let key = key(number);
            store.create_key(&key, &made_by(0, &key), &guard).await.unwrap()
        })
    });
    let made: Vec<Created> = join_all(making).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|made| **made == Created::Kept).count(), 4, "{made:?}");
    let too_many = Created::Hindered(Hindrance::TooMany);
    assert!(made.iter().all(|made| [Created::Kept, too_many].contains(made)), "{made:?}");
    let books = &instances[1];
    let counts = count(books, NOW).await;
    assert_eq!(counts, KeyCounts { standing: 5, replaced: 0, made: 5 });
    // Others are not counted, nor is what has ended.
    let bounded = Guard { max_active: Some(5), ..Guard::default() };
    let mut others = key(40);
    "another".clone_into(&mut others.record.user);
    let created = books.api_keys.create_key(&others, &event(&others, KeyEventKind::Created), &bounded).await;
    assert_eq!(created.unwrap(), Created::Kept);
    revoke(books, 0).await;
    let created =
        books.api_keys.create_key(&key(41), &event(&key(41), KeyEventKind::Created), &bounded).await;
    assert_eq!(created.unwrap(), Created::Kept);
}

async fn rotated_keys_are_counted_apart(backend: Backend) {
    let books = backend.books().await;
    for number in 1..=3 {
        create(&books, &key(number)).await;
    }
    let bounded = |old, number| Rotation {
        guard: Guard { max_active: Some(2), ..Guard::default() },
        ..rotation(&key(old), key(number), UnixMs(NOW.0 + 1000))
    };
    for (old, number, outcome) in [
        (1, 11, RotationOutcome::Rotated),
        (11, 12, RotationOutcome::Rotated),
        (2, 13, RotationOutcome::Hindered(Hindrance::TooMany)),
    ] {
        assert_eq!(books.api_keys.rotate_key(&bounded(old, number)).await.unwrap(), outcome, "{old}");
    }
    assert_eq!(count(&books, NOW).await, KeyCounts { standing: 3, replaced: 2, made: 5 });
    let later = UnixMs(NOW.0 + 1000);
    assert_eq!(count(&books, later).await, KeyCounts { standing: 3, replaced: 0, made: 5 });
}

async fn a_user_gets_no_more_keys_a_day_than_allowed(backend: Backend) {
    let books = backend.books().await;
    let bounded = Guard { max_made: Some(3), ..Guard::default() };
    let make = async |key: StoredKey, at| {
        let created = KeyEvent { at, ..event(&key, KeyEventKind::Created) };
        books.api_keys.create_key(&key, &created, &bounded).await.unwrap()
    };
    // Ended or not.
    for number in 1..=2 {
        assert_eq!(make(key(number), NOW).await, Created::Kept);
        revoke(&books, number).await;
    }
    assert_eq!(make(key(3), NOW).await, Created::Kept);
    let too_many = Hindrance::TooManyMade;
    assert_eq!(make(key(4), NOW).await, Created::Hindered(too_many));
    let rotation = Rotation { guard: bounded.clone(), ..rotation(&key(3), key(4), NOW) };
    let rotated = books.api_keys.rotate_key(&rotation).await.unwrap();
    assert_eq!(rotated, RotationOutcome::Hindered(too_many));
    // Nobody else's, nor those of the other environment, are counted.
    let (mut others, mut live) = (key(5), key(6));
    "another".clone_into(&mut others.record.user);
    (live.record.environment, live.record.prefix) = (Environment::Live, "sk_live_00000006".into());
    for key in [others, live] {
        assert_eq!(make(key, NOW).await, Created::Kept);
    }
    let later = NOW + MADE_WITHIN;
    assert_eq!(make(key(4), UnixMs(later.0 - 1)).await, Created::Hindered(too_many));
    assert_eq!(make(key(4), later).await, Created::Kept);
}

/// 1 made 2, which was rotated to 3 by the operator, which made 4; 1 was rotated to 5 by itself, which made 6. 7 is of
/// another line.
async fn grow(books: &Books) {
    create(books, &key(1)).await;
    assert_eq!(make(books, 1, 2).await, Created::Kept);
    let rotations = [rotation(&key(2), key(3), UnixMs(NOW.0 + 1000)), rotated_by(1, 1, 5)];
    assert_eq!(books.api_keys.rotate_key(&rotations[0]).await.unwrap(), RotationOutcome::Rotated);
    assert_eq!(make(books, 3, 4).await, Created::Kept);
    assert_eq!(books.api_keys.rotate_key(&rotations[1]).await.unwrap(), RotationOutcome::Rotated);
    assert_eq!(make(books, 5, 6).await, Created::Kept);
    create(books, &key(7)).await;
}

async fn what_comes_from_a_key_is_found(backend: Backend) {
    let books = backend.books().await;
    grow(&books).await;
    for (number, expected) in [
        (1, vec![2, 3, 4, 5, 6]),
        (2, vec![3, 4]),
        (3, vec![4]),
        (5, vec![6]),
        (4, vec![]),
        (7, vec![]),
        (9, vec![]),
    ] {
        assert_eq!(descendants(&books, number).await, expected, "{number}");
    }
    // What has ended is left out, but not what comes from it.
    revoke(&books, 3).await;
    assert_eq!(descendants(&books, 1).await, [2, 4, 5, 6]);
    let later = books.api_keys.descendants(&id(1), UnixMs(NOW.0 + 1000)).await.unwrap();
    assert_eq!(later, [id(4), id(5), id(6)]);
    for (number, by) in [(1, "operator"), (2, id(1).as_str()), (3, "operator"), (4, id(3).as_str())] {
        let found = books.api_keys.find_key(id(number).as_str()).await.unwrap().unwrap();
        assert_eq!(found.created_by.as_deref(), Some(by), "{number}");
    }
    let page = books.api_keys.list_keys(OF_USER, 1, 3).await.unwrap();
    assert_eq!(page.keys[0].created_by.as_deref(), Some(id(3).as_str()));
}

async fn a_line_ends_as_a_whole(backend: Backend) {
    let books = backend.books().await;
    grow(&books).await;
    revoke(&books, 4).await;
    let line = id(1);
    let end =
        async || books.api_keys.revoke_together("user", Together::Line(&line), NOW, &revoked).await.unwrap();
    assert_eq!(end().await, [1, 2, 3, 5, 6].map(ended));
    assert_eq!(end().await, [] as [EndedKey; 0], "once");
    for number in 1..=7 {
        let found = books.api_keys.find_key(id(number).as_str()).await.unwrap().unwrap();
        assert_eq!(found.revoked_at, (number != 7).then_some(NOW), "{number}");
    }
}

/// Whoever makes keys from keys all the time, on whichever instance, has none left when the line has ended.
async fn nothing_escapes_the_end_of_a_line(backend: Backend) {
    let instances = [backend.books().await, backend.books().await];
    for round in 0..8_u64 {
        let root = 1000 * (round + 1);
        create(&instances[0], &key(root)).await;
        let makers = (0..4_u64).map(|maker| {
            let books = instances[usize::from(maker % 2 == 0)].clone();
            tokio::spawn(async move {
                let mut actor = root;
                let mut made = 0;
                for number in 1..40 {
                    let next = root + 100 * (maker + 1) + number;
                    match make(&books, actor, next).await {
                        Created::Kept => made += 1,
                        _ => break,
                    }
                    actor = if number % 3 == 0 { root } else { next };
                }
                made
            })
        });
        let makers: Vec<_> = makers.collect();
        while descendants(&instances[1], root).await.len() < 4 {
            tokio::task::yield_now().await;
        }
        let line = id(root);
        let together = Together::Line(&line);
        let ended = instances[1].api_keys.revoke_together("user", together, NOW, &revoked).await.unwrap();
        let made: usize = join_all(makers).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(descendants(&instances[0], root).await, [0; 0]);
        assert_eq!(ended.len(), made + 1, "every key that was made was ended by it");
    }
}

async fn all_of_a_user_end_together(backend: Backend) {
    let books = backend.books().await;
    for number in 1..=4 {
        create(&books, &key(number)).await;
    }
    let mut others = key(5);
    "another".clone_into(&mut others.record.user);
    create(&books, &others).await;
    revoke(&books, 2).await;
    let end = async |user| books.api_keys.revoke_together(user, Together::All, NOW, &revoked).await.unwrap();
    assert_eq!(end("user").await, [1, 3, 4].map(ended));
    assert_eq!(end("user").await, [] as [EndedKey; 0]);
    assert_eq!(end("nobody").await, [] as [EndedKey; 0]);
    assert_eq!(end("another").await, [ended(5)]);
}

/// Key, what, prefix, user, successor.
type Past = (String, String, String, String, Option<String>);

async fn past(backend: &Backend) -> Vec<Past> {
    let select =
        "SELECT key_id, type, prefix, user_id, replaced_by FROM past_api_key_events ORDER BY key_id, type";
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

async fn what_ended_long_ago_is_removed_and_its_trail_kept(backend: Backend) {
    let books = backend.books().await;
    for number in [1, 2, 3] {
        create(&books, &key(number)).await;
    }
    let mut expired = key(4);
    expired.record.expires_at = Some(UnixMs(NOW.0 - 1));
    create(&books, &expired).await;
    revoke(&books, 1).await;
    // 2 works until later, and its successor is revoked before.
    let outcome = books.api_keys.rotate_key(&rotation(&key(2), key(5), UnixMs(NOW.0 + 1000))).await;
    assert_eq!(outcome.unwrap(), RotationOutcome::Rotated);
    revoke(&books, 5).await;
    let purge = async |at, limit| books.api_keys.purge_ended_keys(UnixMs(at), limit).await.unwrap();
    assert_eq!(purge(NOW.0 - 1, 10).await, 0);
    assert_eq!(purge(NOW.0 + 1, 1).await, 1);
    assert_eq!(purge(NOW.0 + 1, 10).await, 1, "1 and 4; while its predecessor is there, a successor stays");
    let left = books.api_keys.list_keys(None, 50, 0).await.unwrap();
    assert_eq!(left.keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>(), [5, 3, 2].map(id));
    assert_eq!(purge(NOW.0 + 2000, 10).await, 1);
    assert_eq!(purge(NOW.0 + 2000, 10).await, 1);
    assert_eq!(purge(NOW.0 + 2000, 10).await, 0);
    assert_eq!(books.api_keys.list_keys(None, 50, 0).await.unwrap().total, 1);

    let told = |number: u64, kind: &str, successor: Option<u64>| -> Past {
        let successor = successor.map(|number| id(number).to_string());
        (id(number).to_string(), kind.to_owned(), key(number).record.prefix, "user".to_owned(), successor)
    };
    let expected = [
        told(1, "created", None),
        told(1, "revoked", None),
        told(2, "created", Some(5)),
        told(2, "rotated", Some(5)),
        told(4, "created", None),
        told(5, "created", None),
        told(5, "revoked", None),
    ];
    assert_eq!(past(&backend).await, expected);
    // Its prefix is free, and instances that do it at once are not in each other's way.
    let mut next = key(8);
    next.record.prefix = key(1).record.prefix;
    create(&books, &next).await;
    let again = backend.books().await;
    revoke(&books, 8).await;
    revoke(&books, 3).await;
    let later = NOW + Duration::from_hours(1);
    let both =
        tokio::join!(books.api_keys.purge_ended_keys(later, 10), again.api_keys.purge_ended_keys(later, 10));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2);
}

async fn a_removed_key_still_ties_its_line_together(backend: Backend) {
    let books = backend.books().await;
    grow(&books).await;
    revoke(&books, 2).await;
    revoke(&books, 5).await;
    // 2 made nothing itself but was rotated; 5 is 1's successor.
    for expected in [1, 0] {
        assert_eq!(books.api_keys.purge_ended_keys(UnixMs(NOW.0 + 1), 10).await.unwrap(), expected);
    }
    assert!(books.api_keys.find_key(id(2).as_str()).await.unwrap().is_none());
    assert_eq!(descendants(&books, 1).await, [3, 4, 6]);
}

/// Two thousand keys, each made with the one before or what that was rotated to: a row in three is one that was rotated,
/// and one in ten has gone to the past.
const LONG_LINE: [&str; 5] = [
    "CREATE TABLE numbers AS WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 2000) \
     SELECT n FROM up",
    "INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms) \
     SELECT 'key_' || (10000 + n), 'sk_test_' || (10000000 + n), 'test', 'n', 'user', '*', '', \
         '$2b$12$01234567890123456789012345678901234567890123456789012', 1 \
     FROM numbers WHERE n = 1 OR n % 10 <> 0",
    "UPDATE api_keys SET expires_at_ms = 1, \
         replaced_by = (SELECT next.id FROM api_keys next WHERE next.id > api_keys.id ORDER BY next.id LIMIT 1) \
     WHERE id IN (SELECT 'key_' || (10000 + n) FROM numbers WHERE n % 3 = 0 AND n % 10 <> 9)",
    "INSERT INTO api_key_events (id, key_id, type, actor, occurred_at_ms) \
     SELECT 'evt_' || n, 'key_' || (10000 + n), 'created', 'key_' || (9999 + n), 1 \
     FROM numbers WHERE n > 1 AND n % 10 <> 0 AND ((n - 1) % 3 <> 0 OR (n - 1) % 10 IN (0, 9))",
    "INSERT INTO past_api_key_events (id, key_id, type, actor, occurred_at_ms, prefix, name, user_id, permissions) \
     SELECT 'evt_' || n, 'key_' || (10000 + n), 'created', 'key_' || (9999 + n), 1, 'p', 'n', 'user', '*' \
     FROM numbers WHERE n % 10 = 0",
];

async fn a_long_line_ends_too(backend: Backend) {
    let books = backend.books().await;
    for statement in LONG_LINE {
        backend.execute(statement).await;
    }
    let first = ApiKeyId::from_stored("key_10001".to_owned());
    let all = books.api_keys.list_keys(OF_USER, 1, 0).await.unwrap();
    let counts = count(&books, NOW).await;
    assert!(all.total > 1700 && counts.standing > 1000, "{counts:?} of {}", all.total);
    let found = books.api_keys.descendants(&first, NOW).await.unwrap();
    assert_eq!(found.len() as u64, counts.standing - 1);
    assert!(found.is_sorted());
    let line = Together::Line(&first);
    let ended = books.api_keys.revoke_together("user", line, NOW, &revoked).await.unwrap();
    assert_eq!(ended.len() as u64, counts.standing);
    assert_eq!(count(&books, NOW).await.standing, 0);
}
