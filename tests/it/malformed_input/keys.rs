//! Keys: none, wrong, old.

use llm_proxy::config::rows::CredentialRow;

use super::*;

const NONE: &str = "no API key in the request; send `Authorization: Bearer KEY` or `x-api-key: KEY`";
const UNKNOWN: &str = "the API key is not known to this gateway, or is disabled; send an enabled key of the gateway, \
                       not one of a provider";

const FORM: &str = "the `authorization` header does not have the form `Bearer KEY`; send `Authorization: Bearer KEY` or `x-api-key: KEY`";
const ELSEWHERE: &str =
    "the API key is not read from `x-goog-api-key`; send `Authorization: Bearer KEY` or `x-api-key: KEY`";
const QUOTED: &str = "the API key stands in quotes; send it without them";
const VARIABLE: &str = "the API key is the name of a variable that nothing has filled in; send its value";
const TWICE: &str =
    "the API key begins with `Bearer`; that word belongs once before the key in `authorization`, and nowhere else";

/// The key is looked at before the body, so what the body is does not matter.
#[test]
fn invalid_keys_are_refused() {
    let expired = CredentialRow { name: "team-a".into(), expires_at: Some(1_700_000_000), ..credential("sk-expired") };
    let disabled = CredentialRow { is_enabled: false, ..credential("sk-disabled") };
    let setup = Setup::new().credential(credential(KEY)).credential(expired).credential(disabled);
    let long = format!("Bearer {}", "k".repeat(60_000));
    let right = format!("Bearer {KEY}");
    let hash = format!("Bearer {}", credential(KEY).credential_key);
    let old = "the API key of credential `team-a` has expired; ask for a new one";
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("authorization", "")], NONE),
        (&[("authorization", "Bearer")], NONE),
        (&[("authorization", "Bearer \t")], NONE),
        (&[("authorization", "Basic dXNlcjpwYXNz")], FORM),
        (&[("authorization", KEY)], FORM),
        (&[("authorization", "Bearer:sk-test")], FORM),
        (&[("authorization", "BearerX sk-test")], FORM),
        (&[("authorization", ""), ("x-goog-api-key", KEY)], ELSEWHERE),
        (&[("authorization", "Bearer Bearer sk-test")], TWICE),
        (&[("authorization", ""), ("x-api-key", &right)], TWICE),
        (&[("authorization", "Bearer $OPENAI_API_KEY")], VARIABLE),
        (&[("authorization", "Bearer sk-other")], UNKNOWN),
        (&[("authorization", "Bearer sk-test sk-test")], UNKNOWN),
        (&[("authorization", "Bearer \"sk-test\"")], QUOTED),
        (&[("authorization", "Bearer SK-TEST")], UNKNOWN),
        (&[("authorization", "Bearer sk-tes")], UNKNOWN),
        (&[("authorization", "Bearer clé")], UNKNOWN),
        (&[("authorization", "Bearer ' OR 1=1 --")], UNKNOWN),
        (&[("authorization", "Bearer sk-disabled")], UNKNOWN),
        (&[("authorization", &long)], UNKNOWN),
        // What the store holds is no key.
        (&[("authorization", &hash)], UNKNOWN),
        (&[("authorization", "Bearer sk-expired")], old),
        (&[("authorization", ""), ("x-api-key", "sk-expired")], old),
        (&[("authorization", ""), ("x-api-key", "sk-other")], UNKNOWN),
        (&[("authorization", ""), ("api-key", "sk-other")], UNKNOWN),
        (&[("authorization", ""), ("proxy-authorization", &right)], NONE),
        (&[("authorization", ""), ("cookie", "key=sk-test")], NONE),
        // One key counts, whatever others say.
        (&[("authorization", &right), ("x-api-key", "sk-other")], UNKNOWN),
        (&[("authorization", &right), ("x-api-key", " ")], NONE),
        (&[("authorization", "Bearer sk-other"), ("api-key", KEY)], UNKNOWN),
    ];
    let mut bench = Bench::with(setup);
    for (headers, note) in rows {
        for sample in FORMATS {
            let request = headers.iter().fold(post(sample.path), |ask, (name, value)| ask.header(name, value));
            for body in [sample.ask, "nonsense"] {
                let request = request.clone().body(body).bytes();
                bench.refused(&format!("{headers:?}"), &request, sample.shape(), &unauthorized(note), Then::Kept);
            }
        }
        let request = headers.iter().fold(get("/v1/models"), |ask, (name, value)| ask.header(name, value));
        bench.refused(&format!("{headers:?}"), &request.bytes(), Shape::OpenAi, &unauthorized(note), Then::Kept);
    }
    bench.finish();
}

/// A proxy in front may have judged the other one.
#[test]
fn a_header_with_a_key_stands_once() {
    let mut bench = Bench::new();
    let right = format!("Bearer {KEY}");
    let rows: [(&str, &[(&str, &str)]); 4] = [
        ("authorization", &[("authorization", &right), ("Authorization", &right)]),
        ("authorization", &[("authorization", "Bearer sk-other"), ("authorization", &right)]),
        ("x-api-key", &[("x-api-key", KEY), ("x-api-key", "sk-other")]),
        ("api-key", &[("api-key", KEY), ("api-key", KEY)]),
    ];
    for (name, headers) in rows {
        let refusal = expected_error(format!("the request has more than one `{name}` header; send one"));
        for sample in FORMATS {
            let request = headers.iter().fold(post(sample.path), |ask, (name, value)| ask.header(name, value));
            bench.refused(name, &request.body(sample.ask).bytes(), sample.shape(), &refusal, Then::Kept);
        }
        let request = headers.iter().fold(get("/v1/models"), |ask, (name, value)| ask.header(name, value));
        bench.refused(name, &request.bytes(), Shape::OpenAi, &refusal, Then::Kept);
    }
    bench.finish();
}

#[test]
fn without_credentials_every_key_is_refused() {
    let hint = "this gateway has no credential yet, so nobody may use it; create one with `llm-proxy key create --name NAME`, \
                or set ALLOW_ANONYMOUS=true";
    let bench = Bench::with(Setup::new().no_credentials());
    for sample in FORMATS {
        for key in ["", "Bearer sk-any"] {
            let mut client = bench.gateway.client();
            client.ask(&post(sample.path).header("authorization", key).body(sample.ask));
            bench.compare(sample.path, &client.response(), sample.shape(), &unauthorized(hint), Then::Kept);
        }
    }
    assert_eq!(bench.provider.requests().len(), 0);
}
