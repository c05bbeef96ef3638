//! Ticks: how an idle connection proves that it lives, and how a dead one is found.
//!
//! Each side ticks for itself; nothing about it is negotiated and a tick is never answered.
//! OTP: `net_kernel`, `net_ticktime` and `net_tickintensity`; `dist_util.erl`, `send_tick`.

use std::time::{Duration, Instant};

/// How long a silent peer is tolerated, and in how many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickConfig {
    ticktime: Duration,
    intensity: u32,
}

impl TickConfig {
    /// OTP's defaults: 60 s, looked at four times.
    pub const DEFAULT: TickConfig =
        TickConfig { ticktime: Duration::from_millis(60_000), intensity: 4 };

    /// The settings as OTP takes them: the intensity is brought into 4..=1000, and the tick time
    /// is at least one millisecond per step and rounded up to a whole number of milliseconds per
    /// step.
    #[must_use]
    pub fn new(ticktime: Duration, intensity: u32) -> TickConfig {
        let intensity = intensity.clamp(4, 1000);
        let steps = u64::from(intensity);
        let millis = u64::try_from(ticktime.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        // Beyond a century nobody waits; the bound keeps the rounding from overflowing.
        let millis = millis.clamp(steps, 100 * 365 * 86_400_000);
        let millis = millis.div_ceil(steps) * steps;
        TickConfig { ticktime: Duration::from_millis(millis), intensity }
    }

    /// The tick time: a peer silent for about that long is given up.
    #[must_use]
    pub const fn ticktime(self) -> Duration {
        self.ticktime
    }

    /// Into how many intervals the tick time is divided.
    #[must_use]
    pub const fn intensity(self) -> u32 {
        self.intensity
    }

    /// Half the tick time in as many intervals.
    #[must_use]
    pub fn halved(self) -> TickConfig {
        TickConfig::new(self.ticktime / 2, self.intensity)
    }

    /// Time between two looks at a connection.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.ticktime / self.intensity
    }
}

impl Default for TickConfig {
    fn default() -> TickConfig {
        TickConfig::DEFAULT
    }
}

/// What a look at the connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickAction {
    /// Nothing to do.
    None,
    /// A tick is to be written at the next frame boundary.
    Send,
    /// Nothing was received for the whole tick time: the connection is to end with
    /// `net_tick_timeout`.
    Dead,
}

/// The tick machine of one connection.
///
/// Any received byte is life; OTP counts complete frames only, so a slow long frame is safer here.
/// Death is found between `ticktime - interval` and `ticktime + interval` after the last byte.
#[derive(Clone, Debug)]
pub struct Ticker {
    config: TickConfig,
    /// Whether `PUBLISHED` was *not* negotiated; such peers get a tick also from a busy link, for
    /// they may look at received ticks only.
    hidden: bool,
    due: Instant,
    silent_intervals: u32,
    missed_intervals: u32,
    received_bytes_seen: u64,
    written_bytes_seen: u64,
    tick_bytes: u8,
}

impl Ticker {
    /// A machine that looks first after `phase` (cut to one interval) and then at each interval.
    /// Different phases keep many connections from ticking at the same moment.
    #[must_use]
    pub fn new(config: TickConfig, hidden: bool, now: Instant, phase: Duration) -> Ticker {
        Ticker {
            config,
            hidden,
            due: now + phase.min(config.interval()),
            silent_intervals: 0,
            missed_intervals: 0,
            // The handshake counts as the first sign of life.
            received_bytes_seen: u64::MAX,
            written_bytes_seen: 0,
            tick_bytes: super::frame::TICK.len() as u8,
        }
    }

    /// For connections on which a tick has another length than OTP's.
    #[must_use]
    pub fn with_tick_bytes(self, tick_bytes: u8) -> Ticker {
        Ticker { tick_bytes, ..self }
    }

    /// Another connection takes over from one that was given up: it has a whole tick time.
    pub fn restart(&mut self, now: Instant) {
        self.silent_intervals = 0;
        self.received_bytes_seen = u64::MAX;
        self.due = now + self.config.interval();
    }

    /// When [`Ticker::look`] has something to say next.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Intervals in a row, up to now, in which nothing came.
    #[must_use]
    pub const fn silent_intervals(&self) -> u32 {
        self.silent_intervals
    }

    /// All intervals so far in which nothing came.
    #[must_use]
    pub const fn missed_intervals(&self) -> u32 {
        self.missed_intervals
    }

    /// Whether the connection is given up when nothing comes in the next interval either.
    #[must_use]
    pub const fn is_at_its_last_interval(&self) -> bool {
        self.silent_intervals + 1 == self.config.intensity
    }

    /// The settings in force.
    #[must_use]
    pub const fn config(&self) -> TickConfig {
        self.config
    }

    /// Puts new settings in force: the next look comes within the new interval.
    pub fn reconfigure(&mut self, config: TickConfig, now: Instant) {
        self.config = config;
        self.due = self.due.min(now + config.interval());
        // The count restarts: intervals of another length say nothing about the new tick time.
        self.silent_intervals = 0;
    }

