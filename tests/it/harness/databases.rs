//! One test, on either database.

/// Makes each of these functions, which take a [`TestApp`](super::TestApp), a test on SQLite and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(crate::harness::TestApp::start().await).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let server = crate::harness::postgres::PostgresServer::start().await;
                    let app = crate::harness::TestApp::with(|environment, _| {
                        environment.with("DATABASE_URL", server.url())
                    });
                    super::$name(app.await).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;
