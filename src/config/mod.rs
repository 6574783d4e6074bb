//! Configuration in three shapes with a step between each: [`boot`] (fixed for the process),
//! [`rows`] (as stored), [`snapshot`] (as used: indexed, secrets ready as header bytes).
//! [`compile`] turns rows into a snapshot and a list of problems: one bad row never takes the
//! others down. [`publish`] makes a snapshot current on all cores.

pub(crate) mod base_url;
pub mod boot;
pub mod budget;
pub mod clients;
pub mod compile;
pub mod env;
pub mod file;
pub mod hedging;
pub mod link_local;
pub mod models;
pub mod nearest;
pub mod networks;
pub(crate) mod ordered;
pub mod outbound;
mod pattern;
pub mod prices;
pub mod publish;
pub mod rescue;
pub mod retries;
pub mod rows;
pub mod secret;
pub mod secret_env;
pub(crate) mod setting_value;
pub mod share;
pub mod snapshot;
mod target;
pub mod timeouts;
pub mod tunnel;
pub mod vault;
pub mod vendors;
pub mod virtual_models;
