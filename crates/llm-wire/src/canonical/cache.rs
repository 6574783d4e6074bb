//! Breakpoints of prompt caches.

/// A cache breakpoint on a part, a tool or a call: M `cache_control`, C `prompt_cache_breakpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePoint {
    /// M `ttl: 1h`; otherwise five minutes, or the vendor's default.
    pub hour: bool,
}
