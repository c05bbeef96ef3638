//! What `krarup node --help` says of each setting beside its meaning: its variable and its default.

use super::{KEYS, Layer};

/// Adds variables and defaults to the help of the settings. The parser must not know them: a layer
/// says what was said in it, and nothing else.
pub(in crate::cli) fn describe(mut command: clap::Command) -> clap::Command {
    for key in KEYS {
        let mut more = format!(" [env: {}]", key.variable());
        if let Some(default) = default_of(&key.name()) {
            more.push_str(&format!(" [default: {default}]"));
        }
        command = command.mut_arg(key.field, |argument| {
            let help = argument.get_help().cloned().unwrap_or_default();
            // The long help would leave this out.
            argument.help(format!("{help}{more}")).long_help(None)
        });
    }
    command
}

/// The default of a setting, as its flag takes it.
pub(in crate::cli) fn default_of(name: &str) -> Option<String> {
    let defaults = toml::Table::try_from(Layer::defaults()).ok()?;
    match defaults.get(name)? {
        toml::Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

/// Every setting, as the key of the file.
#[cfg(test)]
pub(in crate::cli) fn keys() -> impl Iterator<Item = String> {
    KEYS.iter().map(|key| key.name())
}
