//! Every counter of a core, with its exposition name and help text: the one table.

macro_rules! counters {
    ($( $name:ident $metric:literal $help:literal; )*) => {
        /// An event that a core counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $( $name, )* }

        impl Counter {
            pub const ALL: &'static [Counter] = &[ $( Counter::$name, )* ];

            /// Exposition name and help text.
            pub fn describe(self) -> (&'static str, &'static str) {
                match self { $( Counter::$name => ($metric, $help), )* }
            }
        }
    };
}

counters! {
    ConnectionsAccepted "llm_proxy_connections_accepted_total" "Client connections accepted.";
    ConnectionsRefused  "llm_proxy_connections_refused_total" "Client connections closed at once because the worker had MAX_CONNECTIONS open.";
    ConnectionPanics    "llm_proxy_connection_panics_total" "Connections ended by a caught panic.";
    Requests            "llm_proxy_http_requests_total" "Request heads read, whatever came of them.";
    BadRequests         "llm_proxy_bad_requests_total" "Requests refused for their HTTP or JSON.";
    AuthFailures        "llm_proxy_auth_failures_total" "Requests without a valid credential.";
    RateLimited         "llm_proxy_rate_limited_total" "Requests refused by a limit of their credential.";
    LimitLeases         "llm_proxy_limit_leases_total" "Slices of limits that were renewed at the store of LIMITS_URL.";
    LimitStoreFailures  "llm_proxy_limit_store_failures_total" "Times that the store of LIMITS_URL could not be asked, so that each node kept its limits for itself.";
    ClientsGone         "llm_proxy_clients_gone_total" "Requests whose client closed before the end of the answer.";
    Attempts            "llm_proxy_attempts_total" "Tries at an upstream.";
    AttemptsFailed      "llm_proxy_attempts_failed_total" "Tries that failed before anything was sent to the client.";
    UpstreamConnects    "llm_proxy_upstream_connects_total" "Connections opened to upstreams.";
    StaleRetries        "llm_proxy_upstream_stale_retries_total" "Requests sent again because a pooled connection had been closed.";
    Truncated           "llm_proxy_answers_truncated_total" "Answers that broke off after their head was sent.";
    HeldOverflow        "llm_proxy_held_overflow_total" "Streams whose head was sent before content came because too much was held.";
    TapErrors           "llm_proxy_tap_parse_errors_total" "Bypassed events that could not be read for usage.";
    Translated          "llm_proxy_translated_requests_total" "Requests sent to a provider in another format than the client's.";
    TranslationOddities "llm_proxy_translation_oddities_total" "Parts of providers' answers that a translation could not show, or had to guess.";
    Mended              "llm_proxy_mended_requests_total" "Requests sent once more without something that a provider had refused.";
    EarlyStops          "llm_proxy_early_stops_total" "Answers ended by the gateway at a stop sequence that the provider does not know.";
    AnswerOverflow      "llm_proxy_answer_overflow_total" "Whole answers given up because they were larger than the gateway holds for translation.";
    ReasoningRestored   "llm_proxy_reasoning_restored_total" "Assistant turns that got back the reasoning which the client had left out.";
    ReplayDropped       "llm_proxy_reasoning_mail_dropped_total" "Turns whose reasoning another core had no room to be told of.";
    BytesIn             "llm_proxy_request_body_bytes_total" "Bytes of request bodies, after decoding.";
    BytesOut            "llm_proxy_response_bytes_total" "Bytes sent to clients.";
}

/// Counters by a word of a fixed list and by the formats of client and provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Grid {
    Dropped,
    Repaired,
}

impl Grid {
    pub const ALL: [Grid; 2] = [Grid::Dropped, Grid::Repaired];
    /// Words that a grid has room for.
    pub const WORDS: usize = 96;
    /// Formats.
    pub const SIDES: usize = 3;

    /// Exposition name, label of the words, and help text.
    pub fn describe(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Grid::Dropped => (
                "llm_proxy_translation_dropped_total",
                "field",
                "Fields that a translated request could not say, each named in x-llm-proxy-dropped.",
            ),
            Grid::Repaired => (
                "llm_proxy_translation_repaired_total",
                "repair",
                "Mends of conversations in translated requests, each named in x-llm-proxy-repaired.",
            ),
        }
    }
}

/// The words of each [`Grid`], in the order of its numbers, and the names of the formats.
#[derive(Debug, Clone, Copy)]
pub struct Words<'w> {
    pub grids: [&'w [&'w str]; Grid::ALL.len()],
    pub sides: [&'w str; Grid::SIDES],
}
