//! Text forms of socket options: `nodelay=true` of the command line and `{nodelay,true}` of
//! Erlang, and back.

use super::{OptionName, SocketOption};
use crate::nearest::suggestion;
use crate::profile::Profile;
use std::fmt;
use std::str::FromStr;

/// The name under which a profile stands among options.
pub const PROFILE: &str = "profile";

/// Why a text is no socket option.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Neither `NAME=VALUE` nor `{name,value}`.
    Shape(String),
    /// No option has this name.
    UnknownName(String),
    /// No profile has this name; the text says so.
    Profile(String),
    /// The option exists, the value does not fit it.
    Value {
        /// The option.
        name: OptionName,
        /// What came.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(text) => write!(
                f,
                "{text:?} is no socket option: write NAME=VALUE (nodelay=true) or {{name,value}}"
            ),
            Self::UnknownName(name) => {
                let known = OptionName::ALL.map(OptionName::as_str);
                write!(f, "unknown socket option {name:?}{}", suggestion(name, known))?;
                write!(f, " (known: {})", known.join(", "))
            }
            Self::Profile(why) => f.write_str(why),
            Self::Value { name, value, expected } => {
                write!(f, "socket option {name}: expected {expected}, got {value:?}")
            }
        }
    }
}

impl std::error::Error for ParseError {}

impl FromStr for OptionName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| ParseError::UnknownName(text.to_owned()))
    }
}

impl FromStr for SocketOption {
    type Err = ParseError;

    /// Reads `NAME=VALUE` or Erlang's `{name,value}`. Linger reads `off` or seconds, and in
    /// Erlang's form `{linger,{true,5}}`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let shape = || ParseError::Shape(text.to_owned());
        let (name, value) = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(shape)?.split_once(','),
            None => text.split_once('='),
        }
        .ok_or_else(shape)?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(shape());
        }
        from_parts(name.parse()?, value)
    }
}

/// Reads one option, or the name of a profile: `profile=wan` stands for all that
/// [`Profile::settings`] says.
///
/// # Errors
///
/// A text that is neither.
pub fn one(text: &str) -> Result<Vec<SocketOption>, ParseError> {
    let shape = || ParseError::Shape(text.to_owned());
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(shape)?,
        None => inner,
    };
    match inner.split_once(['=', ',']) {
        Some((name, profile)) if name.trim() == PROFILE => profile
            .trim()
            .parse::<Profile>()
            .map(Profile::settings)
            .map_err(|error| ParseError::Profile(error.to_string())),
        _ => Ok(vec![text.parse()?]),
    }
}

/// Reads a list of options: Erlang's `[{nodelay,true},{sndbuf,65536}]`, or `K=V` with commas
/// between. An empty list or text gives no options. A profile may be among them, as in [`one`].
///
/// # Errors
///
/// The first element that is no option.
pub fn list(text: &str) -> Result<Vec<SocketOption>, ParseError> {
    let text = text.trim();
    let shape = || ParseError::Shape(text.to_owned());
    let mut inner = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(shape)?.trim(),
        None => text,
    };
    let mut options = Vec::new();
    while !inner.is_empty() {
        // Commas inside braces belong to the element.
        let mut depth = 0usize;
        let mut end = inner.len();
        for (at, character) in inner.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.checked_sub(1).ok_or_else(shape)?,
                ',' if depth == 0 => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        options.extend(one(&inner[..end])?);
        let rest = inner[end..].trim_start();
        inner = match rest.strip_prefix(',') {
            // A comma promises another element.
            Some(rest) if rest.trim().is_empty() => return Err(shape()),
            Some(rest) => rest.trim_start(),
            None => rest,
        };
    }
    Ok(options)
}

