//! The shutdown of the gateway.

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
        assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}");
    });
}

#[test]
fn shutdown_reaches_streams_that_never_pause() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let mut gateway = setup.env("SHUTDOWN_GRACE_SECS", 0.2).start();
        let mut client = ask_stream(&gateway, sample);
        let mut conn = opened(&provider, sample);
        // Event by event: the gateway has more to do with each than the client, whose buffers stay
        // empty.
        let event = answer::chunk(sample.content[0]);
        let flood = std::thread::spawn(move || while conn.link.try_send(&event).is_ok() {});
        client.head();
        client.read_until(sample.content[0]);
        gateway.term();
        let (text, end) = client.rest_text();
        assert_eq!(end, End::Truncated);
        let last = text.trim_end().rfind("\n\n").map_or(0, |at| at + 2);
        assert!(error_event(sample, &text[last..])[0].contains("this gateway is shutting down"));
        flood.join().unwrap();
        drop(client);
        assert!(gateway.wait().success());
    }
}
