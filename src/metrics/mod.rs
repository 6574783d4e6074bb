//! What this process counts. [`names`] is the one table; [`shard`] is what one core writes, its labelled series on a [`shelf`] that a [`book`]
//! finds them on; at a scrape [`gather`] sums the shards, and [`text`] or [`openmetrics`] writes the sum.

pub mod book;
pub mod gather;
pub mod names;
pub mod openmetrics;
pub mod shard;
pub mod shelf;
pub mod text;
