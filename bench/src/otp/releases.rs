//! Which releases of OTP this host has, and where.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// One installed release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erl {
    /// Starts the virtual machine.
    pub(crate) path: PathBuf,
    /// What it says it is, such as `27`.
    pub(crate) release: String,
}

impl Erl {
    /// The epmd that belongs to it: beside it under the same name, else the one on PATH.
    pub(crate) fn epmd(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(name.replacen("erl", "epmd", 1));
        if beside.is_file() { beside } else { PathBuf::from("epmd") }
    }
}

/// The releases that were looked for so far.
#[derive(Debug)]
pub(crate) struct Releases {
    /// What runs peers without a release in their name.
    default: PathBuf,
    found: HashMap<Option<u16>, Result<Erl, String>>,
}

impl Releases {
    /// `default` is a path, or a name found on PATH.
    pub(crate) fn new(default: PathBuf) -> Releases {
        Releases { default, found: HashMap::new() }
    }

    /// The `erl` of a release, or of the default one, started once to see that it runs.
    pub(crate) fn find(&mut self, release: Option<u16>) -> Result<&Erl, String> {
        let default = &self.default;
        let found = self.found.entry(release).or_insert_with(|| look(default, release));
        found.as_ref().map_err(Clone::clone)
    }

    /// Every release that runs, in the order of their numbers.
    pub(crate) fn known(&self) -> Vec<&Erl> {
        let mut known: Vec<&Erl> =
            self.found.values().filter_map(|found| found.as_ref().ok()).collect();
        known.sort_by(|one, other| (&one.release, &one.path).cmp(&(&other.release, &other.path)));
        known.dedup_by(|one, other| one.release == other.release);
        known
    }
}

fn look(default: &Path, release: Option<u16>) -> Result<Erl, String> {
    let Some(number) = release else {
        let release = version(default).map_err(|error| error.to_string())?;
        return Ok(Erl { path: default.to_owned(), release });
    };
    let name = format!("erl-{number}");
    let mut seen = Vec::new();
    for path in folders(default).into_iter().map(|folder| folder.join(&name)) {
        if path.is_file() {
            match version(&path) {
                Ok(release) if release == number.to_string() => return Ok(Erl { path, release }),
                Ok(other) => seen.push(format!("{} is OTP {other}", path.display())),
                Err(error) => seen.push(error.to_string()),
            }
        }
    }
    // The machine's own may be the one.
    match version(default) {
        Ok(release) if release == number.to_string() => {
            return Ok(Erl { path: default.to_owned(), release });
        }
        Ok(_) | Err(_) => {}
    }
    seen.insert(0, format!("no {name} here (tests/otp/install {number} brings it)"));
    Err(seen.join("; "))
}

/// Where `erl-27` and its like may be: beside the default, where `tests/otp/install` puts them
/// (see docs/testing.md), and on PATH.
fn folders(default: &Path) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut folders = Vec::new();
    folders.extend(
        default.parent().filter(|parent| !parent.as_os_str().is_empty()).map(PathBuf::from),
    );
    folders.extend(variable("KRARUP_OTP_BIN").map(PathBuf::from));
    let cache = variable("KRARUP_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| PathBuf::from(base).join("krarup")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/krarup")));
    folders.extend(cache.map(|cache| cache.join("bin")));
    if let Some(path) = variable("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    folders
}

/// Release of OTP that `erl` starts, or why it does not start.
fn version(erl: &Path) -> Result<String, Error> {
    let output = Command::new(erl)
        .args(["-noshell", "-noinput", "-boot", "start_clean", "-eval"])
        .arg("io:put_chars(erlang:system_info(otp_release)), halt().")
        .output()
        .map_err(Error::io(format!("cannot start {}", erl.display())))?;
    let release = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || release.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let reason = errors.lines().next().unwrap_or("it printed no release").to_owned();
        return Err(Error::Worker { worker: erl.display().to_string(), reason });
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epmd_is_found_beside_its_erl() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let erl = Erl { path: folder.path().join("erl-27"), release: "27".into() };
        assert_eq!(erl.epmd(), PathBuf::from("epmd"));
        let beside = folder.path().join("epmd-27");
        std::fs::write(&beside, "").expect("write");
        assert_eq!(erl.epmd(), beside);
    }

    #[test]
    fn what_is_absent_says_how_to_get_it() {
        let mut releases = Releases::new("/nowhere/erl".into());
        let reason = releases.find(Some(17)).expect_err("OTP 17 is not here");
        assert!(reason.contains("tests/otp/install 17"), "{reason}");
        assert!(releases.find(None).expect_err("nowhere").contains("/nowhere/erl"));
        assert!(releases.known().is_empty());
    }
}
