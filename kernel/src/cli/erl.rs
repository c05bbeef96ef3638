//! `erl`'s own spellings: turns `-name a@h -setcookie c -kernel net_ticktime 8` into the `--`
//! flags of `krarup node`, so that scripts written for `erl` start Krarup nodes.
//!
//! The rules are those of erl: a flag starts with one dash, its values are the arguments up to
//! the next flag. What only concerns the BEAM is accepted without effect.

use krarup_tuning::nearest::suggestion;
use krarup_tuning::option::parse::list as socket_options;

/// What a list of arguments became.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    /// The same in `--` flags.
    pub(super) arguments: Vec<String>,
    /// What was understood but has no effect, for the log.
    pub(super) notes: Vec<String>,
}

/// How a flag of erl is handled. The number of values is erl's.
enum Meaning {
    /// Becomes this flag with its one value.
    Value(&'static str),
    /// Becomes these flags, with no value.
    Switch(&'static [&'static str]),
    /// Is there for the BEAM; it and its values are dropped.
    Ignored,
    /// `-setcookie`, `-name` and so on have rules of their own.
    Special(Special),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    ConnectAll,
    Environment,
    Extra,
    Kernel,
    Name,
    Origin,
    ProtoDist,
    SetCookie,
    ShortName,
    Start,
    StartEpmd,
    User,
}

/// Every flag of erl that is accepted.
const FLAGS: &[(&str, Meaning)] = &[
    ("boot", Meaning::Ignored),
    ("boot_var", Meaning::Ignored),
    ("code_path_cache", Meaning::Ignored),
    ("connect_all", Meaning::Special(Special::ConnectAll)),
    ("detached", Meaning::Switch(&["--detached"])),
    ("dist_listen", Meaning::Value("--dist-listen")),
    ("emu_flavor", Meaning::Ignored),
    ("emu_type", Meaning::Ignored),
    ("env", Meaning::Special(Special::Environment)),
    ("epmd_port", Meaning::Value("--epmd-port")),
    ("erl_epmd_port", Meaning::Value("--dist-port")),
    ("extra", Meaning::Special(Special::Extra)),
    ("heart", Meaning::Ignored),
    ("hidden", Meaning::Switch(&["--hidden"])),
    ("home", Meaning::Ignored),
    ("kernel", Meaning::Special(Special::Kernel)),
    ("master", Meaning::Ignored),
    ("mode", Meaning::Ignored),
    ("name", Meaning::Special(Special::Name)),
    ("no_epmd", Meaning::Switch(&["--epmd", "none"])),
    ("noinput", Meaning::Ignored),
    ("noshell", Meaning::Ignored),
    ("origin", Meaning::Special(Special::Origin)),
    ("pa", Meaning::Ignored),
    ("path", Meaning::Ignored),
    ("peer_detached", Meaning::Ignored),
    ("pz", Meaning::Ignored),
    ("proto_dist", Meaning::Special(Special::ProtoDist)),
    ("rsh", Meaning::Ignored),
    ("s", Meaning::Special(Special::Start)),
    ("setcookie", Meaning::Special(Special::SetCookie)),
    ("shutdown_time", Meaning::Ignored),
    ("smp", Meaning::Ignored),
    ("sname", Meaning::Special(Special::ShortName)),
    ("start_epmd", Meaning::Special(Special::StartEpmd)),
    ("user", Meaning::Special(Special::User)),
];

/// Parameters of `-kernel`, and the flag each becomes; without one it is accepted without effect.
const KERNEL: &[(&str, Option<&str>)] = &[
    ("connect_all", Some("--connect-all")),
    ("dist_auto_connect", Some("--dist-auto-connect")),
    ("dist_nodelay", Some("--dist-nodelay")),
    ("erl_epmd_node_listen_port", Some("--dist-port")),
    ("inet_dist_connect_options", Some("--connect-options")),
    ("inet_dist_listen_max", Some("--listen-max")),
    ("inet_dist_listen_min", Some("--listen-min")),
    ("inet_dist_listen_options", Some("--listen-options")),
    ("inet_dist_use_interface", Some("--listen-address")),
    ("logger", None),
    ("logger_level", None),
    ("logger_sasl_compatible", None),
    ("net_setuptime", Some("--net-setuptime")),
    ("net_tickintensity", Some("--net-tickintensity")),
    ("net_ticktime", Some("--net-ticktime")),
    ("prevent_overlapping_partitions", None),
    ("shell_history", None),
    ("standard_io_encoding", None),
    ("start_dist_ac", None),
    ("start_pg", None),
    ("sync_nodes_timeout", None),
];

