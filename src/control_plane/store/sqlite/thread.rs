//! The threads that own the connections to the embedded store.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use arc_swap::ArcSwapOption;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::sqlite::write;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A store in a SQLite database of this machine.
#[derive(Debug, Clone)]
pub struct Sqlite {
    pub(super) path: PathBuf,
    pub(super) main: Thread,
    /// For logs and prices, once it could be started.
    pub(super) side: Arc<OnceLock<Thread>>,
    /// Why the store can only be read, while that is so.
    pub(super) unwritable: Arc<ArcSwapOption<Error>>,
}

/// A connection and the thread that owns it.
#[derive(Debug, Clone)]
pub(super) struct Thread {
    jobs: Sender<Job>,
    path: PathBuf,
}

impl Thread {
    /// Starts a thread named `name` for a connection.
    pub(super) fn start(path: &Path, name: &str, connection: Result<Connection, Error>) -> Result<Thread, Error> {
        let mut connection = connection?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let serve = move || queue.into_iter().for_each(|job| job(&mut connection));
        match thread::Builder::new().name(name.to_owned()).spawn(serve) {
            Ok(_) => Ok(Thread { jobs, path: path.to_owned() }),
            Err(error) => {
                Err(Error::new(Fault::Unavailable, format!("the thread of the store can't be started: {error}")))
            }
        }
    }

    /// Does `work` on this thread.
    pub(super) fn run<T, E>(&self, work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        write::Refused: From<E>,
    {
        let (reply, done) = oneshot::channel();
        let path = self.path.clone();
        let job = move |connection: &mut Connection| {
            let result = work(connection).map_err(|error| write::Refused::from(error).explain(&path));
            // Who asked may want it no more.
            let _ = reply.send(result);
        };
        // If the thread is gone, so is `reply`.
        let _ = self.jobs.send(Box::new(job));
        Box::pin(async move { done.await.unwrap_or_else(|_| Err(self.gone())) })
    }

    fn gone(&self) -> Error {
        let message = format!("the thread of the store {} has ended by a panic; restart", self.path.display());
        Error::new(Fault::Unavailable, message)
    }
}
