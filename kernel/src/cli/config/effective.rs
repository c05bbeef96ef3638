//! The settings in effect, and where each came from.

use super::layer::Origin;
use super::{KEYS, Layer};
use std::fmt::Write as _;

/// The column of the comments that say where a value came from.
const COMMENT_COLUMN: usize = 32;

/// All layers as one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Effective {
    /// What they come to.
    pub(in crate::cli) settings: Layer,
    /// For each setting that is said, by its field.
    origins: Vec<(&'static str, Origin)>,
}

impl Effective {
    /// Puts layers together; the first has the last word.
    pub(in crate::cli) fn new(layers: impl IntoIterator<Item = (Origin, Layer)>) -> Self {
        let mut settings = Layer::default();
        let mut origins = Vec::new();
        for (origin, lower) in layers {
            let before = settings.clone();
            settings = settings.over(lower);
            let new = KEYS.iter().map(|key| key.field).filter(|field| !before.says(field));
            origins.extend(
                new.filter(|field| settings.says(field)).map(|field| (field, origin.clone())),
            );
        }
        Self { settings, origins }
    }

    /// TOML that [`Layer::from_toml`] accepts, with a comment on each value. Cookies stay out.
    pub(in crate::cli) fn to_toml(&self) -> Result<String, String> {
        let table = toml::Table::try_from(&self.settings).map_err(|error| error.to_string())?;
        let mut text = String::new();
        for key in KEYS {
            let name = key.name();
            let Some((_, origin)) = self.origins.iter().find(|(field, _)| *field == key.field)
            else {
                continue;
            };
            let comment = match origin {
                Origin::Flag => "# flag".to_owned(),
                Origin::Environment => format!("# {}", key.variable()),
                // A comment has no control characters.
                Origin::File(path) => format!("# {}", path.to_string_lossy().escape_debug()),
                Origin::Default => "# default".to_owned(),
            };
            let Some(value) = table.get(&name) else {
                let _ = writeln!(text, "# {name} is given, and not shown: {}", &comment[2..]);
                continue;
            };
            let line = toml::to_string(&toml::Table::from_iter([(name, value.clone())]))
                .map_err(|error| error.to_string())?;
            let line = line.trim_end();
            let _ = if line.contains('\n') {
                writeln!(text, "{comment}\n{line}")
            } else {
                writeln!(text, "{line:COMMENT_COLUMN$} {comment}")
            };
        }
        Ok(text)
    }
}