impl fmt::Display for SocketOption {
    /// `NAME=VALUE`, which reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name())?;
        match self {
            Self::Nodelay(on)
            | Self::Keepalive(on)
            | Self::Quickack(on)
            | Self::Dontroute(on)
            | Self::Reuseaddr(on)
            | Self::SendTimeoutClose(on)
            | Self::DelaySend(on)
            | Self::ShowEconnreset(on) => write!(f, "{on}"),
            Self::SendTimeout(None) => f.write_str("infinity"),
            Self::SendTimeout(Some(number))
            | Self::HighWatermark(number)
            | Self::LowWatermark(number)
            | Self::Keepidle(number)
            | Self::Keepintvl(number)
            | Self::Keepcnt(number)
            | Self::SpinUs(number)
            | Self::FragmentSize(number)
            | Self::Sndbuf(number)
            | Self::Recbuf(number)
            | Self::Buffer(number)
            | Self::Priority(number)
            | Self::UserTimeout(number)
            | Self::NotsentLowat(number)
            | Self::BusyPoll(number)
            | Self::IncomingCpu(number) => write!(f, "{number}"),
            Self::Tos(class) | Self::Tclass(class) => write!(f, "{class}"),
            Self::Linger(None) => f.write_str("off"),
            Self::Linger(Some(seconds)) => write!(f, "{seconds}"),
            Self::Congestion(name) => f.write_str(name),
        }
    }
}

fn from_parts(name: OptionName, value: &str) -> Result<SocketOption, ParseError> {
    let wrong = |expected| ParseError::Value { name, value: value.to_owned(), expected };
    let boolean = || match value {
        "true" | "1" | "on" => Ok(true),
        "false" | "0" | "off" => Ok(false),
        _ => Err(wrong("true or false")),
    };
    let number = || value.parse().map_err(|_| wrong("a whole number from 0 to 4294967295"));
    let byte = || value.parse().map_err(|_| wrong("a number from 0 to 255"));
    let option = match name {
        OptionName::Dontroute => SocketOption::Dontroute(boolean()?),
        OptionName::Reuseaddr => SocketOption::Reuseaddr(boolean()?),
        OptionName::SendTimeoutClose => SocketOption::SendTimeoutClose(boolean()?),
        OptionName::DelaySend => SocketOption::DelaySend(boolean()?),
        OptionName::ShowEconnreset => SocketOption::ShowEconnreset(boolean()?),
        OptionName::SendTimeout if value == "infinity" => SocketOption::SendTimeout(None),
        OptionName::SendTimeout => SocketOption::SendTimeout(Some(
            value.parse().map_err(|_| wrong("a number of milliseconds, or infinity"))?,
        )),
        OptionName::HighWatermark => SocketOption::HighWatermark(number()?),
        OptionName::LowWatermark => SocketOption::LowWatermark(number()?),
        OptionName::Keepidle => SocketOption::Keepidle(number()?),
        OptionName::Keepintvl => SocketOption::Keepintvl(number()?),
        OptionName::Keepcnt => SocketOption::Keepcnt(number()?),
        OptionName::SpinUs => SocketOption::SpinUs(number()?),
        OptionName::FragmentSize => SocketOption::FragmentSize(number()?),
        OptionName::Tclass => SocketOption::Tclass(byte()?),
        OptionName::Nodelay => SocketOption::Nodelay(boolean()?),
        OptionName::Keepalive => SocketOption::Keepalive(boolean()?),
        OptionName::Quickack => SocketOption::Quickack(boolean()?),
        OptionName::Sndbuf => SocketOption::Sndbuf(number()?),
        OptionName::Recbuf => SocketOption::Recbuf(number()?),
        OptionName::Buffer => SocketOption::Buffer(number()?),
        OptionName::Priority => SocketOption::Priority(number()?),
        OptionName::UserTimeout => SocketOption::UserTimeout(number()?),
        OptionName::NotsentLowat => SocketOption::NotsentLowat(number()?),
        OptionName::BusyPoll => SocketOption::BusyPoll(number()?),
        OptionName::IncomingCpu => SocketOption::IncomingCpu(number()?),
        OptionName::Tos => SocketOption::Tos(byte()?),
        OptionName::Linger => SocketOption::Linger(linger(value).ok_or_else(|| {
            wrong("off, a number of seconds up to 65535, or Erlang's {true,Seconds}")
        })?),
        OptionName::Congestion => {
            let name = value.trim_matches('"');
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || !name.chars().all(legal) {
                return Err(wrong("the name of a congestion algorithm such as cubic"));
            }
            SocketOption::Congestion(name.to_owned())
        }
    };
    match option.check() {
        Ok(()) => Ok(option),
        Err(_) => Err(wrong(match name {
            OptionName::FragmentSize => "4096 to 65536 bytes",
            OptionName::Keepidle | OptionName::Keepintvl => "1 to 32767 seconds",
            OptionName::Keepcnt => "1 to 127 probes",
            OptionName::Buffer => "at least one byte",
            OptionName::Dontroute => "false",
            OptionName::Congestion => "the name of a congestion algorithm such as cubic",
            _ => "a whole number from 0 to 2147483647",
        })),
    }
}

