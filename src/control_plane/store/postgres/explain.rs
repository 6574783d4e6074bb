//! Turns PostgreSQL's errors into messages for the operator. None shows the password.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::control_plane::store::error::{Error, Fault};

/// The failure of a query. [`QueryError::explain`] adds the name of the database.
#[derive(Debug)]
pub(super) enum QueryError {
    Postgres(tokio_postgres::Error),
    /// The message lacks its subject.
    Reported(Error),
    /// The message is complete, since it is about a row.
    Row(Error),
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> QueryError {
        QueryError::Postgres(error)
    }
}

/// An error of the migrations, whose message lacks its subject.
impl From<Error> for QueryError {
    fn from(error: Error) -> QueryError {
        QueryError::Reported(error)
    }
}

impl QueryError {
    pub(super) fn explain(self, place: &str) -> Error {
        match self {
            QueryError::Row(error) => error,
            QueryError::Reported(Error { fault, message }) => Error::new(fault, format!("the store {place} {message}")),
            QueryError::Postgres(error) => explain(place, &error),
        }
    }
}

pub(super) fn explain(place: &str, error: &tokio_postgres::Error) -> Error {
    let reason = match error.as_db_error() {
        Some(error) => return Error::new(fault(error.code()), format!("the store {place} {}", of_server(error))),
        None => of_connection(error),
    };
    Error::new(Fault::Unavailable, format!("the store {place} {reason}"))
}

fn fault(code: &SqlState) -> Fault {
    match code.code() {
        "23505" => Fault::Conflict,
        // Class 22, "data exception": a repetition would fail likewise.
        code if code.starts_with("22") => Fault::Invalid,
        _ => Fault::Unavailable,
    }
}

fn of_server(error: &DbError) -> String {
    let hint = match error.code().code() {
        "28P01" | "28000" => "; are user and password in DB_URL right, and does pg_hba.conf let them in from here?",
        "3D000" => "; create it (`createdb`), or name another one in DB_URL",
        "42501" => {
            "; the user of DB_URL must be able to read and write the tables, and to create them where migrations are due"
        }
        "3F000" => "; the schema of search_path must exist",
        "53300" => "; it takes no more connections: llm-proxy needs up to four for each process",
        "53100" => "; free some space on its disk",
        "25006" => "; DB_URL must name the primary, not a replica that can only be read",
        "57P01" | "57P02" | "57P03" => "; it is starting or stopping, and is asked again",
        "55P03" | "57014" => "; another session holds what is needed: look into pg_stat_activity",
        "22001" | "22003" => "; a value does not fit into its column",
        "22021" | "22P05" => "; PostgreSQL keeps no text with U+0000 in it",
        "42P01" | "42703" => "; its tables are not those of this version: `llm-proxy migrate status` shows more",
        _ => "",
    };
    format!("says: {} ({}){hint}", error.message(), error.code().code())
}

fn of_connection(error: &tokio_postgres::Error) -> String {
    let Some(cause) = error.source() else {
        return if error.is_closed() { "has closed the connection".to_owned() } else { format!("failed: {error}") };
    };
    let hint = match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "; is it running, and does DB_URL name its host and port?",
        Some(io::ErrorKind::TimedOut) => "; is its host reachable from here?",
        Some(io::ErrorKind::NotFound) => "; there is no such socket: is it running?",
        _ => "",
    };
    format!("can't be reached: {cause}{hint}")
}
