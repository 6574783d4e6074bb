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

/// A reader that waits on epoll keeps no large buffer, and is woken by what comes all the same.
#[test]
fn a_large_buffer_is_given_back_before_a_wait() {
    on_each_driver(|mut reader, writer, mut peer| async move {
        for watches in [false, true] {
            reader.recycle(Vec::with_capacity(LARGE_READ));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(if watches { reader.poll_disconnect(&mut cx).is_pending() } else { is_waiting(&mut reader) });
            let is_in_flight = matches!(reader.state, State::Reading(_));
            assert_eq!((is_in_flight, reader.spare.capacity()), (reader.readiness().is_none(), 0));
            peer = read_later(&mut reader, peer, b"later").await;
        }
        peer.shutdown(Shutdown::Both).unwrap();
        poll_fn(|cx| reader.poll_disconnect(cx)).await;
        assert!(reader.is_stale() && !reader.begin_idle());
        drop(writer);
    });
}

/// Reads what another thread writes meanwhile.
async fn read_later(reader: &mut Reader, mut peer: Peer, text: &'static [u8]) -> Peer {
    let sends = std::thread::spawn(move || {
        peer.write_all(text).unwrap();
        peer
    });
    assert_eq!(read(reader, text.len()).await, text);
    sends.join().unwrap()
}

/// A receive that filled its buffer does not say whether there is more: the next one finds nothing,
/// and is woken by what comes, with whichever waker was there before.
#[test]
fn what_comes_behind_an_exactly_full_receive_is_noticed() {
    on_each_driver(|mut reader, writer, mut peer| async move {
        for length in [SMALL_READ, 3 * SMALL_READ] {
            for polls in [0, 1, 2] {
                peer.write_all(&vec![b'x'; length]).unwrap();
                assert_eq!(read(&mut reader, length).await.len(), length);
                assert!((0..polls).all(|_| is_waiting(&mut reader)));
                let is_readable = reader.readiness().map(Readiness::may_be_readable);
                assert!(polls == 0 || is_readable != Some(true));
                peer = read_later(&mut reader, peer, b"more").await;
            }
        }
        peer.write_all(&vec![b'x'; SMALL_READ]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&mut reader, usize::MAX).await.len(), SMALL_READ);
        assert_eq!(reader.read(&mut Vec::new()).await.unwrap(), 0);
        drop(writer);
    });
}

/// What came before a reset is read, then the reset, then the end.
#[test]
fn a_reset_behind_bytes_is_an_error_once() {
    on_each_driver(|mut reader, writer, mut peer| async move {
        peer.write_all(b"first").unwrap();
        assert_eq!(read(&mut reader, 5).await, b"first");
        // Closed with zero linger: a reset, which discards nothing that was read.
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        let mut got = Vec::new();
        assert_eq!(reader.read(&mut got).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(reader.read(&mut got).await.unwrap(), 0);
        assert!(got.is_empty() && reader.is_stale());
        drop(writer);
    });
}
