use crate::config::snapshot::Snapshot;
use crate::control::catalog::Lists;
use crate::error::Error;
use super::auth::Caller;
pub enum What<'p> { Models, Model(&'p str), Info { paged: bool } }
pub fn respond(_: &Snapshot, _: &Lists, _: &Caller, _: What<'_>, _: Option<&str>, _: bool) -> Result<Vec<u8>, Error> { Ok(b"{}".to_vec()) }
