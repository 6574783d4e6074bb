//! The metrics of this process. [`names`] is the one table of them. A [`shard`] is what one worker
//! writes: counters, and labelled series in a [`series_list`], which a [`series_index`] finds by
//! their labels. A scrape sums the shards ([`gather`]) and writes the sums ([`text`] or
//! [`openmetrics`]).

pub mod gather;
pub mod names;
pub mod openmetrics;
pub mod series_index;
pub mod series_list;
pub mod shard;
pub mod text;
