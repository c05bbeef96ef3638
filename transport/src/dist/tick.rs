//! Ticks: how an idle connection proves that it lives, and how a dead one is found.
//!
//! Each side ticks for itself; nothing about it is negotiated and a tick is never answered.
//! OTP: `net_kernel`, `net_ticktime` and `net_tickintensity`; `dist_util.erl`, `send_tick`.

use std::time::{Duration, Instant};

/// OTP: `net_tickintensity`, at least 4.
const INTENSITY_MIN: u32 = 4;

/// Connections are looked at no more often, unless that were fewer than four times within the tick
/// time: the clock of a shard has ten ticks a second.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

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
        let intensity = intensity.clamp(INTENSITY_MIN, 1000);
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

    /// The same tick time, in intervals that the clock of a shard can tell apart.
    ///
    /// A look that comes late counts as one interval, so looks that are all late would find silence
    /// only after a multiple of the tick time.
    fn for_clock(self) -> TickConfig {
        let most = self.ticktime.as_millis() / INTERVAL_MIN.as_millis();
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if self.intensity <= most.max(INTENSITY_MIN) {
            return self;
        }
        TickConfig::new(self.ticktime, most)
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
        let config = config.for_clock();
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

    /// Whether the last quarter of the tick time begins, after which the connection is given up when
    /// nothing comes.
    #[must_use]
    pub const fn begins_last_quarter(&self) -> bool {
        self.silent_intervals == self.config.intensity - self.config.intensity / 4
    }

    /// The settings in force.
    #[must_use]
    pub const fn config(&self) -> TickConfig {
        self.config
    }

    /// Puts new settings in force: the next look comes within the new interval. Connections that
    /// were looked at at different moments still are.
    pub fn reconfigure(&mut self, config: TickConfig, now: Instant) {
        let config = config.for_clock();
        self.config = config;
        let wait = self.due.saturating_duration_since(now).as_nanos();
        let interval = config.interval().as_nanos();
        // At most one interval, so at most some 10^17 nanoseconds.
        let wait = if wait == 0 { 0 } else { (wait - 1) % interval + 1 };
        self.due = now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
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
    fn the_clock_of_a_shard_is_fast_enough_for_any_intensity() {
        let start = Instant::now();
        let clock = Duration::from_millis(100);
        for (seconds, intensity) in [(4, 1000), (4, 40), (1, 1000), (1, 4), (60, 1000)] {
            let config = TickConfig::new(seconds * SECOND, intensity);
            for config in [config, config.halved()] {
                let mut ticker = Ticker::new(config, false, start, Duration::ZERO);
                assert_eq!(ticker.look(start, 1, 0, false), TickAction::Send);
                let mut now = start;
                let mut warned = 0;
                while ticker.look(now, 1, 0, false) != TickAction::Dead {
                    let silent = ticker.silent_intervals();
                    now += clock;
                    // A look that is not due changes nothing; the clock looks all the same.
                    if ticker.due() <= now && silent + 1 < ticker.config().intensity() {
                        ticker.look(now, 1, 0, false);
                        warned += u32::from(ticker.begins_last_quarter());
                    }
                    assert!(now < start + 2 * config.ticktime(), "{config:?}: nobody dies");
                }
                let took = now - start;
                assert!(took >= config.ticktime(), "{config:?}: {took:?}");
                let late = ticker.config().interval() + clock;
                assert!(took <= config.ticktime() + late, "{config:?}: {took:?}");
                assert_eq!(warned, 1, "{config:?}");
            }
        }
    }

    #[test]
    fn intervals_long_enough_for_the_clock_are_as_set() {
        let now = Instant::now();
        let looks = |ticktime, intensity| {
            let config = TickConfig::new(ticktime, intensity);
            let mut ticker = Ticker::new(TickConfig::DEFAULT, false, now, SECOND);
            ticker.reconfigure(config, now);
            assert_eq!(Ticker::new(config, false, now, SECOND).config(), ticker.config());
            ticker.config().intensity()
        };
        assert_eq!(looks(60 * SECOND, 300), 300);
        assert_eq!(looks(60 * SECOND, 400), 300);
        assert_eq!(looks(4 * SECOND, 1000), 20);
        assert_eq!(looks(SECOND, 1000), 5);
        assert_eq!(looks(SECOND / 2, 4), 4);
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
    fn a_shorter_tick_time_keeps_connections_apart() {
        let start = Instant::now();
        let mut tenths = [0; 10];
        for number in 1..=1000 {
            let phase = Duration::from_millis(15 * number);
            let mut ticker = Ticker::new(TickConfig::DEFAULT, false, start, phase);
            ticker.reconfigure(four_seconds(), start);
            let wait = ticker.due() - start;
            assert!(wait <= SECOND, "{wait:?}");
            let tenth = (wait.as_millis().saturating_sub(1) / 100) as usize;
            tenths[tenth] += 1;
        }
        assert!(tenths.iter().all(|links| (80..=120).contains(links)), "{tenths:?}");
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
