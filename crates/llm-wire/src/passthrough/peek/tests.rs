use super::*;

#[test]
fn fields_of_every_format() {
    let body = br#"{"messages":[{"role":"user","content":"{\"model\":\"no\"}"}],"model":"gpt-x","stream":true,
            "stream_options":{"include_usage":true},"user":"u1","max_tokens":5,"max_completion_tokens":7.0}"#;
    let seen = peek(body).unwrap();
    assert!(seen.model.eq_str("gpt-x") && &body[seen.model_at.clone()] == br#""gpt-x""#);
    assert!(seen.stream && seen.include_usage);
    assert_eq!(seen.output.most(Format::Chat), Some(7));

    let rows: &[(&str, Option<u64>)] = &[
        (r#"{"model":"m"}"#, None),
        (r#"{"model":"m","stream":null,"user":"","metadata":{"user_id":"x_1"},"max_tokens":1}"#, Some(1)),
        (r#"{"model":"m","user":"a","safety_identifier":"b","max_output_tokens":2}"#, None),
        (r#"{"model":"m","user":7,"metadata":[],"stream_options":3,"max_tokens":"many"}"#, None),
        (r#"{"model":"m","max_t\u006fkens":3}"#, Some(3)),
    ];
    for (body, max_output) in rows {
        let seen = peek(body.as_bytes()).unwrap();
        assert!(seen.model.eq_str("m") && !seen.stream && !seen.include_usage, "{body}");
        assert_eq!(seen.output.most(Format::Chat), *max_output, "{body}");
    }
}

/// What limits count must be the least that a provider may write.
#[test]
fn the_length_of_answers() {
    use Format::{Chat, Messages, Responses};
    let rows: &[(Format, &str, Option<u64>, u64)] = &[
        (Messages, r#""max_tokens":50000,"max_completion_tokens":1"#, Some(50_000), 1),
        (Messages, r#""max_completion_tokens":1,"n":9"#, None, 1),
        (Chat, r#""max_tokens":50000,"max_completion_tokens":1"#, Some(50_000), 1),
        (Chat, r#""max_tokens":1,"max_completion_tokens":50000,"max_output_tokens":99999"#, Some(50_000), 1),
        (Responses, r#""max_output_tokens":9,"max_tokens":1,"n":3"#, Some(9), 1),
        (Chat, r#""Max_Tokens":50000"#, Some(50_000), 1),
        (Chat, r#""max_tokens":null,"max_completion_tokens":-1"#, None, 1),
        (Chat, r#""n":4"#, None, 4),
        (Chat, r#""n":2,"best_of":5,"prompt":["a","b",[1,2]]"#, None, 15),
        (Chat, r#""n":0,"prompt":[1,2,3]"#, None, 1),
        (Chat, r#""n":18446744073709551615,"prompt":["a","b"]"#, None, 2),
    ];
    for (format, fields, most, answers) in rows {
        let body = format!(r#"{{"model":"m",{fields}}}"#);
        let seen = peek(body.as_bytes()).unwrap();
        assert_eq!((seen.output.most(*format), seen.output.answers(*format)), (*most, *answers), "{format} {fields}");
    }
}

#[test]
fn the_response_that_is_continued() {
    let named = |body: &str| peek(body.as_bytes()).unwrap().previous_response.map(|id| id.unescape().into_owned());
    assert_eq!(named(r#"{"model":"m","previous_response_id":"resp_1"}"#).as_deref(), Some("resp_1"));
    for body in [r#"{"model":"m"}"#, r#"{"model":"m","previous_response_id":null}"#] {
        assert_eq!(named(body), None, "{body}");
    }
}

#[test]
fn the_tier_of_service() {
    let rows = [
        (r#"{"model":"m","service_tier":"flex"}"#, Some("flex")),
        (r#"{"service_tier" : "priority","model":"m"}"#, Some("priority")),
        (r#"{"model":"m","service_tier":null}"#, None),
        (r#"{"model":"m","metadata":{"service_tier":"flex"}}"#, None),
        (r#"{"model":"m"}"#, None),
    ];
    for (body, tier) in rows {
        let found = peek(body.as_bytes()).unwrap().service_tier;
        assert_eq!(found.map(|tier| tier.unescape().into_owned()).as_deref(), tier, "{body}");
    }
}

#[test]
fn models_that_a_provider_may_read_instead() {
    for body in [r#"{"model":"m","model":"m"}"#, r#"{"model":"m","Model":"x"}"#, r#"{"MODEL":"x","model":"m"}"#] {
        assert_eq!(peek(body.as_bytes()), Err(PeekError::TwoModels), "{body}");
    }
    let body = br#"{"model":"m","models":["a","b",7],"fallbacks":[{"model":"c"},"d"]}"#;
    let names: Vec<_> = peek(body).unwrap().alternatives().map(|name| name.unescape().into_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn repeated_fields_are_rejected() {
    for field in READ_FIELDS.into_iter().filter(|field| *field != "model") {
        let (first, upper) = (format!("\\u{:04x}", field.as_bytes()[0]), field.to_uppercase());
        for twin in [field, &upper, &format!("{first}{}", &field[1..])] {
            let body = format!(r#"{{"{field}":null,"model":"m","{twin}":null,"x":1,"x":1}}"#);
            assert_eq!(peek(body.as_bytes()), Err(PeekError::Twice(field)), "{body}");
        }
    }
    assert!(peek(br#"{"model":"m","user":"a","user":"b","metadata":{"n":1,"n":2}}"#).is_ok());
}

#[test]
fn refusals_name_kind_and_field() {
    let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let rows: &[(&[u8], Kind, Option<&str>, &str)] = &[
        (b" \n", Kind::InvalidJson, None, "the request body is empty; send a JSON object"),
        (
            b"{\"model\":",
            Kind::InvalidJson,
            None,
            "the request body is not valid JSON: the document ends inside a value at byte 9",
        ),
        (
            b"{\"model\":\"m\"} {",
            Kind::InvalidJson,
            None,
            "the request body is not valid JSON: something follows the end of the document at byte 14",
        ),
        (
            b"{\"model\":\"\xff\"}",
            Kind::InvalidJson,
            None,
            "the request body is not valid JSON: invalid UTF-8 at byte 10",
        ),
        (b" \x0c{}", Kind::InvalidJson, None, "the request body is not valid JSON: a value was expected at byte 1"),
        (b"model=x", Kind::InvalidJson, None, "the request body is a form; send a JSON object"),
        (b"<p>", Kind::InvalidJson, None, "the request body is not valid JSON: a value was expected at byte 0"),
        (
            deep.as_bytes(),
            Kind::InvalidJson,
            None,
            "the request body is not valid JSON: nested deeper than 128 levels at byte 144",
        ),
        (b"[1]", Kind::InvalidType, None, "the request body must be a JSON object, but it is an array"),
        (b"{}", Kind::InvalidRequest, Some("model"), "the request has no `model`; name the model to use"),
        (b"{\"model\":\"\"}", Kind::InvalidRequest, Some("model"), "`model` is empty; name the model to use"),
        (b"{\"model\":null}", Kind::InvalidType, Some("model"), "`model` must be a string, but it is null"),
        (
            b"{\"model\":\"m\",\"stream\":\"true\"}",
            Kind::InvalidType,
            Some("stream"),
            "`stream` must be a boolean, but it is a string",
        ),
    ];
    for (body, kind, param, note) in rows {
        let e = Error::from(peek(body).unwrap_err());
        assert_eq!((e.kind, e.param.as_deref(), e.note.as_ref()), (*kind, *param, *note));
    }
}
