//! Options as Erlang's `inet` writes them.

use krarup_transport::term::Term;
use krarup_tuning::option::parse::PROFILE;
use krarup_tuning::option::{OptionName, SocketOption, raw};
use krarup_tuning::profile::Profile;

use super::OptionsError;
use crate::atoms::atom;

/// What the distribution sets itself on each of its sockets, and nobody may change.
// OTP: inet_tcp_dist.erl, setopts/2.
const RESERVED: [&str; 3] = ["active", "deliver", "packet"];

/// One option that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By its name.
    Named(OptionName),
    /// By its numbers: `{raw,Protocol,Option,ValueSize}`.
    Raw {
        /// The protocol's number.
        protocol: u32,
        /// The option's number.
        option: u32,
        /// Most bytes of the value.
        bytes: usize,
        /// The same option by its name.
        name: OptionName,
    },
    /// One that the distribution sets itself.
    Reserved(&'static str),
}

impl Asked {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// [`OptionsError::NoOption`].
    pub fn from_term(term: &Term) -> Result<Self, OptionsError> {
        let none = || OptionsError::NoOption(term.clone());
        match term {
            Term::Atom(name) => {
                if let Some(reserved) = RESERVED.iter().find(|reserved| **reserved == name.as_str())
                {
                    return Ok(Asked::Reserved(reserved));
                }
                name.as_str().parse().map(Asked::Named).map_err(|_| none())
            }
            Term::Tuple(parts) => {
                let [Term::Atom(kind), protocol, option, size] = parts.as_slice() else {
                    return Err(none());
                };
                let number = |term: &Term| u32::try_from(term.as_integer()?).ok();
                let bytes = match size {
                    Term::Binary(bytes) => Some(bytes.len()),
                    size => number(size).and_then(|size| usize::try_from(size).ok()),
                };
                let (Some(protocol), Some(option), Some(bytes), "raw") =
                    (number(protocol), number(option), bytes, kind.as_str())
                else {
                    return Err(none());
                };
                let name = raw::name(protocol, option).ok_or_else(none)?;
                Ok(Asked::Raw { protocol, option, bytes, name })
            }
            _ => Err(none()),
        }
    }

    /// The option to read.
    #[must_use]
    pub fn name(&self) -> Option<OptionName> {
        match self {
            Asked::Named(name) | Asked::Raw { name, .. } => Some(*name),
            Asked::Reserved(_) => None,
        }
    }

    /// The answer, if one of `values` is it.
    #[must_use]
    pub fn answer(&self, values: &[SocketOption]) -> Option<Term> {
        let value = |name| values.iter().find(|option| option.name() == name);
        match self {
            Asked::Named(name) => value(*name).map(to_term),
            Asked::Raw { protocol, option, bytes, name } => {
                let mut value = raw::to_bytes(value(*name)?)?;
                value.truncate(*bytes);
                Some(Term::Tuple(vec![
                    atom("raw"),
                    Term::from(*protocol),
                    Term::from(*option),
                    Term::Binary(value.into()),
                ]))
            }
            Asked::Reserved(name) => {
                let value = match *name {
                    "active" => Term::from(true),
                    "deliver" => atom("port"),
                    _ => Term::Integer(4),
                };
                Some(Term::Tuple(vec![atom(name), value]))
            }
        }
    }
}

/// The option as `inet:getopts/2` gives it.
#[must_use]
pub fn to_term(option: &SocketOption) -> Term {
    let value = match option {
        SocketOption::Nodelay(on)
        | SocketOption::Keepalive(on)
        | SocketOption::Dontroute(on)
        | SocketOption::Reuseaddr(on)
        | SocketOption::SendTimeoutClose(on)
        | SocketOption::DelaySend(on)
        | SocketOption::ShowEconnreset(on)
        | SocketOption::Quickack(on) => Term::from(*on),
        SocketOption::Sndbuf(number)
        | SocketOption::Recbuf(number)
        | SocketOption::Buffer(number)
        | SocketOption::Priority(number)
        | SocketOption::HighWatermark(number)
        | SocketOption::LowWatermark(number)
        | SocketOption::UserTimeout(number)
        | SocketOption::Keepidle(number)
        | SocketOption::Keepintvl(number)
        | SocketOption::Keepcnt(number)
        | SocketOption::NotsentLowat(number)
        | SocketOption::BusyPoll(number)
        | SocketOption::IncomingCpu(number)
        | SocketOption::SpinUs(number)
        | SocketOption::FragmentSize(number)
        | SocketOption::SendTimeout(Some(number)) => Term::from(*number),
        SocketOption::Tos(class) | SocketOption::Tclass(class) => Term::from(u32::from(*class)),
        SocketOption::SendTimeout(None) => atom("infinity"),
        SocketOption::Linger(seconds) => Term::Tuple(vec![
            Term::from(seconds.is_some()),
            Term::from(seconds.map_or(0, u32::from)),
        ]),
        SocketOption::Congestion(name) => Term::charlist(name),
        // The type is open; its text says the same.
        other => Term::charlist(&other.to_string()),
    };
    Term::Tuple(vec![atom(option.name().as_str()), value])
}

/// Reads the list of options given to `net_kernel:setopts/2`. A `{profile,Name}` among them stands
/// for all that the profile says.
///
/// # Errors
/// [`OptionsError::BadOptions`] with all that are the distribution's own; else
/// [`OptionsError::NoOption`] with the first that is none.
pub fn from_terms(terms: &[Term]) -> Result<Vec<SocketOption>, OptionsError> {
    let is_reserved = |term: &&Term| matches!(term.as_tuple(), Some([Term::Atom(name), _]) if RESERVED.contains(&name.as_str()));
    let reserved: Vec<Term> = terms.iter().filter(is_reserved).cloned().collect();
    if !reserved.is_empty() {
        return Err(OptionsError::BadOptions(reserved));
    }
    let mut options = Vec::with_capacity(terms.len());
    for term in terms {
        match profile(term) {
            Some(profile) => options.extend(profile.settings()),
            None => {
                options.push(option(term).ok_or_else(|| OptionsError::NoOption(term.clone()))?);
            }
        }
    }
    Ok(options)
}

