//! Every metric, with its exposition name, labels and help text: the one table. [`Counter`] has
//! what is counted without labels, [`Family`] what is distinguished by some, [`Grid`] what
//! translations lose and repair.

macro_rules! counters {
    ($( $name:ident $metric:literal $help:literal; )*) => {
        /// An event that a core counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $( $name, )* }

        impl Counter {
            /// Every counter, in the order of the exposition.
            pub const ALL: &'static [Counter] = &[ $( Counter::$name, )* ];

            /// Exposition name and help text.
            pub fn describe(self) -> (&'static str, &'static str) {
                match self { $( Counter::$name => ($metric, $help), )* }
            }
        }
    };
}

counters! {
    ConnectionsAccepted "llm_proxy_connections_accepted_total" "Client connections that were accepted.";
    ConnectionsRefused  "llm_proxy_connections_refused_total" "Client connections that were closed at once because the worker had MAX_CONNECTIONS open.";
    ConnectionsOfPeer   "llm_proxy_peer_connections_refused_total" "Client connections that were closed at once because their address had MAX_CONNECTIONS_PER_PEER open.";
    ProxyHeaders        "llm_proxy_proxy_headers_refused_total" "Client connections that were closed because they began with no valid PROXY header, or came from an address that is not in TRUSTED_PROXIES.";
    AcceptPauses        "llm_proxy_accept_pauses_total" "Pauses in which a worker accepted no connection, because file descriptors were short.";
    ConnectionsMoved    "llm_proxy_connections_moved_total" "Client connections that were served by another worker than the one that accepted them, because it had fewer.";
    ConnectionsUnmoved  "llm_proxy_connections_unmoved_total" "Client connections that stayed with the worker that accepted them, because the queue of the one with the fewest was full.";
    ConnectionPanics    "llm_proxy_connection_panics_total" "Connections that ended because of a caught panic.";
    Requests            "llm_proxy_http_requests_total" "Request heads that were read, whatever became of the requests.";
    BadRequests         "llm_proxy_bad_requests_total" "Requests that were refused because their HTTP or JSON was invalid.";
    BodyMemoryExhausted "llm_proxy_body_memory_exhausted_total" "Requests that failed because bodies took all of MAX_BUFFERED_BYTES.";
    AuthFailures        "llm_proxy_auth_failures_total" "Requests without a valid credential.";
    RateLimited         "llm_proxy_rate_limited_total" "Requests that were refused because of a limit of their credential.";
    ProviderFull        "llm_proxy_provider_limits_reached_total" "Times that a provider was passed over because it was at a limit of its own (`limits` in its parameters).";
    Queued              "llm_proxy_queued_requests_total" "Requests that waited for room in the process or at a provider.";
    QueueTimeouts       "llm_proxy_queue_timeouts_total" "Requests that waited for QUEUE_MAX_WAIT_SECS in vain.";
    QueueRefused        "llm_proxy_queue_refused_total" "Requests that could not wait for room, because QUEUE_MAX_REQUESTS did already or QUEUE_MAX_WAIT_SECS is 0.";
    LimitLeases         "llm_proxy_limit_leases_total" "Leases of limits that were renewed at the server of LIMITS_URL.";
    LimitStoreFailures  "llm_proxy_limit_store_failures_total" "Times that the server of LIMITS_URL did not answer, so that each gateway applied its limits, or knew cooldowns, by itself.";
    SharedCooldowns     "llm_proxy_shared_cooldowns_total" "Cooldowns of providers' accounts that other gateways have reported through LIMITS_URL.";
    BudgetExceeded      "llm_proxy_budget_exceeded_total" "Requests that were refused because too little of a budget was left.";
    BudgetCapped        "llm_proxy_budget_capped_total" "Requests that were sent with a limit of the response that their budgets allowed.";
    BudgetDowngraded    "llm_proxy_budget_downgraded_total" "Requests that were served by the model which a budget names, because too little of it was left for the one that was asked for.";
    BudgetClaims        "llm_proxy_budget_claims_total" "Claims to the sums of budgets that the store has answered.";
    BudgetStoreFailures "llm_proxy_budget_store_failures_total" "Times that the store did not answer a claim to the sums of budgets.";
    ClientsGone         "llm_proxy_clients_gone_total" "Requests whose client disconnected before the end of the response.";
    Attempts            "llm_proxy_attempts_total" "Attempts at providers.";
    AttemptsFailed      "llm_proxy_attempts_failed_total" "Attempts that failed before anything was sent to the client.";
    Retries             "llm_proxy_upstream_retries_total" "Attempts at a provider that had failed before in the same request.";
    RetriesDenied       "llm_proxy_upstream_retries_denied_total" "Retries that were not made because RETRY_BUDGET_PERCENT was used up.";
    Fallbacks           "llm_proxy_fallbacks_total" "Requests that a member of a virtual model refused, as too long or by its content filter, and that another member may get.";
    AffinityKept        "llm_proxy_affinity_requests_total" "Requests that were sent first to the provider that their conversation belongs to.";
    AffinityPassedOver  "llm_proxy_affinity_passed_over_total" "Requests that were sent to another provider than the one of their conversation, which had more than its share of them.";
    Hedges              "llm_proxy_hedges_total" "Second attempts that were begun beside a slow first one (`hedge`).";
    HedgesWon           "llm_proxy_hedges_won_total" "Second attempts that were first with their answer, or whose first attempt failed.";
    HedgesDenied        "llm_proxy_hedges_denied_total" "Second attempts that were not made because the share of hedged requests was used up or the gateway stopped.";
    Rescues             "llm_proxy_rescues_total" "Attempts to continue a stream that broke off behind its first content with another provider (RESCUE_STREAMS).";
    RescuesFailed       "llm_proxy_rescues_failed_total" "Streams that broke off and that no other provider could continue, so that an error event ended them.";
    IssuerKnown         "llm_proxy_issuer_known_requests_total" "Requests that named a stored response or a file and were sent to the account that has it.";
    IssuerUnknown       "llm_proxy_issuer_unknown_requests_total" "Requests that named a stored response of which the issuer was not known, so that the providers were asked in turn.";
    IssuerOther         "llm_proxy_issuer_forbidden_requests_total" "Requests that were refused because they named a stored response of another credential.";
    UpstreamConnects    "llm_proxy_upstream_connects_total" "Connections that were opened to providers.";
    StaleRetries        "llm_proxy_upstream_stale_retries_total" "Requests that were sent again because the provider had closed the pooled connection.";
    Truncated           "llm_proxy_answers_truncated_total" "Responses that broke off after their head was sent.";
    HeldOverflow        "llm_proxy_held_overflow_total" "Streams whose head was sent before their first content because too many bytes were held back.";
    AnswersNotHeld      "llm_proxy_answers_not_held_total" "Whole responses that were forwarded before they were complete, because of HOLD_ANSWER_BYTES or MAX_BUFFERED_BYTES.";
    TapErrors           "llm_proxy_tap_parse_errors_total" "Events of passed-through streams that could not be read for usage.";
    Translated          "llm_proxy_translated_requests_total" "Requests that were sent to a provider in another format than the client's.";
    TranslationOddities "llm_proxy_translation_oddities_total" "Parts of providers' responses that a translation could not express, or had to guess.";
    Mended              "llm_proxy_mended_requests_total" "Requests that were sent once more without something that the provider had refused.";
    EarlyStops          "llm_proxy_early_stops_total" "Responses that the gateway ended at a stop sequence that the provider does not know.";
    AnswerOverflow      "llm_proxy_answer_overflow_total" "Whole responses that failed because they were larger than the gateway holds for translation.";
    ReasoningRestored   "llm_proxy_reasoning_restored_total" "Assistant turns to which the gateway added the reasoning that the client had left out.";
    ReplayDropped       "llm_proxy_reasoning_mail_dropped_total" "Turns whose reasoning another worker had no room to receive.";
    BytesIn             "llm_proxy_request_body_bytes_total" "Bytes of request bodies, after decompression.";
    BytesOut            "llm_proxy_response_bytes_total" "Bytes that were sent to clients.";
}

