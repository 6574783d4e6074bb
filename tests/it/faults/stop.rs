//! Being told to stop.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn new_connections_do_not_keep_it_from_stopping() {
    let (_provider, setup) = alone(&sample::CHAT);
    let mut gateway = setup.start();
    let addr = gateway.addr;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Far more often than the worker looks at anything else.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(TcpStream::connect(addr));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        gateway.term();
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gateway.wait()));
        done.store(true, Ordering::Relaxed);
        assert!(status.is_ok_and(|status| status.success()), "it goes on accepting");
    });
}
