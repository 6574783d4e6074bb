//! Events go through at once, one by one, on either driver.

use std::process::Command;

use llm_proxy::net::runtime::{Choice, Driver, Worker};

use super::support::sample::{CHAT, MESSAGES, RESPONSES, Sample};
use super::support::*;

const FORMATS: [&Sample; 3] = [&CHAT, &MESSAGES, &RESPONSES];

/// The provider sends an event only when the client has the one before, so whatever holds one back
/// stops the test.
fn in_lock_step(gateway: &Gateway, provider: &Fake, sample: &Sample, mut client: Client) {
    client.ask(&post(sample.path).body(sample.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    // These say nothing: they wait for the first event that does.
    sample.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
    conn.send(answer::chunk(sample.content[0]));
    assert_eq!(client.head().status, 200);
    sample.opening.iter().chain(&sample.content[..1]).for_each(|event| assert_eq!(client.event(), *event));
    let (last, middle) = sample.content[1..].split_last().unwrap();
    for event in middle.iter().chain(&[middle[0]; 50]) {
        conn.send(answer::chunk(event));
        assert_eq!(client.event(), *event);
    }
    // In pieces: it is passed on as soon as it is whole.
    let (start, end) = last.split_at(last.len() / 2);
    conn.send(answer::chunk(start));
    conn.send(answer::chunk(end));
    assert_eq!(client.event(), *last);
    conn.send(answer::LAST_CHUNK);
    assert_eq!(client.rest(), (Vec::new(), End::Whole));
    // Both connections serve another request.
    client.ask(&post(sample.path).body(sample.ask));
    assert_eq!(conn.request().text(), sample.ask);
    conn.send(answer::json(200, sample.answer));
    assert_eq!(client.response().text(), sample.answer);
    gateway.expect_metric("llm_proxy_upstream_connects_total", 1.0);
}

#[test]
fn events_pass_one_by_one_from_plain_tcp() {
    for sample in FORMATS {
        let provider = Fake::start();
        let gateway = Setup::new().provider(sample.provider("p", &provider)).start();
        in_lock_step(&gateway, &provider, sample, gateway.client());
    }
}

#[test]
fn events_pass_one_by_one_from_tls() {
    let cert = cert::Cert::new();
    for sample in FORMATS {
        let provider = Fake::start_tls(&cert);
        let file = cert.file().display().to_string();
        let gateway = Setup::new().provider(sample.provider("p", &provider)).env("SSL_CERT_FILE", file).start();
        in_lock_step(&gateway, &provider, sample, gateway.client());
    }
}

/// What the kernel lets this process do.
fn io_uring_works() -> bool {
    std::thread::spawn(|| Worker::build(Choice::Only(Driver::IoUring)).is_ok()).join().unwrap()
}

/// What a gateway with this setting runs on, by its metrics and by its log, once it was seen to
/// relay a stream on it.
fn driver_of(setup: Setup) -> &'static str {
    let provider = Fake::start();
    let gateway = setup.provider(CHAT.provider("p", &provider)).start();
    in_lock_step(&gateway, &provider, &CHAT, gateway.client());
    let driver = ["epoll", "io_uring"].into_iter().find(|driver| {
        let series = format!(
            "llm_proxy_app_info{{version=\"{}\",title=\"llm-proxy\",driver=\"{driver}\"}}",
            env!("CARGO_PKG_VERSION")
        );
        gateway.metric(&series) == Some(1.0)
    });
    let driver = driver.expect("a driver in the metrics");
    let stderr = format!("workers: 1 ({driver})");
    gateway.expect_log(&[&stderr]);
    driver
}

#[test]
fn requested_io_driver_is_used() {
    let received = |driver| driver_of(Setup::new().env("RUNTIME_DRIVER", driver));
    assert_eq!(received("epoll"), "epoll");
    assert_eq!(driver_of(Setup::new().env("RUNTIME_DRIVER", "")), "epoll");
    if io_uring_works() {
        assert_eq!((received("io_uring"), received("auto")), ("io_uring", "io_uring"));
    } else {
        assert_eq!(received("auto"), "epoll");
    }
}

/// Takes from a program the memory that it may lock, which a ring needs. Root is not bound by that
/// limit while it has the capability.
const WITHOUT_MEMORY: &[&[&str]] = &[
    &["/usr/bin/setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock", "/usr/bin/prlimit", "--memlock=0:0"],
    &["/usr/bin/prlimit", "--memlock=0:0"],
];

#[test]
fn a_kernel_that_gives_no_ring() {
    let runs = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).arg("/bin/true").output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(wrapper) = WITHOUT_MEMORY.iter().find(|words| runs(words)) else {
        return eprintln!("not shown: no setpriv and prlimit here");
    };
    let setup = |driver| Setup::new().through(wrapper).env("RUNTIME_DRIVER", driver);
    let stderr = match setup("io_uring").env("LOG_LEVEL", "off").try_start() {
        Ok(_) => return eprintln!("not shown: this kernel does not count a ring as locked memory"),
        Err(Ended { code, stderr }) => {
            assert_eq!(code, Some(1));
            stderr
        }
    };
    let why = stderr.strip_prefix("error: worker 0 can't use io_uring: ").expect(&stderr);
    let why = why.strip_suffix("; with RUNTIME_DRIVER=auto it runs on epoll").expect(&stderr);
    let gateway = setup("auto").start();
    let reason = format!("worker 0 runs on epoll, since it can't use io_uring: {why}");
    gateway.expect_log(&[&reason]);
    drop(gateway);
    assert_eq!(driver_of(setup("auto")), "epoll");
}
