use super::*;

fn proxy(url: &str) -> Proxy {
    Proxy::parse(url).unwrap()
}

#[test]
fn urls_of_proxies() {
    let http = proxy("http://us%40er:p%3Aw@Proxy.example:8080/");
    assert_eq!((http.host.as_str(), http.port), ("proxy.example", 8080));
    assert!(http.protocol == Protocol::Http { authorization: Some("Basic dXNAZXI6cDp3".into()) });
    assert_eq!(format!("{http:?}"), "Proxy(proxy.example:8080)");
    assert_eq!((proxy("proxy").port, proxy("[::1]:80").port), (3128, 80));
    let socks = proxy("SOCKS5://us%40er:p%3Aw@Proxy.example");
    let login = Login { user: (*b"us@er").into(), password: (*b"p:w").into() };
    assert_eq!((socks.host.as_str(), socks.port), ("proxy.example", 1080));
    assert!(socks.protocol == Protocol::Socks5 { login: Some(login), resolves: false });
    assert_eq!((socks.resolves_names(), proxy("socks5h://[::1]:9").resolves_names()), (false, true));
    assert!(http.resolves_names());
    let long = format!("socks5://u:{}@proxy", "secret".repeat(50));
    for wrong in ["", "https://proxy", "socks4://u:secret@proxy", "http://proxy/path", "http://u:secret@pr oxy", &long]
    {
        let error = Proxy::parse(wrong).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}

/// Has the dialogue with a proxy that answers so, in pieces of this size. Returns what was sent.
fn talk(proxy: &Proxy, host: &str, answers: &[&[u8]], size: usize) -> Result<Vec<Vec<u8>>, Refusal> {
    let (mut dialogue, first) = Dialogue::begin(proxy, host, 443)?;
    let mut sent = vec![first];
    let mut is_open = false;
    for answer in answers {
        assert!(!is_open);
        for (at, piece) in answer.chunks(size).enumerate() {
            match dialogue.receive(piece)? {
                Step::Receive => assert!((at + 1) * size < answer.len(), "{answer:?} is whole"),
                Step::Send(bytes) => sent.push(bytes),
                Step::Open => is_open = true,
            }
        }
    }
    assert!(is_open);
    Ok(sent)
}

#[test]
fn dialogues_with_http_proxies() {
    let open: &[&[u8]] = &[b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n"];
    for size in [1, 7, 100] {
        let sent = talk(&proxy("http://u:p@proxy"), "::1", open, size).unwrap();
        let expected = "CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\nproxy-authorization: Basic dTpw\r\n\r\n";
        assert_eq!(sent, [expected.as_bytes()]);
    }
    let wrong = [
        &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nmore",
        &[b'x'; MAX_HEAD + 1],
    ];
    for answer in wrong {
        assert!(talk(&proxy("proxy"), "a", &[answer], usize::MAX).is_err());
    }
}

#[test]
fn dialogues_with_socks_proxies() {
    let bound: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 4, 0];
    let named: &[u8] = &[5, 0, 0, 3, 2, b'a', b'b', 4, 0];
    let six: &[u8] = &[&[5, 0, 0, 4][..], &[0; 18]].concat();
    for (size, reply) in [(1, bound), (3, named), (100, six)] {
        let sent = talk(&proxy("socks5h://proxy"), "api.example", &[&[5, 0], reply], size).unwrap();
        let request = [&[5, 1, 0, 3, 11][..], b"api.example", &[1, 187]].concat();
        assert_eq!(sent, [vec![5, 1, 0], request]);
        let sent = talk(&proxy("socks5://us:pwd@proxy"), "10.0.0.9", &[&[5, 2], &[1, 0], reply], size).unwrap();
        let login = [&[1, 2][..], b"us", &[3], b"pwd"].concat();
        assert_eq!(sent, [vec![5, 2, 0, 2], login, vec![5, 1, 0, 1, 10, 0, 0, 9, 1, 187]]);
    }
    // A proxy may do without the password that it was offered.
    let sent = talk(&proxy("socks5://us:pwd@proxy"), "::1", &[&[5, 0], bound], 100).unwrap();
    assert_eq!(sent[1][..5], [5, 1, 0, 4, 0]);
}

#[test]
fn what_socks_proxies_refuse() {
    let with_login = proxy("socks5://us:pwd@proxy");
    let refusal = |proxy: &Proxy, answers: &[&[u8]]| talk(proxy, "a", answers, 100).unwrap_err();
    let of_proxy: [(&Proxy, &[&[u8]], &str); 8] = [
        (&proxy("socks5h://proxy"), &[&[5, 0xff]], "demands a user name"),
        (&proxy("socks5h://proxy"), &[&[5, 2]], "demands a user name"),
        (&with_login, &[&[5, 0xff]], "takes no user name"),
        (&with_login, &[&[5, 2], &[1, 1]], "refused the user name or the password"),
        (&with_login, &[b"HTTP/1.1 400"], "does not speak SOCKS5"),
        (&with_login, &[&[5, 0], &[5, 2, 0, 1]], "rules do not allow"),
        (&with_login, &[&[5, 0], &[5, 0, 0, 9, 0]], "unknown type"),
        (&with_login, &[&[5, 0], &[5, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7]], "more than its answer"),
    ];
    for (proxy, answers, why) in of_proxy {
        let Refusal::OfProxy(text) = refusal(proxy, answers) else { panic!("{why}") };
        assert!(text.contains(why) && !text.contains("pwd"), "{text}");
    }
    let of_address = refusal(&with_login, &[&[5, 0], &[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]]);
    assert!(matches!(of_address, Refusal::OfAddress(text) if text.contains("host cannot be reached")));
    assert!(talk(&with_login, &"a".repeat(256), &[], 1).is_err());
}