fn profile(term: &Term) -> Option<Profile> {
    match term.as_tuple()? {
        [Term::Atom(name), value] if name.as_str() == PROFILE => text(value)?.parse().ok(),
        _ => None,
    }
}

fn option(term: &Term) -> Option<SocketOption> {
    let (name, value) = match term.as_tuple()? {
        [Term::Atom(name), value] => (name.as_str().parse::<OptionName>().ok()?, value),
        [Term::Atom(kind), protocol, option, Term::Binary(value)] if kind.as_str() == "raw" => {
            let number = |term: &Term| u32::try_from(term.as_integer()?).ok();
            return raw::from_bytes(raw::name(number(protocol)?, number(option)?)?, value);
        }
        _ => return None,
    };
    // Texts have one reader; here is only what has another shape in Erlang.
    let value = match (name, value) {
        (OptionName::Linger, Term::Tuple(parts)) => match parts.as_slice() {
            [on, Term::Integer(seconds)] => format!("{{{},{seconds}}}", boolean(on)?),
            _ => return None,
        },
        (OptionName::Linger, _) => return None,
        (OptionName::Congestion, value) => text(value)?,
        (OptionName::SendTimeout, Term::Atom(atom)) if atom.as_str() == "infinity" => {
            "infinity".to_owned()
        }
        (_, Term::Integer(number)) if !is_boolean(name) => number.to_string(),
        (_, value) if is_boolean(name) => boolean(value)?.to_owned(),
        _ => return None,
    };
    format!("{name}={value}").parse().ok()
}

const fn is_boolean(name: OptionName) -> bool {
    matches!(
        name,
        OptionName::Nodelay
            | OptionName::Keepalive
            | OptionName::Dontroute
            | OptionName::Reuseaddr
            | OptionName::SendTimeoutClose
            | OptionName::DelaySend
            | OptionName::ShowEconnreset
            | OptionName::Quickack
    )
}

fn boolean(term: &Term) -> Option<&'static str> {
    match term.as_atom()?.as_str() {
        "true" => Some("true"),
        "false" => Some("false"),
        _ => None,
    }
}

fn text(term: &Term) -> Option<String> {
    match term {
        Term::Atom(name) => Some(name.as_str().to_owned()),
        other => other.to_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> Term {
        text.parse().expect("a term")
    }

    fn read(text: &str) -> Result<Vec<SocketOption>, OptionsError> {
        from_terms(term(text).as_list().expect("a list"))
    }

    #[test]
    fn terms_read_back() {
        for text in [
            "[{nodelay,true}]",
            "[{keepalive,false},{sndbuf,100000}]",
            "[{linger,{true,5}}]",
            "[{linger,{false,0}}]",
            "[{send_timeout,infinity},{send_timeout,7}]",
            "[{congestion,\"reno\"}]",
            "[{tos,16},{high_watermark,10},{spin_us,0},{fragment_size,4096}]",
        ] {
            let options = read(text).unwrap();
            let back = Term::List(options.iter().map(to_term).collect());
            assert_eq!(back, term(text));
        }
        assert_eq!(read("[{raw,6,1,<<1,0,0,0>>}]"), Ok(vec![SocketOption::Nodelay(true)]));
        assert_eq!(read("[{profile,wan}]"), Ok(Profile::Wan.settings()));
    }

    #[test]
    fn mistakes_are_told_apart() {
        let bad = OptionsError::BadOptions(vec![term("{active,true}"), term("{packet,4}")]);
        assert_eq!(read("[{active,true},{nodelay,true},{packet,4},{foo,1}]"), Err(bad));
        for wrong in [
            "{nodelay,1}",
            "{nodelay,foo}",
            "{foo,1}",
            "foo",
            "{sndbuf,-1}",
            "{linger,true}",
            "{linger,{true,-5}}",
            "{send_timeout,-1}",
            "{\"nodelay\",true}",
            "{nodelay}",
            "{nodelay,true,3}",
            "{raw,6,999,<<0,0,0,0>>}",
            "{raw,6,12}",
            "{raw,6,12,1}",
            "{profile,fast}",
            "{fragment_size,1}",
        ] {
            let all = format!("[{{keepalive,true}},{wrong}]");
            assert_eq!(read(&all), Err(OptionsError::NoOption(term(wrong))), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_is_answered_in_kind() {
        let values = [SocketOption::Quickack(true), SocketOption::Linger(None)];
        let answer = |text: &str| {
            Asked::from_term(&term(text)).map(|asked| asked.answer(&values).map(|t| t.to_string()))
        };
        assert_eq!(answer("{raw,6,12,4}"), Ok(Some("{raw,6,12,<<1,0,0,0>>}".to_owned())));
        assert_eq!(answer("{raw,6,12,<<0>>}"), Ok(Some("{raw,6,12,<<1>>}".to_owned())));
        assert_eq!(answer("linger"), Ok(Some("{linger,{false,0}}".to_owned())));
        assert_eq!(answer("tclass"), Ok(None));
        assert_eq!(answer("active"), Ok(Some("{active,true}".to_owned())));
        assert!(answer("foo").is_err() && answer("\"linger\"").is_err());
        assert!(answer("{raw,1,2}").is_err());
    }
}
