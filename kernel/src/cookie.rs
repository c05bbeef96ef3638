//! The cookie file, by OTP's rules.
//!
//! [`from_home`] finds `$HOME/.erlang.cookie`, else `$XDG_CONFIG_HOME/erlang/.erlang.cookie`, else
//! creates the first, so that Erlang nodes and Krarup nodes of one user share one cookie.

use krarup_transport::handshake::{COOKIE_CHARS_MAX, Cookie};
use std::error::Error;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file, in `$HOME` or in `$XDG_CONFIG_HOME/erlang`.
const FILE_NAME: &str = ".erlang.cookie";
/// How much of a cookie file is read: a cookie, and room for blank lines after it.
const FILE_BYTES_MAX: u64 = 4096;
/// Letters in a cookie made here. 26^20 is 94 bits.
const CREATED_LENGTH: usize = 20;

/// The cookie of this user, by `$HOME` and `$XDG_CONFIG_HOME`: see [`find_or_create`].
///
/// # Errors
///
/// As [`find_or_create`].
pub fn from_home() -> Result<Cookie, CookieFileError> {
    let directory = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = directory("HOME");
    let config = directory("XDG_CONFIG_HOME")
        .or_else(|| home.as_ref().map(|home| home.join(".config")))
        .map(|config| config.join("erlang"));
    find_or_create(home.as_deref(), config.as_deref())
}

/// Reads the cookie file in `home`, else the one in `config`. Without either it creates the
/// one in `home` (in `config` when there is no home): 20 random capital letters, mode 0400.
///
/// A file that exists decides, also when it is wrong: the other is not tried then.
///
/// # Errors
///
/// [`CookieFileError`], which names the file, what is wrong with it and the remedy.
pub fn find_or_create(
    home: Option<&Path>,
    config: Option<&Path>,
) -> Result<Cookie, CookieFileError> {
    let paths: Vec<PathBuf> =
        [home, config].into_iter().flatten().map(|place| place.join(FILE_NAME)).collect();
    for path in &paths {
        if let Some(cookie) = read_existing(path)? {
            return Ok(cookie);
        }
    }
    let path = paths.into_iter().next().ok_or_else(|| CookieFileError {
        path: PathBuf::from(FILE_NAME),
        problem: CookieFileProblem::NoHome,
    })?;
    if home.is_none() {
        // A home that does not exist is a mistake; a directory for the configuration is made.
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| CookieFileError {
                path: path.clone(),
                problem: CookieFileProblem::NotCreated(error),
            })?;
        }
    }
    create(&path)?;
    // Read back, so that whoever won a race to create it decides for both.
    read(&path)
}

/// Reads one cookie file by OTP's rules: a regular file that only its owner may access, with
/// one line of printable ASCII. Blanks before the line's end belong to the cookie.
///
/// # Errors
///
/// [`CookieFileError`], also when there is no such file.
pub fn read(path: &Path) -> Result<Cookie, CookieFileError> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    read_existing(path)?.ok_or_else(|| CookieFileError {
        path: path.to_owned(),
        problem: CookieFileProblem::Unreadable(missing()),
    })
}

/// A cookie file that cannot be used. Nothing was changed.
#[derive(Debug)]
pub struct CookieFileError {
    path: PathBuf,
    problem: CookieFileProblem,
}

impl CookieFileError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &CookieFileProblem {
        &self.problem
    }
}

/// What is wrong with a cookie file.
#[derive(Debug)]
#[non_exhaustive]
pub enum CookieFileProblem {
    /// Neither a home nor a configuration directory is known.
    NoHome,
    /// A directory, pipe or other thing that is no regular file.
    NotRegular,
    /// Others than the owner have access; the mode it has.
    Accessible(u32),
    /// It cannot be read.
    Unreadable(io::Error),
    /// It holds no cookie.
    Empty,
    /// The cookie is longer than 255 characters.
    TooLong,
    /// A byte, at this offset, that no cookie may hold.
    BadCharacter(usize),
    /// It cannot be created.
    NotCreated(io::Error),
}