/// What the cells of a series are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// One cell.
    Counter,
    /// One cell, which may also be counted down or set; the sum over the cores wraps.
    Gauge,
    /// A cell for each bucket, one for what is above the last, one for the sum. Bounds are in the
    /// unit of the exposition.
    Histogram(&'static [f64]),
}

impl Shape {
    /// Returns how many cells a series of this shape has.
    pub fn cells(self) -> usize {
        match self {
            Shape::Counter | Shape::Gauge => 1,
            Shape::Histogram(bounds) => bounds.len() + 2,
        }
    }
}

/// A family as it is exposed.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub shape: Shape,
    /// The unit of a cell in the unit of the exposition: 1e-6 where microseconds are counted and
    /// seconds are reported.
    pub scale: f64,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! families {
    ($( $name:ident $metric:literal $shape:expr, $scale:literal [$($label:literal)*] $help:literal; )*) => {
        /// A family of series that differ by their labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Family { $( $name, )* }

        impl Family {
            /// Every family, in the order of the exposition.
            pub const ALL: &'static [Family] = &[ $( Family::$name, )* ];
            const ROWS: &'static [Row] = &[ $( Row {
                name: $metric, shape: $shape, scale: $scale, labels: &[$($label),*], help: $help,
            }, )* ];

            /// Returns how the family is exposed.
            pub fn row(self) -> &'static Row {
                &Family::ROWS[self as usize]
            }
        }
    };
}

