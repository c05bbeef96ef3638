//! What the environment says of the settings.

use super::layer::Key;
use super::{KEYS, Layer};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, FromArgMatches};
use krarup_tuning::nearest::nearest;
use std::error::Error;

/// What the variables of settings begin with, unless OTP has a name for them.
pub(super) const PREFIX: &str = "KRARUP_";
/// Names the file, which is no setting.
pub(in crate::cli) const FILE: &str = "KRARUP_CONFIG";
/// What else has such names without being a setting: the log filter, a node's mark for the process
/// it leaves in the background, and what the tests of this repository read.
const OTHERS: &[&str] = &[
    "KRARUP_LOG",
    "KRARUP_DETACHED",
    "KRARUP_ANSWERS_SECONDS",
    "KRARUP_BIN",
    "KRARUP_CACHE",
    "KRARUP_DEBIAN_MIRROR",
    "KRARUP_OTP_BIN",
    "KRARUP_SKIP",
    "KRARUP_SOAK_SECONDS",
];
/// Beginnings of others of the tests.
const OTHERS_BEGIN: &[&str] = &["KRARUP_BENCH_", "KRARUP_SIM_", "KRARUP_TEST_"];
/// What Kubernetes gives every container beside a service that is called krarup.
const OF_KUBERNETES: &[&str] = &["KRARUP_SERVICE_", "KRARUP_PORT_"];

/// Reads the layer from these variables, given by name. An empty one is as good as none.
///
/// # Errors
///
/// A sentence for the user: a variable of an unknown setting, with the nearest known one, or a
/// value that is none.
pub(super) fn layer(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Layer, String> {
    let mut layer = Layer::default();
    for (name, value) in variables {
        match KEYS.iter().find(|key| key.variable() == name) {
            Some(_) if value.is_empty() => {}
            Some(key) => layer.fill(read(*key, &name, &value)?, &[]),
            None if name.starts_with(PREFIX) && !is_of_others(&name) => return Err(unknown(&name)),
            None => {}
        }
    }
    layer.check().map_err(|error| format!("environment: {error}"))?;
    Ok(layer)
}

fn is_of_others(name: &str) -> bool {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|start| name.starts_with(start));
    name == FILE
        || OTHERS.contains(&name)
        || begins(OTHERS_BEGIN)
        || name == "KRARUP_PORT"
        || begins(OF_KUBERNETES)
}

fn unknown(name: &str) -> String {
    let file = Key::new("config", None);
    let fields = KEYS.iter().chain([&file]).map(|key| key.field);
    // Without the beginning, which makes any two of them look alike.
    let near = nearest(name.strip_prefix(PREFIX).unwrap_or(name), fields);
    let hint = match KEYS.iter().chain([&file]).find(|key| Some(key.field) == near) {
        Some(key) => format!("; did you mean {}?", key.variable()),
        None => String::new(),
    };
    format!("environment: {name} is the variable of no setting{hint}")
}

/// One variable, by the parser of its flag, so that both mean the same.
fn read(key: Key, variable: &str, value: &str) -> Result<Layer, String> {
    let command = Layer::augment_args(clap::Command::new("environment").no_binary_name(true));
    let is_list = command
        .get_arguments()
        .find(|argument| argument.get_id() == key.field)
        .is_some_and(|argument| matches!(argument.get_action(), clap::ArgAction::Append));
    let flag = |value: &str| format!("--{}={value}", key.name());
    let flags: Vec<String> = if is_list {
        let is_between = |c: char| c.is_whitespace() || c == ',';
        value.split(is_between).filter(|word| !word.is_empty()).map(flag).collect()
    } else {
        vec![flag(value)]
    };
    command
        .try_get_matches_from(flags)
        .and_then(|matches| Layer::from_arg_matches(&matches))
        .map_err(|error| format!("{variable}: {}", reason(&error)))
}

/// What clap found wrong, without the flag that the user did not write.
fn reason(error: &clap::Error) -> String {
    let got = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(got)) => format!(", got {got:?}"),
        _ => String::new(),
    };
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => {
            format!("expected one of {}{got}", known.join(", "))
        }
        _ => match error.source() {
            Some(source) => format!("{source}{got}"),
            None => error.to_string().lines().next().unwrap_or_default().to_owned(),
        },
    }
}