impl fmt::Display for CookieFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            CookieFileProblem::NoHome => f.write_str(
                "no cookie: neither HOME nor XDG_CONFIG_HOME is set; set one, or give the cookie",
            ),
            CookieFileProblem::NotRegular => {
                write!(f, "cookie file {path} is not a regular file; remove it, or give the cookie")
            }
            CookieFileProblem::Accessible(mode) => write!(
                f,
                "cookie file {path} must be accessible by its owner only, its mode is {mode:03o}; \
                 run: chmod 400 {path}"
            ),
            CookieFileProblem::Unreadable(error) => write!(
                f,
                "cookie file {path} cannot be read: {error}; \
                 check its owner and path, or give the cookie"
            ),
            CookieFileProblem::Empty => write!(
                f,
                "cookie file {path} has no cookie in its first line; \
                 write one, or remove the file to have one made"
            ),
            CookieFileProblem::TooLong => {
                write!(
                    f,
                    "the cookie in {path} has more than {COOKIE_CHARS_MAX} characters; shorten it"
                )
            }
            CookieFileProblem::BadCharacter(offset) => write!(
                f,
                "bad character at byte {offset} of cookie file {path}; \
                 one line of printable ASCII is expected"
            ),
            CookieFileProblem::NotCreated(error) => write!(
                f,
                "cookie file {path} cannot be created: {error}; \
                 make its directory writable, or give the cookie"
            ),
        }
    }
}

impl Error for CookieFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            CookieFileProblem::Unreadable(error) | CookieFileProblem::NotCreated(error) => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// `None` when there is no such file.
fn read_existing(path: &Path) -> Result<Option<Cookie>, CookieFileError> {
    let wrong = |problem| CookieFileError { path: path.to_owned(), problem };
    let unreadable = |error| wrong(CookieFileProblem::Unreadable(error));
    // Opened before it is examined, so that what was checked is what is read; a pipe must not
    // make the opening wait.
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(wrong(CookieFileProblem::NotRegular));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(CookieFileProblem::Accessible(mode)));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    parse(&text).map(Some).map_err(wrong)
}

// OTP: kernel, auth.erl: the legal bytes are 32..126; what follows the first other one may only
// be line ends and blanks.
fn parse(text: &[u8]) -> Result<Cookie, CookieFileProblem> {
    let end = text.iter().position(|byte| !(32..=126).contains(byte)).unwrap_or(text.len());
    let rest = &text[end..];
    if let Some(at) = rest.iter().position(|byte| !matches!(byte, b'\n' | b'\r' | b' ')) {
        return Err(CookieFileProblem::BadCharacter(end + at));
    }
    match end {
        0 => Err(CookieFileProblem::Empty),
        // ASCII by the test above, so only the length is left to refuse.
        _ => Cookie::new(&String::from_utf8_lossy(&text[..end]))
            .map_err(|_| CookieFileProblem::TooLong),
    }
}

/// Creates the file with a new cookie unless it exists by now. It appears under its name only
/// when complete, so another starting node never reads half of it.
fn create(path: &Path) -> Result<(), CookieFileError> {
    let attempt = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let cookie = random_letters(CREATED_LENGTH)?;
        let draft = directory.join(format!("{FILE_NAME}.{}", random_letters(8)?));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&draft)?;
        let written = file.write_all(cookie.as_bytes()).and_then(|()| file.sync_all());
        // A link, unlike a rename, fails when the name exists.
        let linked = written.and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    };
    attempt().map_err(|error| CookieFileError {
        path: path.to_owned(),
        problem: CookieFileProblem::NotCreated(error),
    })
}

