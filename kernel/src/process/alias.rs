//! Aliases: references that stand for a process.

use super::ProcessId;

/// How long an alias lasts (Erlang: the options of `alias/1`, and `{alias, _}` of `monitor/3`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliasMode {
    /// Until it is given back (`explicit_unalias`).
    #[default]
    Explicit,
    /// Until then, or until the monitor it belongs to is taken back or fires (`demonitor`).
    Demonitor,
    /// Until then, or until the first message arrives by it, which takes its monitor back too
    /// (`reply`, `reply_demonitor`).
    Reply,
}

/// An alias that is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) process: ProcessId,
    pub(crate) mode: AliasMode,
}