    /// Looks at the connection. The totals are of the connection's whole life; `pending` says
    /// whether bytes wait to be written. Before [`Ticker::due`] the answer is `None`.
    ///
    /// One look counts as one interval however late it comes: a stalled shard has not read, so
    /// its peers' silence proves nothing.
    pub fn look(
        &mut self,
        now: Instant,
        received_bytes: u64,
        written_bytes: u64,
        pending: bool,
    ) -> TickAction {
        if now < self.due {
            return TickAction::None;
        }
        let interval = self.config.interval();
        self.due += interval;
        if self.due <= now {
            self.due = now + interval;
        }
        let nothing_received = received_bytes == self.received_bytes_seen;
        self.received_bytes_seen = received_bytes;
        if nothing_received {
            self.silent_intervals += 1;
            self.missed_intervals = self.missed_intervals.saturating_add(1);
            if self.silent_intervals >= self.config.intensity {
                return TickAction::Dead;
            }
        } else {
            self.silent_intervals = 0;
        }
        let nothing_written = written_bytes == self.written_bytes_seen;
        self.written_bytes_seen = written_bytes;
        if (nothing_written && !pending) || (self.hidden && nothing_received) {
            self.tick_sent();
            return TickAction::Send;
        }
        TickAction::None
    }

    /// The extra tick of a change of the tick time: whether it is to be sent now.
    ///
    /// OTP: `dist_util.erl`, `send_aux_tick`: always, except to a visible peer with a queue to write.
    /// It counts as traffic: the next look sends no other.
    #[must_use]
    pub const fn look_auxiliary(&self, pending: bool) -> TickAction {
        if pending && !self.hidden { TickAction::None } else { TickAction::Send }
    }

    /// A tick's own bytes are no traffic: otherwise it would keep the next one from being sent.
    fn tick_sent(&mut self) {
        self.written_bytes_seen = self.written_bytes_seen.wrapping_add(self.tick_bytes.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn four_seconds() -> TickConfig {
        TickConfig::new(4 * SECOND, 4)
    }

    #[test]
    fn settings_are_rounded_as_otp_does() {
        let config = TickConfig::new(Duration::from_millis(4001), 4);
        assert_eq!(config.ticktime(), Duration::from_millis(4004));
        assert_eq!(config.interval(), Duration::from_millis(1001));
        assert_eq!(TickConfig::new(60 * SECOND, 0).intensity(), 4);
        assert_eq!(TickConfig::new(60 * SECOND, 5000).intensity(), 1000);
        assert_eq!(TickConfig::new(Duration::ZERO, 7).ticktime(), Duration::from_millis(7));
        assert_eq!(TickConfig::new(Duration::MAX, 7).intensity(), 7);
        assert_eq!(TickConfig::default().interval(), 15 * SECOND);
    }

    #[test]
    fn a_silent_peer_dies_in_the_fifth_look_after_the_handshake() {
        let start = Instant::now();
        let mut ticker = Ticker::new(four_seconds(), false, start, SECOND);
        let mut written = 0;
        for second in 1..=4 {
            let action = ticker.look(start + second * SECOND, 10, written, false);
            assert_eq!(action, TickAction::Send, "in second {second}");
            written += 4;
        }
        // Measured with OTP: closed between 4.90 and 4.96 s after the connection.
        assert_eq!(ticker.look(start + 5 * SECOND, 10, written, false), TickAction::Dead);
    }

    #[test]
    fn any_byte_is_life() {
        let start = Instant::now();
        let mut ticker = Ticker::new(four_seconds(), false, start, SECOND);
        for second in 1..=100 {
            let received = u64::from(second / 4);
            let action = ticker.look(start + second * SECOND, received, 0, true);
            assert_ne!(action, TickAction::Dead, "in second {second}");
        }
    }

    #[test]
    fn a_tick_is_due_only_on_a_silent_link() {
        let start = Instant::now();
        let mut ticker = Ticker::new(four_seconds(), false, start, SECOND);
        let mut look = |second, received, written, pending| {
            ticker.look(start + second * SECOND, received, written, pending)
        };
        assert_eq!(look(1, 1, 100, false), TickAction::None, "something was written");
        assert_eq!(look(2, 2, 100, false), TickAction::Send, "nothing was written");
        assert_eq!(look(3, 3, 104, false), TickAction::Send, "the tick itself does not count");
        assert_eq!(look(4, 4, 108, true), TickAction::None, "something waits to be written");
        assert_eq!(look(5, 5, 200, false), TickAction::None);
    }

    #[test]
    fn a_silent_hidden_peer_gets_ticks_from_a_busy_link() {
        let start = Instant::now();
        let mut hidden = Ticker::new(four_seconds(), true, start, SECOND);
        assert_eq!(hidden.look(start + SECOND, 1, 100, true), TickAction::None);
        assert_eq!(hidden.look(start + 2 * SECOND, 1, 200, true), TickAction::Send);
        assert_eq!(hidden.look(start + 3 * SECOND, 2, 300, true), TickAction::None);
    }

    #[test]
    fn a_late_look_counts_once() {
        let start = Instant::now();
        let mut ticker = Ticker::new(four_seconds(), false, start, SECOND);
        assert_eq!(ticker.look(start + SECOND, 1, 1, false), TickAction::None);
        assert_eq!(ticker.look(start + 60 * SECOND, 1, 2, false), TickAction::None);
        assert_eq!(ticker.due(), start + 61 * SECOND);
        assert_eq!(ticker.look(start + 60 * SECOND, 1, 2, false), TickAction::None);
    }

    #[test]
    fn a_change_of_the_tick_time() {
        let start = Instant::now();
        let mut ticker = Ticker::new(TickConfig::default(), false, start, 15 * SECOND);
        ticker.reconfigure(four_seconds(), start + SECOND);
        assert_eq!(ticker.due(), start + 2 * SECOND);
        assert_eq!(ticker.look_auxiliary(true), TickAction::None);
        assert_eq!(ticker.look_auxiliary(false), TickAction::Send);
    }
}
