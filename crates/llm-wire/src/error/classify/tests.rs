use super::*;
use crate::formats::errors::read;

#[test]
fn kinds() {
    use Format::{Chat, Messages, Responses};
    #[rustfmt::skip]
        let rows: &[(Format, Option<u16>, &str, Kind)] = &[
            (Messages, Some(529), r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Kind::Overloaded),
            (Messages, None, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Kind::Overloaded),
            (Messages, Some(400), r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2"}}"#, Kind::ContextTooLong),
            (Messages, Some(400), r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#, Kind::Billing),
            (Messages, None, r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, Kind::UpstreamFault),
            (Chat, Some(400), r#"{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#, Kind::ContextTooLong),
            (Chat, Some(402), r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#, Kind::Billing),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, Kind::Billing),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}"#, Kind::RateLimit),
            (Chat, Some(429), r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}"#, Kind::RateLimit),
            (Chat, Some(429), r#"[{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED"}}]"#, Kind::RateLimit),
            (Chat, Some(429), r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","code":null}}"#, Kind::Billing),
            (Chat, Some(401), r#"{"error":{"message":"Incorrect API key: sk-x","type":"invalid_request_error","code":"invalid_api_key"}}"#, Kind::UpstreamAuth),
            (Chat, Some(404), r#"{"error":{"message":"m","type":"invalid_request_error","code":"model_not_found"}}"#, Kind::ModelNotFound),
            (Chat, Some(403), r#"{"error":{"message":"x requires moderation","code":403,"metadata":{}}}"#, Kind::Permission),
            (Chat, Some(403), r#"{"error":{"message":"m","type":"invalid_request_error","code":"unsupported_country_region_territory"}}"#, Kind::Permission),
            (Chat, Some(403), r#"{"error":{"message":"m","type":"invalid_request_error","code":"content_policy_violation"}}"#, Kind::ContentFilter),
            (Chat, Some(403), r#"{"error":{"message":"m","code":"invalid_api_key"}}"#, Kind::UpstreamAuth),
            (Chat, Some(403), r#"{"error":{"message":"m","code":403,"status":"PERMISSION_DENIED"}}"#, Kind::UpstreamAuth),
            (Messages, Some(403), r#"{"type":"error","error":{"type":"permission_error","message":"m"}}"#, Kind::UpstreamAuth),
            (Messages, Some(401), r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#, Kind::UpstreamAuth),
            (Chat, Some(500), r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, Kind::UpstreamFault),
            (Chat, None, r#"{"error":{"message":"m","code":429}}"#, Kind::RateLimit),
            (Chat, None, r#"{"error":{"message":"m"}}"#, Kind::UpstreamFault),
            (Responses, None, r#"{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"credit_balance_exhausted","message":"m"}}"#, Kind::Billing),
            (Responses, None, r#"{"type":"error","error":{"type":"usage_limit_reached","message":"m"}}"#, Kind::Billing),
        ];
    for (format, status, body, expected) in rows {
        let read = read(*format, body.as_bytes()).unwrap();
        assert_eq!(kind(*status, &read), *expected, "{body}");
    }
}

/// A failed response has neither a status nor an error type, so its code decides the kind.
#[test]
fn codes_of_failed_responses() {
    let rows = [
        ("server_error", Kind::UpstreamFault),
        ("rate_limit_exceeded", Kind::RateLimit),
        ("invalid_prompt", Kind::ContentFilter),
        ("bio_policy", Kind::ContentFilter),
        ("vector_store_timeout", Kind::UpstreamTimeout),
        ("invalid_image", Kind::InvalidRequest),
        ("invalid_image_format", Kind::InvalidRequest),
        ("invalid_base64_image", Kind::InvalidRequest),
        ("invalid_image_url", Kind::InvalidRequest),
        ("image_too_large", Kind::InvalidRequest),
        ("image_too_small", Kind::InvalidRequest),
        ("image_parse_error", Kind::InvalidRequest),
        ("image_content_policy_violation", Kind::ContentFilter),
        ("invalid_image_mode", Kind::InvalidRequest),
        ("image_file_too_large", Kind::InvalidRequest),
        ("unsupported_image_media_type", Kind::InvalidRequest),
        ("empty_image_file", Kind::InvalidRequest),
        ("failed_to_download_image", Kind::InvalidRequest),
        ("image_file_not_found", Kind::InvalidRequest),
        ("not_known", Kind::UpstreamFault),
    ];
    for (code, expected) in rows {
        let event = format!(r#"{{"type":"response.failed","response":{{"error":{{"code":"{code}","message":"m"}}}}}}"#);
        let failed = error(None, &read(Format::Responses, event.as_bytes()).unwrap());
        assert_eq!(failed.kind, expected, "{code}");
        assert_eq!(failed.code, (expected == Kind::InvalidRequest).then_some(code));
    }
}

/// The words of vendors and servers for a request that is too long, and near misses.
#[test]
fn words_for_a_request_that_is_too_long() {
    let rows = [
        (400, "prompt is too long: 213462 tokens > 200000 maximum"),
        (400, "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
        (400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens"),
        (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (400, "Input is too long for requested model."),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
        (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4500."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000"),
        (400, "The prompt (total length 5000) is too long to fit into the model (context length 4096)."),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        (400, "the request exceeds the available context size, try increasing it"),
        (400, "invalid params, context window exceeds limit (2013)"),
        (400, "Invalid request: Your request exceeded model token limit: 262144"),
        (400, "Prompt exceeds max length"),
        (400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
        (400, "prompt token count of 140000 exceeds the limit of 128000"),
        (413, "prompt is too long"),
    ];
    let kind_of = |status, message: &str| {
        let message = message.replace('\n', " ");
        let body = format!(r#"{{"error":{{"message":"{message}","type":"invalid_request_error"}}}}"#);
        kind(Some(status), &read(Format::Chat, body.as_bytes()).unwrap())
    };
    for (status, message) in rows {
        assert_eq!(kind_of(status, message), Kind::ContextTooLong, "{message}");
    }
    let others = [
        (429, "Too many tokens, please wait before trying again."),
        (429, "Request too large: maximum context length and tokens per minute"),
        (400, "max_tokens is too large: 200000. This model supports at most 16384 completion tokens"),
    ];
    for (status, message) in others {
        assert_ne!(kind_of(status, message), Kind::ContextTooLong, "{message}");
    }
}

#[test]
fn a_missing_model_is_recognized() {
    let rows = [
        (r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}"#, true),
        (
            r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}"#,
            true,
        ),
        (r#"{"error":{"message":"x is not a valid model ID","code":400}}"#, true),
        (r#"{"message":"Invalid model: x","type":"invalid_model","code":"1500"}"#, true),
        (r#"{"error":{"message":"m","code":"model_not_found"}}"#, true),
        (r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#, true),
        (r#"{"error":{"code":404,"message":"models/x is not found for API version v1","status":"NOT_FOUND"}}"#, true),
        (r#"{"error":{"message":"The model 'x' does not exist","param":"model"}}"#, true),
        (r#"{"error":{"message":"Model not found, inaccessible, and/or not deployed","code":"NOT_FOUND"}}"#, true),
        (r#"{"error":{"message":"this model does not support tools","type":"invalid_request_error"}}"#, false),
        (r#"{"error":{"message":"file abc not found","type":"invalid_request_error"}}"#, false),
        (r#"{"type":"error","error":{"type":"not_found_error","message":"File not found: file_1"}}"#, false),
        (r#"{"error":{"message":"Tool choice 'get_model' not found in 'tools'"}}"#, false),
        (r#"{"error":{"message":"Tool choice 'model_x-1' not found in 'tools'"}}"#, false),
        (r#"{"error":{"message":"the parameter does not exist for this model"}}"#, false),
        (r#"{"error":{"message":"invalid model output schema"}}"#, false),
        (r#"{"error":{"message":"`top_k` does not exist for the model x","param":"top_k"}}"#, false),
        (r#"{"error":{"message":"The model `x-1` does not exist."}}"#, false),
    ];
    for (body, expected) in rows {
        let read = crate::formats::errors::read_refusal(Format::Chat, body.as_bytes()).unwrap();
        assert_eq!(is_no_model(&read, "x"), expected, "{body}");
    }
}

#[test]
fn pages_are_not_shown() {
    let rows = [
        (502, "<html>Bad Gateway</html>", "upstream returned 502"),
        (502, "", "upstream returned 502"),
        (
            404,
            "<html>Not Found</html>",
            "upstream returned 404 and no error of its API: the base address of this provider may be wrong",
        ),
        (503, " no healthy\r\n upstream ", "upstream returned 503: no healthy upstream"),
    ];
    for (status, body, note) in rows {
        assert_eq!(unreadable(status, body.as_bytes()).note, note);
    }
    assert_eq!(unreadable(503, &b"x ".repeat(2048)).note.len(), "upstream returned 503: ".len() + 199);
    assert_eq!(unreadable(503, &[b'x'; 4096]).note, "upstream returned 503");
    assert_eq!(unreadable(503, b"").kind, Kind::Overloaded);
    assert_eq!(unreadable(500, &[0x1f, 0x8b, 8, 0xff, 0xfe, b'x']).note, "upstream returned 500");
    assert_eq!(
        unreadable(500, b"not\xe9 long enough to be binary").note,
        "upstream returned 500: not\u{fffd} long enough to be binary"
    );
}

/// The word at the end may be a key: it is shown whole, or not at all.
#[test]
fn no_word_of_a_message_is_cut() {
    let rows = [
        ("one two", 7, "one two"),
        ("one two", 6, "one"),
        ("one two three", 7, "one two"),
        ("one two", 3, "one"),
        ("undivided", 3, ""),
        ("denied&key=opaque", 13, ""),
        ("\u{5bc6}\u{94a5}key=opaque", 9, "\u{5bc6}\u{94a5}"),
        ("\u{5bc6}\u{94a5}\u{9519}", 2, "\u{5bc6}\u{94a5}"),
        ("é é é", 4, "é é"),
        ("", 0, ""),
    ];
    for (text, max, expected) in rows {
        assert_eq!(clipped(text, max), expected, "{text} {max}");
    }
}

#[test]
fn a_refused_key_is_never_shown() {
    let read = ReadError { message: RawStr::new(b"Incorrect API key: sk-secret"), ..ReadError::default() };
    let error = error(Some(401), &read);
    assert_eq!((error.kind, error.note.as_ref()), (Kind::UpstreamAuth, "upstream authentication failed"));
}
#[test]
fn keys_and_account_ids_are_redacted() {
    let rows = [
        ("Incorrect API key provided: sk-proj-Ab12************wxYz. See x", "Incorrect API key provided: sk-…. See x"),
        (
            "Rate limit reached for gpt-4o in organization org-Ab12Cd34Ef56 on tokens per min (TPM): try again in 1s",
            "Rate limit reached for gpt-4o in organization org-… on tokens per min (TPM): try again in 1s",
        ),
        ("(proj_0123456789) `eyJhbGciOi12.x`", "(proj_…) `eyJ…`"),
        ("an org-wide rule; sk-short1; claude-opus-4-5 é", "an org-wide rule; sk-short1; claude-opus-4-5 é"),
        ("", ""),
    ];
    for (message, expected) in rows {
        assert_eq!(redacted(message), expected);
        let read = ReadError { message: RawStr::new(message.as_bytes()), ..ReadError::default() };
        let error = error(Some(429), &read);
        assert!(message.is_empty() || error.note == expected, "{}", error.note);
        assert!(!error.detail.unwrap().contains("Ab12"), "nor in the log");
    }
}

#[test]
fn codes_of_invalid_requests_are_passed_on() {
    let code = |body: &str, status| error(Some(status), &read(Format::Chat, body.as_bytes()).unwrap()).code;
    let of = |code: &str| format!(r#"{{"error":{{"message":"m","type":"invalid_request_error","code":"{code}"}}}}"#);
    assert_eq!(code(&of("unsupported_value"), 400), Some("unsupported_value"));
    assert_eq!(code(&of("house_word"), 400), None);
    assert_eq!(code(&of("invalid_value"), 500), None);
}

#[test]
fn fields_are_named_as_the_client_knows_them() {
    use Format::{Chat, Messages, Responses};
    let rows = [
        (Chat, Responses, "max_output_tokens", Some("max_completion_tokens")),
        (Chat, Responses, "reasoning.effort", Some("reasoning_effort")),
        (Chat, Responses, "input[2].content", None),
        (Responses, Chat, "max_tokens", Some("max_output_tokens")),
        (Responses, Chat, "messages", Some("input")),
        (Messages, Chat, "max_tokens", None),
        (Chat, Messages, "max_tokens", None),
    ];
    for (client, provider, theirs, ours) in rows {
        let read = ReadError { param: Some(RawStr::new(theirs.as_bytes())), ..ReadError::default() };
        assert_eq!(param(client, provider, &read), ours, "{client} {provider} {theirs}");
    }
}
