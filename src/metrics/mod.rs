//! What this process counts. [`names`] is the one table; [`shard`] is what one core writes, its
//! labelled series on a [`series_list`] that a [`series_index`] finds them on; at a scrape
//! [`gather`] sums the shards, and [`text`] or [`openmetrics`] writes the sum.

pub mod gather;
pub mod names;
pub mod openmetrics;
pub mod series_index;
pub mod series_list;
pub mod shard;
pub mod text;