/// Whether this flag of erl is accepted.
#[cfg(test)]
pub(super) fn knows(flag: &str) -> bool {
    FLAGS.iter().any(|(name, _)| *name == flag)
}

/// The parameters of `-kernel` that have an effect.
#[cfg(test)]
pub(super) fn kernel_parameters() -> impl Iterator<Item = &'static str> {
    KERNEL.iter().filter(|(_, flag)| flag.is_some()).map(|(name, _)| *name)
}

/// Rewrites erl's flags in `arguments`. Arguments in `--` form, and what follows them, stay.
///
/// # Errors
///
/// A sentence for the user: an unknown flag with the nearest known one, or a wrong value.
pub(super) fn translate(arguments: &[String]) -> Result<Translation, String> {
    let mut result = Translation::default();
    let mut cookies = Cookies::default();
    let mut names: Vec<(Special, String)> = Vec::new();
    let mut rest = arguments;
    while let Some((argument, following)) = rest.split_first() {
        rest = following;
        if let Some(flag) = argument.strip_prefix('+') {
            // An emulator flag such as `+K true`.
            let values = values(&mut rest);
            result.notes.push(format!("+{flag} {} is for the BEAM", values.join(" ")));
            continue;
        }
        let Some(flag) = erl_flag(argument) else {
            result.arguments.push(argument.clone());
            continue;
        };
        let values = values(&mut rest);
        let meaning = FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, meaning)| meaning);
        match meaning {
            None => return Err(unknown_flag(flag)),
            Some(Meaning::Ignored) => {
                result.notes.push(format!("-{flag} has no meaning here and is ignored"));
            }
            Some(Meaning::Switch(flags)) => {
                // `-hidden` and the like take no value; erl ignores one that is there.
                result.arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
            }
            Some(Meaning::Value(long)) => {
                result.arguments.extend([(*long).to_owned(), single(flag, values)?.to_owned()]);
            }
            Some(Meaning::Special(special)) => match special {
                Special::SetCookie => cookies.add(values),
                Special::Name | Special::ShortName => {
                    names.push((*special, single(flag, values)?.to_owned()));
                }
                Special::Kernel => kernel(values, &mut result)?,
                Special::ConnectAll => {
                    let value = single(flag, values)?;
                    result.arguments.extend(["--connect-all".into(), value.to_owned()]);
                }
                Special::StartEpmd => match single(flag, values)? {
                    "true" => {}
                    "false" => result.arguments.extend(["--epmd".into(), "external".into()]),
                    other => {
                        return Err(format!("-start_epmd: expected true or false, got {other:?}"));
                    }
                },
                Special::ProtoDist => match single(flag, values)? {
                    "inet_tcp" => {}
                    "inet6_tcp" => {
                        result.arguments.extend(["--address-family".into(), "inet6".into()]);
                    }
                    other => {
                        return Err(format!(
                            "-proto_dist {other} is not available: only inet_tcp and inet6_tcp are"
                        ));
                    }
                },
                Special::Start => match values {
                    [module, function, master, waiter, ..]
                        if module == "slave" && function == "slave_start" =>
                    {
                        let slave = ["--slave", master.as_str(), waiter.as_str()];
                        result.arguments.extend(slave.map(str::to_owned));
                    }
                    _ => result.notes.push(format!("-s {} is for the BEAM", values.join(" "))),
                },
                Special::User => match single(flag, values)? {
                    "peer" => result.arguments.push("--peer".into()),
                    other => result.notes.push(format!("-user {other} is for the BEAM")),
                },
                Special::Origin => {
                    result.arguments.push("--origin".into());
                    result.arguments.extend_from_slice(values);
                }
                Special::Environment => match values {
                    [name, ..] => {
                        result.notes.push(format!("-env {name} sets nothing here and is ignored"));
                    }
                    [] => return Err("-env needs a name and a value".into()),
                },
                Special::Extra => {
                    result.notes.push("what follows -extra is ignored".into());
                    rest = &[];
                }
            },
        }
    }
    choose_name(names, &mut result);
    cookies.finish(&mut result);
    Ok(result)
}

/// Whether `argument` looks like a flag of erl: one dash, and more than one letter, so that
/// `-h` stays what it is everywhere.
pub(super) fn erl_flag(argument: &str) -> Option<&str> {
    let flag = argument.strip_prefix('-')?;
    // `-s` has one letter, as flags of ours have, and no other meaning.
    (flag == "s" || flag.len() > 1 && !flag.starts_with('-')).then_some(flag)
}

