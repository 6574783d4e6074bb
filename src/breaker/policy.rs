//! The numbers that circuits go by: the settings `ADAPTIVE_*`.

/// The parts of a whole that shares and multipliers are counted in.
pub const WHOLE: u32 = 1000;

/// The numbers of all circuits. Times are in ticks of [`super::circuit::TICK`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether anything is remembered. Without it every provider always has its whole weight.
    pub enabled: bool,
    /// The least multiplier, of [`WHOLE`].
    pub min_multiplier: u32,
    /// The share of its weight that a half-open provider gets, of [`WHOLE`].
    pub half_open_share: u32,
    /// What a success adds to the multiplier, of [`WHOLE`].
    pub recovery_step: u32,
    pub slow_start: u32,
    /// Responses with status 429 in a row that open a circuit.
    pub threshold_429: u32,
    /// Responses with a status of 500 or above in a row that open a circuit.
    pub threshold_5xx: u32,
    /// Connections that failed or broke in a row, and deadlines that expired, that open a circuit.
    pub threshold_transport: u32,
    /// Successes that close a half-open circuit.
    pub half_open_successes: u32,
    /// Requests that a half-open provider gets at once.
    pub half_open_probes: u32,
    pub base_cooldown: u32,
    pub max_cooldown: u32,
    pub base_open: u32,
    pub max_open: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            enabled: true,
            min_multiplier: 50,
            half_open_share: 200,
            recovery_step: 100,
            slow_start: 600,
            threshold_429: 3,
            threshold_5xx: 5,
            threshold_transport: 4,
            half_open_successes: 2,
            half_open_probes: 1,
            base_cooldown: 150,
            max_cooldown: 3000,
            base_open: 300,
            max_open: 3000,
        }
    }
}
