//! Files go to the account that has them, once that is known.

use serde_json::{Value, json};

use super::*;

/// An account of the format of `sample` that has the files whose id has its name in it, and refuses
/// others.
fn having(sample: &'static sample::Sample, name: &'static str) -> Fake {
    Fake::answering(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let names_other = body.contains("file-") && !body.contains(&format!("file-{name}"));
        if names_other {
            let error = json!({ "type": "invalid_request_error", "message": format!("{name} has no such file") });
            return answer::json(400, json!({ "type": "error", "error": error }).to_string());
        }
        let mut answer: Value = serde_json::from_str(sample.answer).unwrap();
        answer["by"] = name.into();
        answer["wrote"] = json!({ "type": "container_file_citation", "file_id": format!("cfile-{name}") });
        if request.json()["stream"] == true {
            let mut events: Vec<String> = sample.events().into_iter().map(str::to_owned).collect();
            events.insert(1, format!("event: x\ndata: {{\"type\":\"x\",\"file_id\":\"cfile-{name}\"}}\n\n"));
            return answer::sse(&events);
        }
        answer::json(200, answer.to_string())
    })
}

fn two(sample: &'static sample::Sample) -> ([Fake; 2], Gateway) {
    let fakes = [having(sample, "a"), having(sample, "b")];
    let [a, b] = &fakes;
    let gateway = Setup::new().provider(sample.provider("a", a)).provider(sample.provider("b", b)).workers(1).start();
    (fakes, gateway)
}

/// A request of the format that names a file in the format's way.
fn naming(sample: &sample::Sample, id: &str) -> Value {
    let mut body: Value = serde_json::from_str(sample.ask).unwrap();
    let part = match sample.kind {
        "openai" => json!({ "type": "file", "file": { "file_id": id } }),
        "anthropic" => json!({ "type": "document", "source": { "type": "file", "file_id": id } }),
        _ => json!({ "type": "input_file", "file_id": id }),
    };
    let turn = json!([{ "role": "user", "content": [part] }]);
    body[if sample.kind == "responses" { "input" } else { "messages" }] = turn;
    body
}

fn ask(client: &mut Client, sample: &sample::Sample, body: &Value) -> (u16, String) {
    client.ask(&post(sample.path).key(KEY).body(body.to_string()));
    let response = client.response();
    (response.status, response.header("x-llm-proxy-provider").unwrap_or_default().to_owned())
}

const FORMATS: [&sample::Sample; 3] = [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES];

/// The first request that succeeds teaches which account has the file. From then on none is
/// refused.
#[test]
fn a_file_goes_to_the_account_that_has_served_it() {
    for sample in FORMATS {
        let (fakes, gateway) = two(sample);
        let mut client = gateway.client();
        for name in ["a", "b"] {
            let body = naming(sample, &format!("file-{name}"));
            let first: Vec<u16> = (0..2).map(|_| ask(&mut client, sample, &body).0).collect();
            assert!(first.contains(&200), "{} {name}: one of two turns is the right one: {first:?}", sample.kind);
        }
        let before = fakes.each_ref().map(|fake| fake.requests().len());
        for turn in 0..10 {
            for name in ["a", "b"] {
                let got = ask(&mut client, sample, &naming(sample, &format!("file-{name}")));
                assert_eq!(got, (200, name.to_owned()), "{} {turn}", sample.kind);
            }
        }
        let after = fakes.each_ref().map(|fake| fake.requests().len());
        assert_eq!([after[0] - before[0], after[1] - before[1]], [10, 10], "{}", sample.kind);
        assert!(gateway.metric("llm_proxy_issuer_known_requests_total") >= Some(20.0));
    }
}

/// Files that a tool has written are named in the answer, whole or streamed.
#[test]
fn answers_teach_too() {
    for sample in FORMATS {
        for stream in [false, true] {
            let (_fakes, gateway) = two(sample);
            let mut client = gateway.client();
            let mut body: Value = serde_json::from_str(sample.ask).unwrap();
            body["stream"] = stream.into();
            let (status, by) = ask(&mut client, sample, &body);
            assert_eq!(status, 200);
            for turn in 0..6 {
                let got = ask(&mut client, sample, &naming(sample, &format!("cfile-{by}")));
                assert_eq!(got, (200, by.clone()), "{} {stream} {turn}", sample.kind);
            }
        }
    }
}