/// Takes the values of a flag: everything up to the next flag. A negative number is a value.
fn values<'a>(rest: &mut &'a [String]) -> &'a [String] {
    let is_flag = |argument: &String| {
        argument.starts_with('+')
            || (argument.len() > 1
                && argument.starts_with('-')
                && !argument[1..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let count = rest.iter().position(is_flag).unwrap_or(rest.len());
    let (values, after) = rest.split_at(count);
    *rest = after;
    values
}

fn single<'a>(flag: &str, values: &'a [String]) -> Result<&'a str, String> {
    match values {
        [value] => Ok(value),
        _ => Err(format!("-{flag}: expected one value, got {}", values.len())),
    }
}

fn unknown_flag(flag: &str) -> String {
    let known = FLAGS.iter().map(|(name, _)| *name);
    let hint = krarup_tuning::nearest::nearest(flag, known)
        .map(|name| format!("; did you mean -{name}?"))
        .unwrap_or_default();
    format!("unknown flag -{flag}{hint}")
}

/// `-kernel KEY VALUE [KEY VALUE…]`.
fn kernel(values: &[String], result: &mut Translation) -> Result<(), String> {
    let mut pairs = values.chunks_exact(2);
    for pair in &mut pairs {
        let (key, value) = (pair[0].as_str(), pair[1].as_str());
        let Some((_, flag)) = KERNEL.iter().find(|(name, _)| *name == key) else {
            let hint = suggestion(key, KERNEL.iter().map(|(name, _)| *name));
            return Err(format!("-kernel: unknown parameter {key:?}{hint}"));
        };
        let Some(flag) = flag else {
            result.notes.push(format!("-kernel {key} has no meaning here and is ignored"));
            continue;
        };
        let wrong = |expected: &str| format!("-kernel {key}: expected {expected}, got {value:?}");
        match key {
            "inet_dist_use_interface" => {
                let address = address(value).ok_or_else(|| wrong("an address as {127,0,0,1}"))?;
                result.arguments.extend([(*flag).to_owned(), address]);
            }
            "inet_dist_listen_options" | "inet_dist_connect_options" => {
                for option in
                    socket_options(value).map_err(|error| format!("-kernel {key}: {error}"))?
                {
                    result.arguments.extend([(*flag).to_owned(), option.to_string()]);
                }
            }
            // The R16 documentation's word for `never`.
            "dist_auto_connect" if value == "false" => {
                result.arguments.extend([(*flag).to_owned(), "never".to_owned()]);
            }
            _ => result.arguments.extend([(*flag).to_owned(), value.to_owned()]),
        }
    }
    match pairs.remainder() {
        [] => Ok(()),
        [key, ..] => Err(format!("-kernel {key}: a value is missing")),
    }
}

/// `{127,0,0,1}` and the eight-number form of IPv6, or an address as everywhere else.
fn address(text: &str) -> Option<String> {
    let Some(tuple) = text.strip_prefix('{') else {
        return text.trim_matches('"').parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string());
    };
    let numbers: Vec<u16> = tuple
        .strip_suffix('}')?
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    if let Ok(groups) = <[u16; 8]>::try_from(numbers.as_slice()) {
        return Some(std::net::Ipv6Addr::from(groups).to_string());
    }
    let bytes: Vec<u8> = numbers.iter().map(|&n| u8::try_from(n).ok()).collect::<Option<_>>()?;
    Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string())
}

// OTP: kernel, erl_distribution: -sname wins over -name; of a repeated flag the first is used.
fn choose_name(names: Vec<(Special, String)>, result: &mut Translation) {
    let chosen = names
        .iter()
        .find(|(kind, _)| *kind == Special::ShortName)
        .or_else(|| names.first())
        .cloned();
    let Some((kind, name)) = chosen else { return };
    if names.len() > 1 {
        result.notes.push(format!("several names given: {name} is used"));
    }
    let flag = if kind == Special::ShortName { "--sname" } else { "--name" };
    result.arguments.extend([flag.to_owned(), name]);
}

/// The `-setcookie` flags of a command line.
///
/// OTP: kernel, auth.erl: exactly one `-setcookie C` sets the cookie; with two of them, or one
/// without a value, all of that form are ignored. `-setcookie NODE C` sets one node's cookie; the
/// same node twice is dropped. More values are ignored.
#[derive(Default)]
struct Cookies {
    own: Vec<String>,
    empty: bool,
    peers: Vec<(String, String)>,
    overlong: bool,
}

