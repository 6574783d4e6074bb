//! Rates under load: 64 connections that ask again as soon as they are answered, on all workers.
//!
//! As part of the tests it is short, and exact only upwards: what a busy machine does not do in
//! time is not admitted. With `LIMITS_LOAD_SECS=10` it takes that long for each rate, prints what
//! was admitted and demands 97 % of the limit; that is for a machine with nothing else to do, and
//! for a release build where the rate is 10,000 per second.

use super::*;

#[test]
fn no_more_than_the_limit_and_the_burst_is_admitted() {
    let seconds = std::env::var("LIMITS_LOAD_SECS").ok().map(|text| text.parse::<f64>().unwrap());
    let provider = quick();
    for limit in [1, 10, 100, 10_000] {
        let row = limited(|row| row.rate_limit = Some(limit));
        let upstream = crate::support::provider("mock", "openai", &format!("{}/v1", provider.url()));
        let gateway = Setup::new().provider(upstream).credential(row).workers(2).env("LOG_LEVEL", "info").start();
        let Seen { admitted, refused, elapsed } = closed_loop(&[&gateway], 64, seconds.unwrap_or(1.0));
        let (admitted, limit) = (admitted as f64, limit as f64);
        let share = admitted / (limit * elapsed) * 100.0;
        println!("{limit}/s for {elapsed:.2} s: {admitted} admitted ({share:.1} %), {refused} refused");
        assert!(admitted <= limit * elapsed + limit, "{admitted} admitted");
        match seconds {
            Some(_) => assert!(share >= 97.0, "{share:.1} %"),
            // Of the burst each connection has one at least.
            None => assert!(admitted >= limit.min(64.0), "{admitted} admitted"),
        }
    }
}