// Bounds of llm-proxy v1, so that its dashboards go on.
const DURATIONS: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];
const LATENCIES: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
const FIRST_TOKENS: &[f64] = &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
const RATES: &[f64] = &[1.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0];
// Ours: the gateway's own time is a matter of microseconds, the pauses of a stream one of
// milliseconds.
const OWN: &[f64] = &[1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 1.0];
const STAGES: &[f64] = &[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
const GAPS: &[f64] = &[1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

use Shape::{Counter as C, Gauge as G, Histogram as H};

families! {
    Requests      "llm_proxy_requests_total" C, 1.0 ["method" "endpoint" "model" "provider" "status_code" "api_key_name" "client"] "Requests that have ended. Those that were refused before a provider was chosen have the provider `none`.";
    VirtualModels "llm_proxy_virtual_model_requests_total" C, 1.0 ["virtual_model" "model" "provider" "status_code"] "Requests for virtual models, by the provider's model that served them.";
    Duration      "llm_proxy_request_duration_seconds" H(DURATIONS), 1e-6 ["method" "endpoint" "model" "provider" "api_key_name" "client"] "Time from the head of a request to the last byte of its response.";
    Active        "llm_proxy_active_requests" G, 1.0 ["endpoint"] "Requests in progress.";
    Tokens        "llm_proxy_tokens_total" C, 1.0 ["model" "provider" "token_type" "api_key_name" "client"] "Tokens of prompts (`prompt`), of responses (`completion`) and of both (`total`).";
    TokenDetails  "llm_proxy_token_details_total" C, 1.0 ["model" "provider" "detail"] "Parts of these tokens: read from a cache, written to a cache, or used for reasoning; also calls of tools at the provider.";
    TokenSources  "llm_proxy_token_counts_total" C, 1.0 ["provider" "source"] "Responses by the source of their token count: the provider, an exact count by the gateway, or an estimate.";
    Cost          "llm_proxy_cost_dollars_total" C, 1e-9 ["model" "provider" "api_key_name"] "Cost in dollars, by the configured prices.";
    Ttft          "llm_proxy_ttft_seconds" H(FIRST_TOKENS), 1e-6 ["source" "model" "provider"] "Time from the head of a request to the first content of its stream.";
    TokenRate     "llm_proxy_tokens_per_second" H(RATES), 1e-3 ["source" "model" "provider"] "Tokens of a stream divided by the time from its first content to its end.";
    InterToken    "llm_proxy_inter_token_seconds" H(GAPS), 1e-6 ["model" "provider"] "Mean time between two tokens of a stream.";
    StreamGap     "llm_proxy_stream_gap_max_seconds" H(GAPS), 1e-6 ["model" "provider"] "Longest pause of a stream after its first content.";
    Health        "llm_proxy_provider_health" G, 1.0 ["provider"] "1 if the provider serves requests, 0 if it is out of service or its last health check failed.";
    Latency       "llm_proxy_provider_latency_seconds" H(LATENCIES), 1e-6 ["provider"] "Time from the first byte sent to a provider to the head of its response, of requests and health checks.";
    Bypass        "llm_proxy_bypass_requests_total" C, 1.0 ["client_protocol" "provider_protocol" "provider"] "Requests that were passed through to a provider of the client's own format.";
    BypassBytes   "llm_proxy_bypass_streaming_bytes_total" C, 1.0 ["provider"] "Bytes of streams that were passed through unchanged.";
    Cross         "llm_proxy_cross_protocol_requests_total" C, 1.0 ["client_protocol" "provider_protocol" "provider"] "Requests that were translated.";
    Weight        "llm_proxy_provider_effective_weight" G, 1.0 ["provider"] "Weight of a provider that is in force: its own, times the share that failures have left it, and 0 while it is out of service.";
    Circuit       "llm_proxy_provider_circuit_state" G, 1.0 ["provider" "state"] "1 for the state that the provider is in: `closed`, `open` or `half_open`.";
    Disconnects   "llm_proxy_client_disconnects_total" C, 1.0 ["model" "provider"] "Requests whose client disconnected before the end of the response.";
    AttemptEnds   "llm_proxy_provider_attempts_total" C, 1.0 ["provider" "outcome"] "Attempts at a provider by outcome: `ok`, or the reason of the failure.";
    ConnectTime   "llm_proxy_upstream_connect_seconds" H(STAGES), 1e-6 ["provider"] "Time to open a connection to a provider, TLS included.";
    Pool          "llm_proxy_upstream_connections" G, 1.0 ["state"] "Connections to providers. `idle` ones are kept for the next request.";
    Overhead      "llm_proxy_overhead_seconds" H(OWN), 1e-9 ["way" "phase"] "Time that the gateway itself took: `before` it sent the request to the provider, and `after` the response had come until it was written to the client.";
    StageTime     "llm_proxy_stage_seconds" H(STAGES), 1e-9 ["stage"] "Time that requests spent in each stage.";
    Rejections    "llm_proxy_limit_rejections_total" C, 1.0 ["limit" "api_key_name"] "Requests that were refused because of a limit of their credential.";
    SinkRecords   "llm_proxy_sink_records_total" C, 1.0 ["sink"] "Records that a sink has delivered.";
    SinkDropped   "llm_proxy_sink_records_dropped_total" C, 1.0 ["sink" "reason"] "Records that a sink has lost.";
    Propagation   "llm_proxy_config_propagation_seconds" H(GAPS), 1e-6 [] "Time from the notification of a configuration change until it is in force.";
    AppInfo       "llm_proxy_app_info" G, 1.0 ["version" "title" "driver"] "Version of this process, and the driver by which it waits for sockets.";
    BuildInfo     "llm_proxy_build_info" G, 1.0 ["version" "os" "arch" "profile"] "Version, operating system, architecture and profile that this binary was built with.";
    Workers       "llm_proxy_workers" G, 1.0 [] "Number of worker threads.";
    WorkerConnections "llm_proxy_worker_connections" G, 1.0 ["worker"] "Client connections that are open, by the worker that serves them.";
    Generation    "llm_proxy_snapshot_generation" G, 1.0 [] "Number of the configuration snapshot that is in force.";
    SnapshotAge   "llm_proxy_snapshot_age_seconds" G, 1.0 [] "Time since the configuration snapshot in force was published.";
    ConfigVersion "llm_proxy_config_version" G, 1.0 [] "Version of the store's rows that is in force.";
    Problems      "llm_proxy_config_problems" G, 1.0 [] "Rows, or parts of rows, that cannot be used. GET /admin/v1/config/problems lists them.";
    StoreUp       "llm_proxy_store_up" G, 1.0 [] "1 if the store answered its last request, 0 if not.";
    FromSnapshot  "llm_proxy_config_from_snapshot" G, 1.0 [] "1 if the configuration in force is the copy on disk because the store has not answered yet, 0 if not.";
    RingDropped   "llm_proxy_records_dropped_total" C, 1.0 [] "Records that were lost because the ring of their worker was full.";
    DetailDropped "llm_proxy_record_details_dropped_total" C, 1.0 [] "Records that went on without captured heads and bodies because RECORD_BUFFER_BYTES was used up.";
    Queue         "llm_proxy_queue_requests" G, 1.0 [] "Requests that wait for room at this moment.";
    ProcessRunning "llm_proxy_limited_requests" G, 1.0 [] "Requests in progress that MAX_CONCURRENT_REQUESTS counts.";
    ProviderRunning "llm_proxy_provider_running_requests" G, 1.0 ["provider"] "Requests in progress at a provider that has a limit of them.";
    BodyMemory    "llm_proxy_body_memory_bytes" G, 1.0 [] "Memory that bodies take at this moment, of requests and of responses that are held.";
    BodyMemoryLimit "llm_proxy_body_memory_limit_bytes" G, 1.0 [] "The most memory that bodies may take (MAX_BUFFERED_BYTES).";
    CertExpiry    "llm_proxy_certificate_expiry_timestamp_seconds" G, 1.0 [] "Time at which the certificate of the listener expires, in seconds since 1970. Absent without TLS.";
    ProcessCpu    "llm_proxy_process_cpu_seconds_total" C, 1.0 [] "CPU time of this process.";
    ProcessMemory "llm_proxy_process_resident_memory_bytes" G, 1.0 [] "Resident memory of this process.";
    ProcessFds    "llm_proxy_process_open_fds" G, 1.0 [] "Open file descriptors of this process.";
    ProcessMaxFds "llm_proxy_process_max_fds" G, 1.0 [] "Limit of open file descriptors.";
    ProcessThreads "llm_proxy_process_threads" G, 1.0 [] "Threads of this process.";
    ProcessStart  "llm_proxy_process_start_time_seconds" G, 1.0 [] "Time at which this process started, in seconds since 1970.";
}

/// Counters by a word of a fixed list and by the formats of client and provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Grid {
    Dropped,
    Repaired,
}

impl Grid {
    /// Both grids.
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
                "Fields that a translated request could not express, each named in x-llm-proxy-dropped.",
            ),
            Grid::Repaired => (
                "llm_proxy_translation_repaired_total",
                "repair",
                "Repairs of conversations in translated requests, each named in x-llm-proxy-repaired.",
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
