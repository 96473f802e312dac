//! The clocks that decisions are made by.

/// The two clocks of this node, milliseconds: the wall clock is the engine's too, deadlines are on the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the Unix epoch.
    pub wall_ms: u64,
    /// Since an arbitrary start.
    pub mono_ms: u64,
}