impl Cookies {
    fn add(&mut self, values: &[String]) {
        match values {
            [] => self.empty = true,
            [cookie] => self.own.push(cookie.clone()),
            [node, cookie] => self.peers.push((node.clone(), cookie.clone())),
            _ => self.overlong = true,
        }
    }

    fn finish(self, result: &mut Translation) {
        match self.own.as_slice() {
            [cookie] if !self.empty => {
                result.arguments.extend(["--cookie".into(), cookie.clone()]);
            }
            [] if !self.empty => {}
            _ => result.notes.push(
                "-setcookie without a value or given twice: all are ignored, the cookie file is used"
                    .into(),
            ),
        }
        for (node, cookie) in &self.peers {
            if self.peers.iter().filter(|(other, _)| other == node).count() > 1 {
                result.notes.push(format!("-setcookie {node} given twice: it is ignored"));
            } else {
                result.arguments.extend(["--cookie-for".into(), format!("{node}={cookie}")]);
            }
        }
        if self.overlong {
            result.notes.push("-setcookie with more than two values is ignored".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> String {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        translate(&arguments).unwrap().arguments.join(" ")
    }

    fn refused(text: &str) -> String {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        translate(&arguments).unwrap_err()
    }

    #[test]
    fn flags_become_long_ones() {
        assert_eq!(
            translated(
                "-name a@127.0.0.1 -setcookie c -hidden -noinput -noshell -connect_all false"
            ),
            "--hidden --connect-all false --name a@127.0.0.1 --cookie c"
        );
        assert_eq!(
            translated(
                "-kernel net_ticktime 8 inet_dist_listen_min 9000 inet_dist_listen_max 9005"
            ),
            "--net-ticktime 8 --listen-min 9000 --listen-max 9005"
        );
        assert_eq!(
            translated(
                "-kernel inet_dist_use_interface {127,0,0,1} -kernel dist_auto_connect false"
            ),
            "--listen-address 127.0.0.1 --dist-auto-connect never"
        );
        assert_eq!(
            translated("-kernel inet_dist_use_interface {0,0,0,0,0,0,0,1}"),
            "--listen-address ::1"
        );
        assert_eq!(
            translated(
                "-kernel inet_dist_listen_options [{nodelay,true}] \
                 -kernel inet_dist_connect_options [{nodelay,true},{linger,{true,5}}]"
            ),
            "--listen-options nodelay=true --connect-options nodelay=true --connect-options linger=5"
        );
        assert_eq!(
            translated("-start_epmd false -epmd_port 5000"),
            "--epmd external --epmd-port 5000"
        );
        assert_eq!(
            translated("-proto_dist inet_tcp -smp auto +K true +A 10 -detached"),
            "--detached"
        );
        assert_eq!(translated("-sname a -extra -anything at all"), "--sname a");
    }

    #[test]
    fn long_flags_stay() {
        assert_eq!(
            translated("--name a@h --cookie c --json -h"),
            "--name a@h --cookie c --json -h"
        );
        assert_eq!(translated("b@127.0.0.1 -sname x"), "b@127.0.0.1 --sname x");
    }

    #[test]
    fn cookie_repetition() {
        assert_eq!(translated("-setcookie a"), "--cookie a");
        assert_eq!(translated("-setcookie a -setcookie b"), "");
        assert_eq!(translated("-setcookie a -setcookie"), "");
        assert_eq!(translated("-setcookie a -setcookie n@h b"), "--cookie a --cookie-for n@h=b");
        assert_eq!(
            translated("-setcookie n@h a -setcookie n@h b -setcookie m@h c"),
            "--cookie-for m@h=c"
        );
        assert_eq!(translated("-setcookie a b c"), "");
    }

    #[test]
    fn names() {
        assert_eq!(translated("-name a@h.x -sname b"), "--sname b");
        assert_eq!(translated("-name a@h.x -name b@h.x"), "--name a@h.x");
    }

    #[test]
    fn mistakes_name_the_nearest() {
        assert!(refused("-snmae a").contains("did you mean -sname?"));
        assert!(refused("-kernel net_tictime 5").contains("did you mean \"net_ticktime\"?"));
        assert!(refused("-kernel net_ticktime").contains("a value is missing"));
        assert!(refused("-name").contains("expected one value, got 0"));
        assert!(refused("-proto_dist inet_tls").contains("only inet_tcp"));
        assert!(refused("-kernel inet_dist_use_interface {1,2}").contains("{127,0,0,1}"));
        assert!(refused("-kernel inet_dist_listen_options [{nodley,true}]").contains("nodelay"));
        assert!(refused("-start_epmd maybe").contains("true or false"));
    }
}
