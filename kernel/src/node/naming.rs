//! The name that a node is to have: OTP's rules for `-name`, `-sname` and `net_kernel:start/1,2`.

use krarup_transport::handshake::{NameMode, NodeName};

use super::{NameType, StartError};

/// The head of a name that another node is to give.
const UNDEFINED: &str = "undefined";

/// What a node is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This.
    Name(NodeName),
    /// What the first node that it connects to says, on this host.
    Undefined {
        /// The host part of the name to be.
        host: String,
    },
}

impl NameType {
    pub(super) fn mode(self) -> NameMode {
        match self {
            NameType::Long => NameMode::Long,
            NameType::Short => NameMode::Short,
        }
    }
}

/// Completes and checks a name. `default_host` is asked for the host part when there is none.
// OTP: net_kernel.erl, create_name/3. A stated host may have no dot in a long name, such as
// a@localhost; only who dials such a name is refused.
pub(super) fn wanted(
    name: &str,
    name_type: NameType,
    default_host: impl FnOnce(NameType) -> Result<String, String>,
) -> Result<Wanted, StartError> {
    let wrong =
        |text: &str, why: &dyn std::fmt::Display| StartError::Name(format!("{text:?}: {why}"));
    let full = match name.split_once('@') {
        Some((_, host)) if !host.is_empty() => name.to_owned(),
        _ => {
            let head = name.strip_suffix('@').unwrap_or(name);
            let host = default_host(name_type).map_err(|why| wrong(name, &why))?;
            format!("{head}@{host}")
        }
    };
    let parsed = NodeName::parse(&full).map_err(|error| wrong(&full, &error))?;
    if name_type == NameType::Short {
        parsed.check_mode(NameMode::Short).map_err(|error| wrong(&full, &error))?;
    }
    Ok(if parsed.head() == UNDEFINED {
        Wanted::Undefined { host: parsed.host().to_owned() }
    } else {
        Wanted::Name(parsed)
    })
}

/// The host part of names without one: this host's name, in long names with its domain.
pub(super) fn this_host(name_type: NameType) -> Result<String, String> {
    let name = match name_type {
        NameType::Short => krarup_tuning::host::name().map(|name| match name.split_once('.') {
            Some((first, _)) => first.to_owned(),
            None => name,
        }),
        NameType::Long => krarup_tuning::host::full_name(),
    };
    name.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, name_type: NameType) -> Option<String> {
        let host = |name_type| match name_type {
            NameType::Short => Ok("here".to_owned()),
            NameType::Long => Err("no domain".to_owned()),
        };
        match wanted(name, name_type, host).ok()? {
            Wanted::Name(name) => Some(name.as_str().to_owned()),
            Wanted::Undefined { host } => Some(format!("undefined at {host}")),
        }
    }

    #[test]
    fn names_are_completed_and_checked_as_in_otp() {
        // What OTP makes of it with short and with long names; interop tests ask OTP itself.
        let rows = [
            ("a", Some("a@here"), None),
            ("a@", Some("a@here"), None),
            ("", None, None),
            ("@h", None, None),
            ("a@b@c", None, None),
            ("a.b@h", None, None),
            ("å@h", None, None),
            ("a b@h", None, None),
            ("a@h h", None, None),
            ("a@hö", Some("a@hö"), Some("a@hö")),
            ("a@λ", None, None),
            ("a@h.org", None, Some("a@h.org")),
            ("a@127.0.0.1", None, Some("a@127.0.0.1")),
            ("a@localhost", Some("a@localhost"), Some("a@localhost")),
            ("a@::1", Some("a@::1"), Some("a@::1")),
            ("A-_9@h", Some("A-_9@h"), Some("A-_9@h")),
            ("undefined", Some("undefined at here"), None),
            ("undefined@h", Some("undefined at h"), Some("undefined at h")),
            ("undefined@h.org", None, Some("undefined at h.org")),
        ];
        for (name, short, long) in rows {
            assert_eq!(named(name, NameType::Short).as_deref(), short, "short {name:?}");
            assert_eq!(named(name, NameType::Long).as_deref(), long, "long {name:?}");
        }
    }
}
