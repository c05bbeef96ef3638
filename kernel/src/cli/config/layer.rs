//! What declares the settings: one line says a key's flag, file key, variable, type and default.

use std::path::PathBuf;

/// The value of a setting within one layer, which may be unsaid.
pub(super) trait Setting {
    /// What a default is written as.
    type Default;

    /// Whether the layer says nothing of it.
    fn is_unsaid(&self) -> bool;

    /// The value that a default stands for.
    fn of_default(default: Self::Default) -> Self;
}

impl<T> Setting for Option<T> {
    type Default = T;

    fn is_unsaid(&self) -> bool {
        self.is_none()
    }

    fn of_default(default: T) -> Self {
        Some(default)
    }
}

impl<T> Setting for Vec<T> {
    type Default = Self;

    fn is_unsaid(&self) -> bool {
        self.is_empty()
    }

    fn of_default(default: Self) -> Self {
        default
    }
}

/// A setting as the outside knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The field's name.
    pub(super) field: &'static str,
    /// The variable that OTP has for it.
    otp_variable: Option<&'static str>,
}

impl Key {
    pub(super) const fn new(field: &'static str, otp_variable: Option<&'static str>) -> Self {
        Self { field, otp_variable }
    }

    /// The key of the file, and the flag without its dashes.
    pub(super) fn name(self) -> String {
        self.field.replace('_', "-")
    }

    /// The variable of the environment: OTP's where it has one.
    pub(super) fn variable(self) -> String {
        match self.otp_variable {
            Some(variable) => variable.to_owned(),
            None => format!("{}{}", super::environment::PREFIX, self.field.to_uppercase()),
        }
    }
}

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

/// Declares `Layer` and [`KEYS`]: a field for each setting, whose name with `-` for `_` is its flag
/// and its key in the file, and in capitals behind `KRARUP_` its variable. After `=` stands the
/// default, after `=>` the variable if OTP has one.
macro_rules! layer {
    ($(
        $(#[$about:meta])*
        $field:ident: $type:ty $(= $default:expr)? $(=> $variable:literal)?,
    )*) => {
        /// One layer of settings: what the flags, the environment or the file say. Absent is unsaid.
        #[derive(clap::Args, Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub(super) struct Layer {
            $(
                $(#[$about])*
                #[arg(long)]
                #[serde(default, skip_serializing_if = "crate::cli::config::layer::Setting::is_unsaid")]
                pub(super) $field: $type,
            )*
        }

        /// Every setting, in the order of [`Layer`].
        const KEYS: &[crate::cli::config::layer::Key] = &[$(
            crate::cli::config::layer::Key::new(
                stringify!($field),
                crate::cli::config::layer::otp_variable!($($variable)?),
            ),
        )*];

        impl Layer {
            /// The settings nobody has to give.
            pub(super) fn defaults() -> Self {
                use crate::cli::config::layer::Setting;
                let mut layer = Self::default();
                $($(layer.$field = <$type as Setting>::of_default($default);)?)*
                layer
            }

            /// Whether this layer says something of the setting.
            fn says(&self, field: &str) -> bool {
                use crate::cli::config::layer::Setting;
                match field {
                    $(stringify!($field) => !self.$field.is_unsaid(),)*
                    _ => false,
                }
            }

            /// Takes what is unsaid here from `lower`, but for the fields of `hidden`.
            fn fill(&mut self, lower: Self, hidden: &[&str]) {
                use crate::cli::config::layer::Setting;
                $(
                    if self.$field.is_unsaid() && !hidden.contains(&stringify!($field)) {
                        self.$field = lower.$field;
                    }
                )*
            }
        }
    };
}

/// The variable of OTP, or none.
macro_rules! otp_variable {
    () => {
        None
    };
    ($variable:literal) => {
        Some($variable)
    };
}

pub(super) use {layer, otp_variable};
