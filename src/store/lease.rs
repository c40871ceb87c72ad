//! Connections lent out of a pool.

use std::ops::{Deref, DerefMut};

use sqlx::{Database, Pool, pool::PoolConnection};

/// A connection out of a pool. It goes back only when what was done with it has succeeded: one that was given up on may
/// hang or be in the middle of something, one that failed may lead to a server that is going down or that has become a
/// standby, or to a file that was read-only when it was opened.
#[derive(Debug)]
pub(super) struct Lease<D: Database> {
    connection: PoolConnection<D>,
    sound: bool,
}

impl<D: Database> Lease<D> {
    pub(super) async fn from(pool: &Pool<D>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: pool.acquire().await?, sound: false })
    }

    /// Ends the loan with what came of it.
    pub(super) fn end<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.sound = result.is_ok();
        result
    }
}

impl<D: Database> Deref for Lease<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.connection
    }
}

impl<D: Database> DerefMut for Lease<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.connection
    }
}

impl<D: Database> Drop for Lease<D> {
    fn drop(&mut self) {
        if !self.sound {
            self.connection.close_on_drop();
        }
    }
}
