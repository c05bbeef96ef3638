//! Named sets of settings for the usual kinds of network.

use crate::nearest::suggestion;
use crate::option::SocketOption;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A named set of socket options and of the time a shard spins before it parks.
///
/// | profile | options | spin | meant for |
/// |---|---|---|---|
/// | `balanced` | nodelay | 20 µs | the default: any local network |
/// | `latency` | nodelay, quickack, notsent_lowat 16 KiB | 100 µs | cores to spare, few messages in flight |
/// | `throughput` | nodelay, notsent_lowat 1 MiB | 20 µs | bulk data; buffers stay with the kernel's own tuning, which outgrows what `sndbuf` may ask for |
/// | `wan` | nodelay, keepalive, user_timeout 30 s, notsent_lowat 128 KiB | 0 | long or lossy paths, where spinning never pays |
///
/// Explicit socket options win over those of the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The default.
    #[default]
    Balanced,
    /// Shortest answer times, at the price of processor time.
    Latency,
    /// Most bytes a second.
    Throughput,
    /// Between sites.
    Wan,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 4] = [Self::Balanced, Self::Latency, Self::Throughput, Self::Wan];

    /// The name, as on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Wan => "wan",
        }
    }

    /// The options of a link under this profile, overridden by `explicit` ones.
    pub fn options(self, explicit: &[SocketOption]) -> Vec<SocketOption> {
        let mut options = vec![SocketOption::Nodelay(true)];
        match self {
            Self::Balanced => {}
            Self::Latency => {
                options.extend([SocketOption::Quickack(true), SocketOption::NotsentLowat(16 << 10)])
            }
            Self::Throughput => options.push(SocketOption::NotsentLowat(1 << 20)),
            Self::Wan => options.extend([
                SocketOption::Keepalive(true),
                SocketOption::UserTimeout(30_000),
                SocketOption::NotsentLowat(128 << 10),
            ]),
        }
        options.retain(|option| explicit.iter().all(|given| given.name() != option.name()));
        options.extend_from_slice(explicit);
        options
    }

    /// All that turns a running link into one of this profile: what the profile says, and the
    /// kernel's or the node's own value for what other profiles say.
    pub fn settings(self) -> Vec<SocketOption> {
        // 0 is the kernel's own value of the two numbers.
        let neutral = [
            SocketOption::Nodelay(true),
            SocketOption::Keepalive(true),
            SocketOption::UserTimeout(0),
            SocketOption::NotsentLowat(0),
        ];
        let mut settings = SocketOption::merged(neutral.to_vec(), &self.options(&[]));
        let spin = u32::try_from(self.spin().as_micros()).unwrap_or(u32::MAX);
        settings.push(SocketOption::SpinUs(spin));
        settings
    }

    /// How long a shard with nothing to do looks at its sockets before it parks.
    pub const fn spin(self) -> Duration {
        Duration::from_micros(match self {
            Self::Balanced | Self::Throughput => 20,
            Self::Latency => 100,
            Self::Wan => 0,
        })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No profile has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProfile(String);

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Profile::ALL.map(Profile::as_str);
        write!(f, "unknown profile {:?}{}", self.0, suggestion(&self.0, known))?;
        write!(f, " (known: {})", known.join(", "))
    }
}

impl std::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionName;
    use std::os::fd::AsFd;

    #[test]
    fn names_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "latncy".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"latency\"?"), "{error}");
    }

    #[test]
    fn explicit_options_win_and_stay_single() {
        let options = Profile::Wan.options(&[SocketOption::Keepalive(false)]);
        let keepalive: Vec<_> =
            options.iter().filter(|option| option.name() == OptionName::Keepalive).collect();
        assert_eq!(keepalive, [&SocketOption::Keepalive(false)]);
        assert!(options.contains(&SocketOption::Nodelay(true)));
    }

    #[test]
    fn an_unprivileged_socket_takes_every_profile() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for profile in Profile::ALL {
            for option in profile.options(&[]) {
                option.apply(stream.as_fd()).unwrap();
            }
        }
    }
}
