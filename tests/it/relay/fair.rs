//! One core serves many connections: none of them keeps it for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

/// What a hundred small requests may take beside one that never waits for anything. They need less
/// than a twentieth of it; left without a turn, each of them takes as much as half a second.
const MOST: Duration = Duration::from_secs(20);

#[test]
fn an_answer_that_never_pauses_leaves_the_others_their_turn() {
    for driver in ["epoll", "io_uring"] {
        let provider = Fake::start();
        let gateway = Setup::new().provider(chat(&provider)).env("RUNTIME_DRIVER", driver).start();
        let mut reader = gateway.client();
        reader.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"x","voice":"v"}"#));
        let mut conn = provider.accept();
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: {}\r\n\r\n", u64::MAX >> 1));
        reader.head();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let piece = vec![b'x'; 1 << 20];
            scope.spawn(move || while conn.link.try_send(&piece).is_ok() {});
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    reader.some(1 << 20);
                }
            });
            let started = Instant::now();
            for _ in 0..100 {
                let mut client = gateway.client();
                client.ask(&get("/health"));
                assert_eq!(client.response().status, 200);
            }
            let taken = started.elapsed();
            done.store(true, Ordering::Relaxed);
            assert!(taken < MOST, "{driver}: {taken:?}");
        });
    }
}
