//! Counters of this process. [`names`] is the one table; [`shard`] is what one core writes; [`render`] sums the shards at a scrape.

pub mod names;
pub mod render;
pub mod shard;
