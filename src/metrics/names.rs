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
    BytesIn             "llm_proxy_request_body_bytes_total" "Bytes of request bodies, after decoding.";
    BytesOut            "llm_proxy_response_bytes_total" "Bytes sent to clients.";
}
