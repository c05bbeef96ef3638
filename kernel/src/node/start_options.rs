//! With what a node becomes alive (OTP: the options of `net_kernel:start/2`).

use std::time::Duration;

use krarup_transport::dist::TickConfig;

use super::{NameType, NodeConfig, StartError};

/// What [`Node::start_with`](super::Node::start_with) sets for one life of a node; what is not said
/// is as the node was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    name_type: Option<NameType>,
    net_ticktime: Option<Duration>,
    net_tickintensity: Option<u32>,
    listens: Option<bool>,
    hidden: Option<bool>,
}

/// The longest tick time, a hundred years and more: clocks do not go on for ever.
const TICKTIME_MAX: Duration = Duration::from_secs(u32::MAX as u64);

/// Ticks per tick time that OTP takes.
const INTENSITY: std::ops::RangeInclusive<u32> = 4..=1000;

impl StartOptions {
    /// Nothing said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Long or short names (OTP: `name_domain`).
    #[must_use]
    pub fn name_type(mut self, name_type: NameType) -> Self {
        self.name_type = Some(name_type);
        self
    }

    /// Silence after which a peer is taken for dead, above zero.
    #[must_use]
    pub fn net_ticktime(mut self, time: Duration) -> Self {
        self.net_ticktime = Some(time);
        self
    }

    /// Ticks per tick time, from 4 to 1000.
    #[must_use]
    pub fn net_tickintensity(mut self, intensity: u32) -> Self {
        self.net_tickintensity = Some(intensity);
        self
    }

    /// Whether others can connect to the node (OTP: `dist_listen`). One that does not listen is not
    /// registered with epmd, and hidden.
    #[must_use]
    pub fn listen(mut self, listens: bool) -> Self {
        self.listens = Some(listens);
        self
    }

    /// Whether the node keeps out of the `nodes()` of others.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = Some(hidden);
        self
    }

    /// All of it, with what the node is configured with.
    ///
    /// # Errors
    /// [`StartError::InvalidOption`].
    pub(super) fn settle(&self, config: &NodeConfig) -> Result<Settled, StartError> {
        let invalid = |option, value: String, expected| {
            Err(StartError::InvalidOption { option, value, expected })
        };
        if let Some(time) = self.net_ticktime.filter(Duration::is_zero) {
            return invalid("net_ticktime", format!("{time:?}"), "a time above zero");
        }
        if let Some(intensity) = self.net_tickintensity.filter(|of| !INTENSITY.contains(of)) {
            return invalid("net_tickintensity", intensity.to_string(), "4 to 1000");
        }
        let listens = self.listens.unwrap_or(config.listen);
        Ok(Settled {
            name_type: self.name_type.unwrap_or(config.name_type),
            tick: TickConfig::new(
                self.net_ticktime.unwrap_or(config.net_ticktime).min(TICKTIME_MAX),
                self.net_tickintensity.unwrap_or(config.net_tickintensity),
            ),
            listens,
            hidden: !listens || self.hidden.unwrap_or(config.hidden),
        })
    }
}

/// The options of one life.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) name_type: NameType,
    pub(super) tick: TickConfig,
    pub(super) listens: bool,
    pub(super) hidden: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_configured() {
        let config = NodeConfig { hidden: true, ..NodeConfig::default() };
        let settled = StartOptions::new().settle(&config).expect("nothing is wrong");
        assert!(settled.hidden && settled.listens);
        assert_eq!(settled.tick.ticktime(), Duration::from_secs(60));
        let options = StartOptions::new().hidden(false).net_ticktime(Duration::from_secs(8));
        let settled = options.settle(&config).expect("nothing is wrong");
        assert!(!settled.hidden);
        assert_eq!(settled.tick.ticktime(), Duration::from_secs(8));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let config = NodeConfig::default();
        let refused = |options: StartOptions| {
            options.settle(&config).expect_err("it is out of range").to_string()
        };
        assert_eq!(
            refused(StartOptions::new().net_tickintensity(3)),
            "start option net_tickintensity: expected 4 to 1000, got 3"
        );
        let never = StartOptions::new().net_ticktime(Duration::ZERO);
        assert!(refused(never).contains("net_ticktime"));
    }
}