/// Without knowledge requests take turns, and a file that has moved is found where it is.
#[test]
fn what_is_not_known_changes_nothing() {
    let (_fakes, gateway) = two(&sample::CHAT);
    let mut client = gateway.client();
    let body = naming(&sample::CHAT, "file-none");
    let asked: Vec<String> = (0..6).map(|_| ask(&mut client, &sample::CHAT, &body).1).collect();
    assert!(asked.windows(2).all(|pair| pair[0] != pair[1]), "{asked:?}");

    // It moves from one account to the other under the same id.
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let moved = gone.clone();
    let refuse = || answer::json(404, r#"{"error":{"message":"no such file","type":"invalid_request_error"}}"#);
    let (a, b) = (
        Fake::answering(move |_| match gone.load(std::sync::atomic::Ordering::SeqCst) {
            true => refuse(),
            false => answer::json(200, sample::CHAT.answer),
        }),
        Fake::answering(|_| answer::json(200, sample::CHAT.answer)),
    );
    let rows = [sample::CHAT.provider("a", &a), ProviderRow { weight: 0, ..sample::CHAT.provider("b", &b) }];
    let gateway = rows.into_iter().fold(Setup::new().workers(1), Setup::provider).start();
    let mut client = gateway.client();
    let body = naming(&sample::CHAT, "file-x");
    assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, "a".to_owned()));
    assert_eq!(gateway.metric("llm_proxy_issuer_known_requests_total"), Some(0.0));
    moved.store(true, std::sync::atomic::Ordering::SeqCst);
    // The account that was taken to have it is tried first, and the one that serves it is learned.
    assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, "b".to_owned()));
    gateway.expect_metric("llm_proxy_issuer_known_requests_total", 1.0);
    assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, "b".to_owned()));
    gateway.expect_metric("llm_proxy_issuer_known_requests_total", 2.0);
}

/// What one credential has named says nothing of the files of another, even under the same id.
#[test]
fn what_a_credential_teaches_holds_for_it_alone() {
    let fakes = [(); 2].map(|()| Fake::answering(|_| answer::json(200, sample::CHAT.answer)));
    let rows = [sample::CHAT.provider("a", &fakes[0]), sample::CHAT.provider("b", &fakes[1])];
    let others = [KEY, "sk-other-0123456789"].map(credential);
    let setup = others.into_iter().fold(Setup::new().workers(1), Setup::credential);
    let gateway = rows.into_iter().fold(setup, Setup::provider).start();
    let mut client = gateway.client();
    let body = naming(&sample::CHAT, "file-x");
    let by = ask(&mut client, &sample::CHAT, &body).1;
    for _ in 0..4 {
        assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, by.clone()));
    }
    let known = gateway.metric("llm_proxy_issuer_known_requests_total");
    client.ask(&post(sample::CHAT.path).key("sk-other-0123456789").body(body.to_string()));
    assert_eq!(client.response().status, 200);
    assert_eq!(gateway.metric("llm_proxy_issuer_known_requests_total"), known);
}

/// Keys of one organisation have the same files, so an account that is out is replaced.
#[test]
fn another_account_is_tried_when_the_one_with_the_file_is_out() {
    let busy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_busy = busy.clone();
    let a = Fake::answering(move |_| match is_busy.load(std::sync::atomic::Ordering::SeqCst) {
        true => answer::json(429, r#"{"error":{"message":"busy","type":"rate_limit_error"}}"#),
        false => answer::json(200, sample::CHAT.answer),
    });
    let b = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
    let rows = [sample::CHAT.provider("a", &a), ProviderRow { weight: 0, ..sample::CHAT.provider("b", &b) }];
    let gateway = rows.into_iter().fold(Setup::new().workers(1), Setup::provider).start();
    let mut client = gateway.client();
    let body = naming(&sample::CHAT, "file-x");
    assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, "a".to_owned()));
    busy.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ask(&mut client, &sample::CHAT, &body), (200, "b".to_owned()));
}
