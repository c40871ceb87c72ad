//! Redis killed, hanging or emptied in the middle of settlements: they do not need it.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    books::assert_shown,
    stage::{Stage, Told, outcome, settle},
};
use crate::{
    conformance::{Backend, on_both},
    harness::redis::RedisServer,
};

on_both!(settlements_go_on_whatever_redis_does);

const SLOT_TIME: Duration = Duration::from_millis(400);
/// Payments that are under way when it happens, each asked for at both instances.
const AT_A_TIME: usize = 12;

type Trouble = fn(&mut RedisServer);

async fn settlements_go_on_whatever_redis_does(backend: Backend) {
    let stage = Stage::set(backend, SLOT_TIME).await;
    let mut redis = RedisServer::start();
    let start = || {
        stage.service_with(|command| {
            command.env("REDIS_URL", redis.url());
        })
    };
    let services = [start().await, start().await];
    let troubles: [(&str, Trouble, Trouble); 4] = [
        ("killed", RedisServer::kill9, RedisServer::restart),
        ("paused", |redis| redis.pause(), |redis| redis.resume()),
        ("flushed", |redis| redis.flush(), |_| {}),
        ("restarted empty", RedisServer::restart, |_| {}),
    ];
    let mut told = Vec::new();
    for (what, trouble, mend) in troubles {
        let payments = stage.payments(AT_A_TIME).await;
        let sends = stage.chain.faults().calls("sendTransaction");
        let twins =
            payments.iter().flat_map(|payment| services.iter().map(move |service| (service, payment)));
        let load = join_all(twins.map(async |(service, payment)| {
            let mut answer = settle(&service.url, payment).await;
            if answer == Told::Unavailable {
                // A slow disk may keep so many waiting too long.
                answer = outcome(&service.url, payment).await;
            }
            assert!(matches!(answer, Told::Settled | Told::Pending), "redis {what}: {answer:?}");
        }));
        tokio::join!(load, async {
            // As soon as the first one is under way.
            super::stage::eventually("nothing is sent", async || {
                stage.chain.faults().calls("sendTransaction") > sends
            })
            .await;
            trouble(&mut redis);
        });
        // With the trouble still there.
        for payment in payments {
            let last = outcome(&services[1].url, &payment).await;
            assert_eq!(last, Told::Settled, "redis {what}");
            told.push((payment, last));
        }
        mend(&mut redis);
    }
    stage.assert_true(&told).await;
    assert_shown(&services[0].url, &told).await;
}
