//! `.hosts.erlang`: the hosts on which `world` looks for nodes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use krarup_transport::term::{Atom, Term};

use super::terms::{self, TermsError};

/// The file's name, in each of the folders where it is looked for.
pub const HOST_FILE: &str = ".hosts.erlang";

/// A list of hosts is not longer than this.
const BYTES_MAX: u64 = 1 << 20;

/// Why there are no hosts.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostFileError {
    /// There is no such file, or it cannot be read.
    File {
        /// The last that was looked at.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is no list of terms.
    Terms {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        error: TermsError,
    },
}

impl HostFileError {
    /// The reason in OTP's `{error, Reason}`.
    pub fn to_term(&self) -> Term {
        match self {
            HostFileError::File { error, .. } => Term::Atom(posix(error)),
            HostFileError::Terms { error, .. } => error.to_term(),
        }
    }
}

impl fmt::Display for HostFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostFileError::File { error, .. } if error.kind() == io::ErrorKind::NotFound => write!(
                f,
                "there is no {HOST_FILE} in the current folder, at home, or in ERL_ROOTDIR; write \
                 one with a line such as 'db1.example.org'. for each host"
            ),
            HostFileError::File { path, error } => write!(f, "{}: {error}", path.display()),
            HostFileError::Terms { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for HostFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HostFileError::File { error, .. } => Some(error),
            HostFileError::Terms { error, .. } => Some(error),
        }
    }
}

/// The terms of the first `.hosts.erlang` that there is: in the current folder, in `HOME`, in
/// `ERL_ROOTDIR` where that is set (OTP: its root folder). They should be atoms, and are given as
/// they are. Blocks.
///
/// OTP: `net_adm:host_file/0`. The first file found decides, also when it is broken.
///
/// # Errors
/// [`HostFileError`].
pub fn host_file() -> Result<Vec<Term>, HostFileError> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folders = [Some(".".into()), folder("HOME"), folder("ERL_ROOTDIR")];
    host_file_in(folders.into_iter().flatten().map(PathBuf::from))
}

/// As [`host_file`], with the folders to look in.
///
/// # Errors
/// As [`host_file`].
pub fn host_file_in(
    folders: impl IntoIterator<Item = PathBuf>,
) -> Result<Vec<Term>, HostFileError> {
    let mut missing =
        HostFileError::File { path: HOST_FILE.into(), error: io::ErrorKind::NotFound.into() };
    for folder in folders {
        let path = folder.join(HOST_FILE);
        match read(&path) {
            Ok(bytes) => {
                return terms::read(&bytes).map_err(|error| HostFileError::Terms { path, error });
            }
            Err(error) => {
                let is_elsewhere =
                    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
                missing = HostFileError::File { path, error };
                if !is_elsewhere {
                    return Err(missing);
                }
            }
        }
    }
    Err(missing)
}

fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A named pipe would let this wait for a writer; so it is an empty file.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(bytes)
}

/// The name that OTP has for an error of the system (`file:posix()`).
fn posix(error: &io::Error) -> Atom {
    let name = match error.raw_os_error() {
        Some(libc::EACCES) => "eacces",
        Some(libc::EFBIG) => "efbig",
        Some(libc::EINTR) => "eintr",
        Some(libc::EIO) => "eio",
        Some(libc::EISDIR) => "eisdir",
        Some(libc::ELOOP) => "eloop",
        Some(libc::EMFILE) => "emfile",
        Some(libc::ENAMETOOLONG) => "enametoolong",
        Some(libc::ENFILE) => "enfile",
        Some(libc::ENODEV) => "enodev",
        Some(libc::ENOENT) | None => "enoent",
        Some(libc::ENOMEM) => "enomem",
        // Where only this was wrong with the last folder, OTP finds no file.
        Some(libc::ENOTDIR) => "enoent",
        Some(libc::ENXIO) => "enxio",
        Some(libc::EPERM) => "eperm",
        Some(libc::ESTALE) => "estale",
        Some(libc::ETXTBSY) => "etxtbsy",
        Some(_) => "unknown",
    };
    Atom::from_static(name)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn hosts_in(folder: &std::path::Path) -> Result<Vec<Term>, HostFileError> {
        let (told, hears) = std::sync::mpsc::channel();
        let folder = folder.to_owned();
        std::thread::spawn(move || told.send(host_file_in([folder])));
        hears.recv_timeout(Duration::from_secs(20)).expect("an answer")
    }

    #[test]
    fn whatever_has_the_files_name_is_answered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(HOST_FILE);
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        assert_eq!(hosts_in(folder.path()).expect("an empty file"), []);
        std::fs::remove_file(&path).expect("it was there");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        let error = hosts_in(folder.path()).expect_err("no end").to_term();
        assert_eq!(error, Term::Atom(Atom::from_static("efbig")));
        std::fs::remove_file(&path).expect("it was there");
        std::fs::create_dir(&path).expect("a folder");
        let error = hosts_in(folder.path()).expect_err("a folder").to_term();
        assert_eq!(error, Term::Atom(Atom::from_static("eisdir")));
    }
}
