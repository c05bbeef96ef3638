//! Which cores the two sides run on.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::error::Error;

/// The cores of both sides, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Pinning {
    /// Core of the side that sends first.
    pub(crate) client: Option<usize>,
    /// Core of the side that answers.
    pub(crate) server: Option<usize>,
}

impl Pinning {
    /// The first two cores this process may use; on one core both sides share it.
    pub(crate) fn first_two() -> Result<Pinning, Error> {
        let allowed = allowed_cores()?;
        let client = allowed.first().copied();
        let server = allowed.get(1).copied().or(client);
        Ok(Pinning { client, server })
    }

    /// Refuses cores that this process may not use.
    pub(crate) fn check(self) -> Result<Pinning, Error> {
        let allowed = allowed_cores()?;
        for core in [self.client, self.server].into_iter().flatten() {
            if !allowed.contains(&core) {
                return Err(Error::Usage(format!(
                    "--pin names core {core}, this process may use {allowed:?}; \
                     choose from these, or --pin none"
                )));
            }
        }
        Ok(self)
    }

    /// Whether both sides were put on the same core.
    pub(crate) fn shares_core(self) -> bool {
        self.client.is_some() && self.client == self.server
    }
}

impl FromStr for Pinning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Pinning { client: None, server: None });
        }
        let core =
            |text: &str| text.trim().parse::<usize>().ok().filter(|&core| core < CpuSet::MAX_CPU);
        text.split_once(',')
            .and_then(|(client, server)| {
                Some(Pinning { client: Some(core(client)?), server: Some(core(server)?) })
            })
            .ok_or_else(|| format!("expected two core numbers such as 0,1, or none, not {text:?}"))
    }
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.client, self.server) {
            (Some(client), Some(server)) => {
                write!(f, "client on core {client}, server on core {server}")
            }
            _ => f.write_str("none"),
        }
    }
}

/// Cores that this process may run on, ascending.
pub(crate) fn allowed_cores() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(None).map_err(|errno| {
        Error::io("cannot read the cores of this process")(io::Error::from(errno))
    })?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Puts this thread, and all it starts from now on, on one core.
pub(crate) fn pin_to(core: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|errno| Error::io(format!("cannot pin to core {core}"))(io::Error::from(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_reads_two_cores_or_none() {
        assert_eq!("0,1".parse(), Ok(Pinning { client: Some(0), server: Some(1) }));
        assert_eq!("none".parse(), Ok(Pinning { client: None, server: None }));
        for wrong in ["", "0", "0,", "a,b", "0,99999999", "0,1,2"] {
            assert!(wrong.parse::<Pinning>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_core_this_process_may_not_use_is_refused() {
        let beyond = Pinning { client: Some(CpuSet::MAX_CPU - 1), server: None };
        assert!(matches!(beyond.check(), Err(Error::Usage(_))));
    }
}
