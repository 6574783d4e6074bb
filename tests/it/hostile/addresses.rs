//! Who a connection comes from: limits by address, lists of addresses, and load balancers that name
//! their clients.

use std::net::TcpStream;

use super::*;

const ADMIN: &str = "a-long-admin-key";

fn admin_status(gateway: &Gateway, forwarded: &[&str]) -> u16 {
    let mut request = get("/admin/v1/providers").key(ADMIN);
    for value in forwarded {
        request = request.header("x-forwarded-for", value);
    }
    let mut client = gateway.client();
    client.ask(&request);
    client.response().status
}

/// The admin interface is for the addresses that are listed, by the true address.
#[test]
fn the_admin_interface_is_for_listed_addresses() {
    let setup = || Setup::new().env("ADMIN_KEY", ADMIN).env("ADMIN_ALLOWED_ADDRESSES", "192.0.2.0/24,2001:db8::/32");
    let gateway = setup().start();
    // Nobody is trusted to name another address.
    assert_eq!([admin_status(&gateway, &[]), admin_status(&gateway, &["192.0.2.1"])], [403, 403]);
    for path in ["/metrics", "/ui"] {
        let mut client = gateway.client();
        client.ask(&get(path));
        let response = client.response();
        assert_eq!(response.status, 403, "{path}");
        assert!(response.text().contains("ADMIN_ALLOWED_ADDRESSES"), "{}", response.text());
    }
    let gateway = setup().env("TRUSTED_PROXIES", "127.0.0.0/8,198.51.100.7").start();
    let rows: [(&[&str], u16); 9] = [
        (&[], 403),
        (&["192.0.2.1"], 200),
        (&["[2001:db8::9]"], 200),
        (&["192.0.2.1:4711"], 200),
        (&["192.0.2.1, 198.51.100.7"], 200),
        (&["192.0.2.1", "198.51.100.7"], 200),
        // Addresses that a client writes itself stand in front of the one that its proxy adds.
        (&["192.0.2.1, 203.0.113.5"], 403),
        (&["192.0.2.1", "203.0.113.5"], 403),
        (&["192.0.2.1, nonsense"], 403),
    ];
    for (forwarded, expected) in rows {
        assert_eq!(admin_status(&gateway, forwarded), expected, "{forwarded:?}");
    }
    // Those that the list leaves out may use the rest.
    let mut client = gateway.client();
    client.ask(&get("/health"));
    assert_eq!(client.response().status, 200);
}

/// A connection begins with the address of its client in a PROXY header, and counts for that
/// address.
#[test]
fn the_proxy_protocol_names_clients() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).env("PROXY_PROTOCOL", true).env("MAX_CONNECTIONS_PER_PEER", 2);
    let gateway = setup.env("ADMIN_KEY", ADMIN).env("ADMIN_ALLOWED_ADDRESSES", "192.0.2.1").start();
    let block = |address: &[u8], family: u8| {
        let ports: [u8; 4] = [0x10, 0x00, 0x01, 0xbb];
        let addresses = [address, address, &ports, b"\x04\x00\x01x"].concat();
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &length, &addresses].concat()
    };
    let lines: [(Vec<u8>, u16); 4] = [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4000 443\r\n".to_vec(), 200),
        (b"PROXY TCP4 192.0.2.2 10.0.0.1 4000 443\r\n".to_vec(), 403),
        (block(&[192, 0, 2, 1], 0x11), 200),
        (block(&[0x20; 16], 0x21), 403),
    ];
    for (header, expected) in &lines {
        let mut client = gateway.client();
        // Together with the request, of which nothing is lost.
        client.send([header.as_slice(), &get("/admin/v1/providers").key(ADMIN).bytes()].concat());
        assert_eq!(client.response().status, *expected, "{}", String::from_utf8_lossy(header));
        assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
    }
    // A third connection of one address is closed; those of another are served.
    let connect = |address: &str| {
        let mut client = gateway.client();
        client.send(format!("PROXY TCP4 {address} 10.0.0.1 4000 443\r\n"));
        client.send(get("/health").bytes());
        client
    };
    let mut held = [connect("203.0.113.5"), connect("203.0.113.5")];
    held.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    let mut third = TcpStream::connect(gateway.addr).unwrap();
    std::io::Write::write_all(&mut third, b"PROXY TCP4 203.0.113.5 10.0.0.1 4000 443\r\n").unwrap();
    Client::of(third).link.until_end();
    assert_eq!(connect("203.0.113.6").response().status, 200);
    drop(held);
    eventually("there is room again", || {
        let mut client = connect("203.0.113.5");
        client.link.head().is_some()
    });
    // Without a header there is no connection.
    let mut bare = gateway.client();
    bare.send(get("/health").bytes());
    bare.link.until_end();
}

/// Headers count from the load balancer alone.
#[test]
fn proxy_headers_are_taken_from_trusted_proxies() {
    let setup = Setup::new().env("PROXY_PROTOCOL", true).env("TRUSTED_PROXIES", "192.0.2.1");
    let gateway = setup.start();
    let mut client = gateway.client();
    client.send(b"PROXY TCP4 192.0.2.1 10.0.0.1 4000 443\r\n");
    client.link.until_end();
}

/// Connections of one address are bounded over all workers.
#[test]
fn connections_of_one_address_are_bounded() {
    let gateway = Setup::new().workers(2).env("MAX_CONNECTIONS_PER_PEER", 8).start();
    let health = || {
        let mut client = gateway.client();
        let _ = client.link.try_send(&get("/health").bytes());
        client.link.head().is_some().then_some(client)
    };
    let held: Vec<_> = (0..8).map(|_| health().expect("one of the first eight")).collect();
    assert!((0..8).all(|_| health().is_none()));
    drop(held);
    eventually("there is room again", || health().is_some());
    eventually("it was counted", || gateway.metric("llm_proxy_peer_connections_refused_total") >= Some(8.0));
}
