use super::*;
use crate::net::runtime::{Choice, Driver, Worker};
use std::net::{Shutdown, TcpListener, TcpStream as Peer};

/// Runs `test` with the two ends of a connection, on each driver that this machine has.
fn on_each_driver<F: Future<Output = ()>>(test: impl Fn(Reader, Writer, Peer) -> F) {
    for driver in [Driver::Epoll, Driver::IoUring] {
        let Ok(mut worker) = Worker::build(Choice::Only(driver)) else { continue };
        worker.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (peer, _) = listener.accept().unwrap();
            let (reader, writer) = split(stream, None);
            test(reader, writer, peer).await;
        });
    }
}

/// Reads until there are `n` bytes, or to the end.
async fn read(reader: &mut Reader, n: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < n && reader.read(&mut got).await.unwrap() > 0 {}
    got
}

/// Polls a read once.
fn is_waiting(reader: &mut Reader) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    reader.poll_read(&mut cx, &mut Vec::new()).is_pending()
}

/// What arrives behind a read that took everything is noticed: bytes, an end, and both at once.
#[test]
fn a_read_that_took_all_waits_for_what_comes() {
    on_each_driver(|mut reader, writer, mut peer| async move {
        for length in [3, SMALL_READ - 1, SMALL_READ, SMALL_READ + 1, 3 * SMALL_READ, 1] {
            peer.write_all(&vec![b'x'; length]).unwrap();
            assert_eq!(read(&mut reader, length).await.len(), length);
            // With and without a read in flight when the next bytes come.
            assert!(length % 2 == 0 || is_waiting(&mut reader));
        }
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&mut reader, usize::MAX).await, b"last");
        assert_eq!(reader.read(&mut Vec::new()).await.unwrap(), 0);
        drop(writer);
    });
}

#[test]
fn an_end_behind_bytes_is_noticed_while_the_peer_is_watched() {
    on_each_driver(|mut reader, writer, mut peer| async move {
        peer.write_all(b"first").unwrap();
        assert_eq!(read(&mut reader, 5).await, b"first");
        assert!(!reader.is_stale());
        peer.write_all(b"second").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        poll_fn(|cx| reader.poll_disconnect(cx)).await;
        assert_eq!(read(&mut reader, usize::MAX).await, b"second");
        drop(writer);
    });
}

/// A message larger than the buffers of both sockets arrives whole.
#[test]
fn what_the_socket_does_not_take_at_once_is_sent_later() {
    const LENGTH: usize = 16 << 20;
    on_each_driver(|reader, mut writer, mut peer| async move {
        let received = std::thread::spawn(move || {
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut peer, &mut got).unwrap();
            got
        });
        let message: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
        let (result, empty) = writer.write_all(message.clone()).await;
        result.unwrap();
        assert!(empty.is_empty());
        writer.write_shared(&Rc::new(b"end".to_vec())).await.unwrap();
        assert_eq!(writer.sent(), LENGTH as u64 + 3);
        writer.shutdown().await.unwrap();
        let got = received.join().unwrap();
        assert!(got == [&message[..], b"end"].concat(), "{} bytes", got.len());
        drop(reader);
    });
}
