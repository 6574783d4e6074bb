use super::*;

#[test]
fn openai_numbers_and_their_oddities() {
    let some = |input_total, cache_read, output_total, reasoning| Usage {
        input_total,
        cache_read,
        output_total,
        reasoning,
        ..Usage::default()
    };
    let rows: &[(&str, Usage)] = &[
        (
            r#"{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":80,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":4}}"#,
            some(100, 80, 9, 4),
        ),
        (
            r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":2},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":8}"#,
            some(5, 2, 3, 1),
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":3}"#,
            some(10, 7, 2, 0),
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":2,"cached_tokens":6,"prompt_tokens_details":null}"#,
            some(10, 6, 2, 0),
        ),
        (r#"{"prompt_tokens":"10","completion_tokens":2.0,"total_tokens":null}"#, some(10, 0, 2, 0)),
        (
            r#"{"prompt_tokens":-1,"completion_tokens":1e300,"prompt_tokens_details":{"cached_tokens":null}}"#,
            some(0, 0, 0, 0),
        ),
        (r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":15}"#, some(8, 0, 7, 5)),
        (r#"{"prompt_tokens":8,"total_tokens":8}"#, some(8, 0, 0, 0)),
        (
            r#"{"input_tokens":90,"input_tokens_details":{"image_tokens":50,"audio_tokens":30},"output_tokens":20,"output_tokens_details":{"audio_tokens":8,"image_tokens":7}}"#,
            Usage { audio_input: 30, image_input: 50, audio_output: 8, image_output: 7, ..some(90, 0, 20, 0) },
        ),
        (r#"{"total_tokens":3}"#, some(3, 0, 0, 0)),
        (r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":3}"#, some(8, 0, 2, 0)),
        (
            r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":107,"prompt_tokens_details":{"cached_tokens":100}}"#,
            Usage { repaired: true, ..some(105, 100, 2, 0) },
        ),
        (
            r#"{"prompt_tokens":5,"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":3}}"#,
            Usage { repaired: true, ..some(5, 0, 5, 3) },
        ),
        (r#"null"#, Usage::default()),
        (r#"[]"#, Usage::default()),
    ];
    for (raw, usage) in rows {
        assert_eq!(Usage::from_openai(RawValue::parse(raw.as_bytes()).unwrap()), *usage, "{raw}");
    }
}

/// As the hosts have sent it, and what it cost.
#[test]
fn hosts() {
    let rows: &[(&str, &str, [u64; 4])] = &[
        // host, usage, input, cache read, output, reasoning
        (
            "xAI",
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":32,"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94}}"#,
            [32, 6, 103, 94],
        ),
        (
            "xAI, cut while it thought",
            r#"{"prompt_tokens":32,"completion_tokens":0,"total_tokens":132,"completion_tokens_details":{"reasoning_tokens":100}}"#,
            [32, 0, 100, 100],
        ),
        (
            "OpenAI",
            r#"{"prompt_tokens":32,"completion_tokens":103,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
            [32, 0, 103, 94],
        ),
        (
            "OpenRouter",
            r#"{"prompt_tokens":2168,"completion_tokens":100,"total_tokens":2268,"prompt_tokens_details":{"cached_tokens":2161}}"#,
            [2168, 2161, 100, 0],
        ),
        (
            "OpenRouter, read and written",
            r#"{"prompt_tokens":2168,"completion_tokens":100,"total_tokens":2268,"prompt_tokens_details":{"cached_tokens":2000,"cache_write_tokens":168}}"#,
            [2168, 2000, 100, 0],
        ),
        ("Gemini", r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":15}"#, [8, 0, 7, 5]),
        ("Gemini, cut while it thought", r#"{"prompt_tokens":8,"total_tokens":15}"#, [8, 0, 7, 7]),
        (
            "Mistral",
            r#"{"prompt_audio_seconds":203,"prompt_tokens":4,"completion_tokens":635,"total_tokens":3264}"#,
            [2629, 0, 635, 0],
        ),
        (
            "a host that follows Anthropic",
            r#"{"prompt_tokens":500,"completion_tokens":2,"total_tokens":602,"prompt_tokens_details":{"cached_tokens":100}}"#,
            [600, 100, 2, 0],
        ),
        (
            "both beside",
            r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":117,"prompt_tokens_details":{"cached_tokens":100},"completion_tokens_details":{"reasoning_tokens":10}}"#,
            [105, 100, 12, 10],
        ),
        (
            "equal by chance",
            r#"{"prompt_tokens":50,"completion_tokens":2,"total_tokens":62,"prompt_tokens_details":{"cached_tokens":10},"completion_tokens_details":{"reasoning_tokens":10}}"#,
            [50, 10, 12, 10],
        ),
    ];
    for (host, raw, expected) in rows {
        let usage = Usage::from_openai(RawValue::parse(raw.as_bytes()).unwrap());
        assert_eq!([usage.input_total, usage.cache_read, usage.output_total, usage.reasoning], *expected, "{host}");
    }
}

/// The short way reads what the walk reads, or leaves the object to it.
#[test]
fn plain_objects_are_read_as_all_are() {
    let details = r#""prompt_tokens_details":{"cached_tokens":2,"audio_tokens":null},"total_tokens":9"#;
    let rows = [
        (format!(r#"{{"prompt_tokens":7,"completion_tokens":2,{details}}}"#), true),
        (format!("{{ \"input_tokens\" : 7 ,\n \"x\":0, {details} }}"), true),
        (r#"{"total_tokens":123456789012345,"output_tokens":0}"#.into(), true),
        (r#"{"prompt_tokens":7,"prompt_tokens_details":null}"#.into(), true),
        (r#"{"prompt_tokens":1234567890123456}"#.into(), false),
        (r#"{"prompt_tokens":7,"cost":0.5}"#.into(), false),
        (r#"{"prompt_tokens":"7"}"#.into(), false),
        (r#"{"prompt_tokens":-7}"#.into(), false),
        (r#"{"prompt_tokens":7e1}"#.into(), false),
        (r#"{"prompt_tokens":7,"service_tier":"default"}"#.into(), false),
        (r#"{"prompt_tokens":7,"x":{"prompt_tokens":8}}"#.into(), false),
        (r#"{"prompt_tokens":7,"x\"":1,"y\\":2}"#.into(), false),
        (r#"{"completion_tokens_details":{"x":{"reasoning_tokens":1}}}"#.into(), false),
        ("{}".into(), false),
        ("null".into(), false),
    ];
    for (text, is_plain) in rows {
        let raw = RawValue::parse(text.as_bytes()).unwrap();
        let (mut plain, mut walked) = (Counts::default(), Counts::default());
        walked.walk(raw);
        assert_eq!(plain.read_plain(raw.bytes()), is_plain, "{text}");
        assert!(!is_plain || plain == walked, "{text}");
        assert_eq!(Counts::of(raw), walked, "{text}");
    }
}

#[test]
fn fresh_input_is_what_no_cache_touched() {
    let usage = Usage {
        input_total: 20,
        cache_read: 80,
        cache_write_5m: 1,
        cache_write_1h: 2,
        output_total: 9,
        ..Usage::default()
    };
    let usage = usage.with_cache_outside();
    assert_eq!((usage.input_total, usage.input_fresh(), usage.cache_write(), usage.total()), (103, 20, 3, 112));
    assert_eq!(usage.settled(usage.total(), false), usage);
}

/// LiteLLM keeps the names of Anthropic's numbers, within a prompt that holds them all.
#[test]
fn cache_counts_under_other_names() {
    let rows = [
        r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":80,"cache_creation_input_tokens":10}"#,
        r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":80,"cache_creation_tokens":10}}"#,
        r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":80,"cache_creation_input_tokens":10,"prompt_tokens_details":{"cached_tokens":80,"cache_creation_tokens":10}}"#,
        r#"{"prompt_tokens":10,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":80,"cache_creation_input_tokens":10}"#,
    ];
    for raw in rows {
        let usage = Usage::from_openai(RawValue::new(raw.as_bytes()));
        assert_eq!(
            (usage.input_total, usage.cache_read, usage.cache_write(), usage.output_total),
            (100, 80, 10, 20),
            "{raw}"
        );
    }
}
