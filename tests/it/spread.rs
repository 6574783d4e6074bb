//! Connections spread evenly over the workers, whatever listener the kernel gives them to.

use std::os::fd::AsRawFd;

use crate::support::{Client, Fake, Gateway, Setup, answer, chat, eventually, get, post};

const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#;

const DRIVERS: [&str; 2] = ["auto", "epoll"];

/// Returns how many connections each worker has, by a scrape over `client`.
fn counts(client: &mut Client) -> Vec<usize> {
    client.ask(&get("/metrics"));
    let text = client.response();
    let lines = text.text().lines().filter_map(|line| line.strip_prefix("llm_proxy_worker_connections{worker=\""));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

/// Opens `n` connections, each of which is served before the next is opened.
fn open(gateway: &Gateway, n: usize) -> Vec<Client> {
    let one = |_| {
        let mut client = gateway.client();
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
        client
    };
    (0..n).map(one).collect()
}

/// Of n long-lived connections over W workers, none has more than n/W, rounded up, and one; of few,
/// none has more than its share.
fn assert_even(gateway: &Gateway, workers: usize, n: usize) {
    let mut clients = open(gateway, n);
    let counts = counts(&mut clients[0]);
    assert_eq!((counts.len(), counts.iter().sum::<usize>()), (workers, n), "{counts:?}");
    let most = n.div_ceil(workers) + usize::from(n > 8 * workers);
    assert!(counts.iter().all(|count| *count <= most), "{n} over {workers}: {counts:?}");
    // Those that were moved go on being served.
    for client in &mut clients {
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn no_worker_has_more_than_its_share() {
    for driver in DRIVERS {
        for workers in [2, 4, 8] {
            let gateway = Setup::new().workers(workers).env("RUNTIME_DRIVER", driver).start();
            for n in [16, 64] {
                assert_even(&gateway, workers, n);
                // The kernel reports the closed ones a little later.
                let mut client = gateway.client();
                eventually("the connections are closed", || counts(&mut client).iter().sum::<usize>() == 1);
            }
        }
    }
}

/// All workers accept on one socket there.
#[test]
fn connections_on_an_inherited_socket_spread_too() {
    for driver in DRIVERS {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        let fd = listener.as_raw_fd();
        let script = format!("exec 3<&{fd}; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec \"$@\"");
        let setup = Setup::new().workers(4).env("RUNTIME_DRIVER", driver);
        let gateway = setup.through(&["/bin/bash", "-c", &script, "bash"]).start();
        assert_eq!(gateway.addr, listener.local_addr().unwrap());
        assert_even(&gateway, 4, 64);
    }
}

/// A request on a moved connection is served whole, its body too, and what the client has sent
/// before the connection came to its worker is there.
#[test]
fn moved_connections_are_served_like_others() {
    for driver in DRIVERS {
        let fake = Fake::answering(|_| answer::json(200, ANSWER));
        let gateway = Setup::new().provider(chat(&fake)).workers(4).env("RUNTIME_DRIVER", driver).start();
        let mut clients = Vec::new();
        for _ in 0..12 {
            let mut client = gateway.client();
            client.ask(&post("/v1/chat/completions").body(r#"{"model":"m","messages":[]}"#));
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, ANSWER));
            clients.push(client);
        }
        assert_eq!(counts(&mut clients[3]), [3; 4]);
        // It takes more of them if the kernel's hash gives each worker its turn, in order.
        eventually("a connection is moved", || {
            clients.extend(open(&gateway, 4));
            gateway.metric("llm_proxy_connections_moved_total") >= Some(1.0)
        });
    }
}