/// Capital letters A to Z, equally likely, from the system's random source.
fn random_letters(count: usize) -> io::Result<String> {
    let mut letters = String::with_capacity(count);
    while letters.len() < count {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        // 234 is the largest multiple of 26 in a byte: what lies above would favour some letters.
        let fair = bytes.iter().filter(|&&byte| byte < 234).take(count - letters.len());
        letters.extend(fair.map(|byte| char::from(b'A' + byte % 26)));
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path, text: &[u8], mode: u32) -> PathBuf {
        let path = directory.join(FILE_NAME);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_missing_file_is_created_once() {
        let home = tempfile::tempdir().unwrap();
        let cookie = find_or_create(Some(home.path()), None).unwrap();
        assert_eq!(cookie.reveal().len(), 20);
        assert!(cookie.reveal().bytes().all(|byte| byte.is_ascii_uppercase()));
        let path = home.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
        assert_eq!(find_or_create(Some(home.path()), None).unwrap(), cookie);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn many_creators_agree() {
        let home = tempfile::tempdir().unwrap();
        let cookies: Vec<Cookie> = std::thread::scope(|scope| {
            let creators: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| find_or_create(Some(home.path()), None).unwrap()))
                .collect();
            creators.into_iter().map(|creator| creator.join().unwrap()).collect()
        });
        assert!(cookies.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn the_home_comes_before_the_configuration_directory() {
        let home = tempfile::tempdir().unwrap();
        let config = tempfile::tempdir().unwrap();
        file(config.path(), b"from_config\n", 0o600);
        let both = || find_or_create(Some(home.path()), Some(config.path()));
        assert_eq!(both().unwrap().reveal(), "from_config");
        file(home.path(), b"from_home\n", 0o400);
        assert_eq!(both().unwrap().reveal(), "from_home");
        // A wrong file in the home decides too.
        fs::remove_file(home.path().join(FILE_NAME)).unwrap();
        file(home.path(), b"\n", 0o400);
        assert!(matches!(both().unwrap_err().problem(), CookieFileProblem::Empty));
    }

    #[test]
    fn without_a_home_the_configuration_directory_gets_the_file() {
        let config = tempfile::tempdir().unwrap();
        let inner = config.path().join("erlang");
        let cookie = find_or_create(None, Some(&inner)).unwrap();
        assert_eq!(read(&inner.join(FILE_NAME)).unwrap(), cookie);
        let absent = config.path().join("absent");
        let error = find_or_create(Some(&absent), None).unwrap_err();
        assert!(error.to_string().contains("cannot be created"), "{error}");
        assert!(!absent.exists());
        let error = find_or_create(None, None).unwrap_err();
        assert!(error.to_string().contains("HOME"), "{error}");
    }

    #[test]
    fn line_ends_follow_and_blanks_belong() {
        let home = tempfile::tempdir().unwrap();
        for (text, cookie) in [
            (&b"abc"[..], "abc"),
            (b"abc\n", "abc"),
            (b"abc\r\n\n ", "abc"),
            (b"abc  \n", "abc  "),
            (b" abc\n", " abc"),
        ] {
            let path = file(home.path(), text, 0o600);
            assert_eq!(read(&path).unwrap().reveal(), cookie);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn wrong_files_say_what_to_do() {
        let message = |text: &[u8], mode| {
            let home = tempfile::tempdir().unwrap();
            read(&file(home.path(), text, mode)).unwrap_err().to_string()
        };
        assert!(message(b"abc", 0o640).contains("mode is 640; run: chmod 400"));
        assert!(message(b"", 0o400).contains("no cookie"));
        assert!(message(b"\nabc", 0o400).contains("byte 1"));
        assert!(message(b"ab\x00c", 0o400).contains("byte 2"));
        assert!(message("gr\u{fc}n".as_bytes(), 0o400).contains("printable ASCII"));
        assert!(message(&[b'a'; 256], 0o400).contains("255"));

        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(FILE_NAME)).unwrap();
        let error = find_or_create(Some(home.path()), None).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = read(&home.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        let below_a_file = home.path().join("plain");
        fs::write(&below_a_file, "").unwrap();
        let error = create(&below_a_file.join(FILE_NAME)).unwrap_err();
        assert!(error.to_string().contains("cannot be created"), "{error}");
    }
}