fn linger(value: &str) -> Option<Option<u16>> {
    if matches!(value, "off" | "false") {
        return Some(None);
    }
    let Some(tuple) = value.strip_prefix('{') else { return value.parse().ok().map(Some) };
    let (on, seconds) = tuple.strip_suffix('}')?.split_once(',')?;
    let seconds = seconds.trim().parse().ok()?;
    match on.trim() {
        "true" => Some(Some(seconds)),
        "false" => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        for (plain, erlang, option) in [
            ("nodelay=true", "{nodelay,true}", SocketOption::Nodelay(true)),
            ("keepalive=off", "{keepalive, false}", SocketOption::Keepalive(false)),
            ("sndbuf=1048576", "{sndbuf,1048576}", SocketOption::Sndbuf(1 << 20)),
            ("send_timeout=infinity", "{send_timeout,infinity}", SocketOption::SendTimeout(None)),
            ("fragment_size=8192", "{fragment_size,8192}", SocketOption::FragmentSize(8192)),
            ("linger=5", "{linger,{true,5}}", SocketOption::Linger(Some(5))),
            ("linger=off", "{linger,{false,0}}", SocketOption::Linger(None)),
            ("congestion=bbr", "{congestion,\"bbr\"}", SocketOption::Congestion("bbr".into())),
        ] {
            assert_eq!(plain.parse::<SocketOption>().unwrap(), option);
            assert_eq!(erlang.parse::<SocketOption>().unwrap(), option);
            assert_eq!(option.to_string().parse::<SocketOption>().unwrap(), option);
        }
    }

    #[test]
    fn lists_keep_their_order() {
        let expected = vec![SocketOption::Linger(Some(1)), SocketOption::Nodelay(false)];
        assert_eq!(list("[{linger,{true,1}}, {nodelay,false}]").unwrap(), expected);
        assert_eq!(list("linger=1, nodelay=false").unwrap(), expected);
        assert_eq!(list("[]").unwrap(), []);
        assert_eq!(list("").unwrap(), []);
        for wrong in ["[{nodelay,true}", "{nodelay,true},", "[nodelay]", "}", "nodelay=true,,"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_profile_stands_for_its_options() {
        assert_eq!(one("profile=wan").unwrap(), Profile::Wan.settings());
        assert_eq!(list("[{profile,wan}]").unwrap(), Profile::Wan.settings());
        assert_eq!(one("nodelay=true").unwrap(), [SocketOption::Nodelay(true)]);
        let error = one("profile=wna").unwrap_err().to_string();
        assert!(error.contains("did you mean \"wan\"?"), "{error}");
    }

    #[test]
    fn every_option_reads_back() {
        for name in OptionName::ALL {
            let value = match name {
                OptionName::Congestion => "reno",
                OptionName::FragmentSize => "8192",
                OptionName::Dontroute => "false",
                _ => "1",
            };
            let Ok(option) = format!("{name}={value}").parse::<SocketOption>() else {
                panic!("{name}={value}");
            };
            assert_eq!(option.name(), name);
            assert_eq!(option.to_string().parse::<SocketOption>(), Ok(option));
        }
    }

    #[test]
    fn errors_name_the_remedy() {
        assert!(
            "fragment_size=1".parse::<SocketOption>().unwrap_err().to_string().contains("4096")
        );
        let message = |text: &str| text.parse::<SocketOption>().unwrap_err().to_string();
        assert!(message("nodeley=true").contains("did you mean \"nodelay\"?"));
        assert!(message("nodelay=maybe").contains("expected true or false, got \"maybe\""));
        assert!(message("nodelay").contains("NAME=VALUE"));
        assert!(message("tos=256").contains("0 to 255"));
        assert!(message("sndbuf=-1").contains("whole number"));
        assert!(message("linger={maybe,5}").contains("seconds"));
        assert!(message("congestion=a b").contains("cubic"));
    }
}
