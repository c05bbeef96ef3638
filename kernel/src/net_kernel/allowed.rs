//! Who may connect (OTP: `net_kernel:allow/1`).

use std::collections::HashSet;
use std::fmt;

/// Names that are kept. They come from whoever has the cookie.
pub(crate) const NAMES_MAX: usize = 1 << 16;

/// More nodes would be named one by one, allowed or with a cookie of their own, than are kept:
/// 65,536 of each. Nothing was changed. OTP has no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

impl fmt::Display for TooManyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {NAMES_MAX} nodes would be named; allow hosts instead of nodes")
    }
}

impl std::error::Error for TooManyNames {}

/// The nodes that may connect; everybody may while there are none.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    /// In the order in which it was said.
    names: Vec<String>,
    known: HashSet<String>,
}

impl Allowed {
    /// Adds names, all or none of them.
    pub(super) fn add(
        &mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<(), TooManyNames> {
        let before = self.names.len();
        for name in names {
            if self.known.contains(&name) {
                continue;
            }
            if self.names.len() == NAMES_MAX {
                for added in self.names.drain(before..) {
                    self.known.remove(&added);
                }
                return Err(TooManyNames);
            }
            self.known.insert(name.clone());
            self.names.push(name);
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        *self = Allowed::default();
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Outbound entries match a full name only.
    pub(super) fn may_be_called(&self, node: &str) -> bool {
        self.names.is_empty() || self.known.contains(node)
    }

    /// Inbound entries match a full name, a bare host, or a bare name with an empty host (OTP:
    /// `net_kernel:allow/1` as `dist_util` checks it).
    pub(super) fn may_connect(&self, node: &str) -> bool {
        let (head, host) = node.split_once('@').unwrap_or((node, ""));
        self.names.is_empty()
            || self.known.contains(node)
            || self.known.contains(host)
            || self.known.contains(&format!("{head}@"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_million_names_are_refused_at_once_and_as_a_whole() {
        let mut allowed = Allowed::default();
        let names = |count: usize| (0..count).map(|number| format!("n{number}@h"));
        let start = Instant::now();
        assert_eq!(allowed.add(names(1_000_000)), Err(TooManyNames));
        assert!(allowed.names().is_empty() && allowed.may_connect("x@h"));
        assert_eq!(allowed.add(names(NAMES_MAX)), Ok(()));
        assert_eq!(allowed.add(names(NAMES_MAX)), Ok(()), "the same again");
        assert_eq!(allowed.add(["x@h".to_owned()]), Err(TooManyNames));
        assert!(!allowed.may_connect("x@h") && allowed.may_connect("n9@h"));
        assert_eq!(allowed.names().len(), NAMES_MAX);
        // Comparing each with all took minutes.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
