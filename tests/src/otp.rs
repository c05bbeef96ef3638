//! Real Erlang nodes of the releases that Krarup supports.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::evaluator::{Evaluator, base64};
use crate::lab::command_in;
use crate::{Namespace, Process, missing};

/// The Erlang code that every node runs: evaluates lines, and holds what the suites need compiled.
const PEER_MODULE: &str = include_str!("../otp/krarup_peer.erl");
/// Compiles the modules that come as base64 in the first line of input, and hands the rest to the
/// first of them.
const BOOT: &str = r#"
    Split = fun
        Again([], [], Forms) -> lists:reverse(Forms);
        Again([{dot, _} = Dot | Rest], Form, Forms) ->
            {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
            Again(Rest, [], [Parsed | Forms]);
        Again([Token | Rest], Form, Forms) -> Again(Rest, [Token | Form], Forms)
    end,
    Load = fun(Encoded) ->
        Source = unicode:characters_to_list(base64:decode(Encoded)),
        {ok, Tokens, _} = erl_scan:string(Source),
        {ok, Module, Beam} = compile:forms(Split(Tokens, [], [])),
        {module, Module} = code:load_binary(Module, atom_to_list(Module), Beam),
        Module
    end,
    [Peer | _] = [Load(Encoded) || Encoded <- string:lexemes(io:get_line(""), " \n")],
    spawn(Peer, loop, []).
"#;
/// How long a BEAM may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A release of Erlang/OTP that Krarup supports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Release {
    /// OTP 25: the oldest, without the flags that later ones demand.
    R25,
    /// OTP 27: 64-bit pids, five-word references.
    R27,
    /// OTP 29: priority messages and native records.
    R29,
}

impl Release {
    /// Every supported release that this machine can have: all three, unless `tests/run` has said
    /// what it skips.
    pub fn all() -> Vec<Self> {
        let mut releases = vec![Self::R25, Self::R27, Self::R29];
        releases.retain(|release| !release.is_missing());
        releases
    }

    /// Whether `tests/run` could not install this release.
    pub fn is_missing(self) -> bool {
        missing(&format!("otp-{self}"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::R25 => "25",
            Self::R27 => "27",
            Self::R29 => "29",
        })
    }
}

/// Where `tests/otp/install` has put a command (`erl`, `epmd` or `erl_call`) of a release.
///
/// # Panics
///
/// When it has not been run for that release.
pub fn otp_command(command: &str, release: Release) -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("KRARUP_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("krarup")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/krarup")))
        .expect("HOME is set");
    let bin = folder("KRARUP_OTP_BIN").unwrap_or_else(|| cache.join("bin"));
    let path = bin.join(format!("{command}-{release}"));
    assert!(path.exists(), "{} is not there: run tests/otp/install {release}", path.display());
    path
}

/// A program of this machine where the nodes of a release can start it: some releases live in a
/// root of their own.
pub struct Guest {
    path: PathBuf,
    /// Where it was put for that.
    link: Option<PathBuf>,
}

impl Guest {
    /// Brings a program in.
    ///
    /// # Panics
    ///
    /// When it cannot be put there.
    pub fn new(release: Release, program: &Path) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let script = std::fs::read_to_string(otp_command("erl", release)).unwrap_or_default();
        let Some((_, root)) = script.split_once("chroot' '") else {
            return Guest { path: program.to_owned(), link: None };
        };
        let root = Path::new(root.split('\'').next().unwrap_or_default());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("usr/local/bin/krarup-{}-{number}", std::process::id());
        let link = root.join(&path);
        if std::fs::hard_link(program, &link).is_err() {
            std::fs::copy(program, &link).expect("a copy of the program");
        }
        Guest { path: Path::new("/").join(path), link: Some(link) }
    }

    /// Its path there.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = std::fs::remove_file(link);
        }
    }
}

/// Describes an Erlang node that is about to start.
pub struct OtpNodeBuilder {
    release: Release,
    name: String,
    host: String,
    short: bool,
    anonymous: bool,
    cookie: String,
    hidden: bool,
    home: String,
    epmd_port: u16,
    arguments: Vec<String>,
    modules: Vec<&'static str>,
    namespace: Option<Namespace>,
}

impl OtpNodeBuilder {
    pub(crate) fn new(release: Release, name: &str, epmd_port: u16) -> Self {
        Self {
            release,
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            short: false,
            anonymous: false,
            cookie: "c".to_owned(),
            hidden: false,
            // The node may live in a root of its own, where the lab's home is not.
            home: "/tmp".to_owned(),
            epmd_port,
            arguments: Vec::new(),
            modules: vec![PEER_MODULE],
            namespace: None,
        }
    }

    /// The cookie; `c` unless said.
    #[must_use]
    pub fn cookie(mut self, cookie: &str) -> Self {
        cookie.clone_into(&mut self.cookie);
        self
    }

    /// Starts with `-hidden`.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    /// Starts with `-sname name@localhost` instead of `-name name@127.0.0.1`.
    #[must_use]
    pub fn short_name(mut self) -> Self {
        self.short = true;
        "localhost".clone_into(&mut self.host);
        self
    }

    /// Starts without a name, or with what the arguments say of one that others give.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// The host part of the name, and the address it listens on.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The home folder, `/tmp` unless said. The node may see another file system than the test, so
    /// the folder need not be there.
    #[must_use]
    pub fn home(mut self, folder: &str) -> Self {
        folder.clone_into(&mut self.home);
        self
    }

    /// Runs in a network namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// More arguments for `erl`.
    #[must_use]
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// Loads one more module, from its source.
    #[must_use]
    pub fn module(mut self, source: &'static str) -> Self {
        self.modules.push(source);
        self
    }

    /// Starts the node and waits until it evaluates expressions.
    ///
    /// # Panics
    ///
    /// When the release is not installed or the node does not come up.
    pub fn start(self) -> OtpNode {
        let full_name = if self.anonymous {
            "nonode@nohost".to_owned()
        } else {
            format!("{}@{}", self.name, self.host)
        };
        let mut command = command_in(self.namespace.as_ref(), &otp_command("erl", self.release));
        command
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_CRASH_DUMP", "/dev/null")
            .env("HOME", &self.home)
            .arg("-noshell")
            .args(["-setcookie", &self.cookie, "-start_epmd", "false"])
            // Two cores are shared with the other tests: no scheduler may spin.
            .args(["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]);
        if self.host == "localhost" || self.host.starts_with("127.") {
            command.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]);
        }
        if !self.anonymous {
            command.args([if self.short { "-sname" } else { "-name" }, &full_name]);
        }
        if self.hidden {
            command.arg("-hidden");
        }
        command.args(&self.arguments).args(["-eval", BOOT]);
        let title = format!("OTP {} node {full_name}", self.release);
        let mut process = Process::start(&title, &mut command);
        let modules: Vec<String> = self.modules.iter().map(|source| base64(source)).collect();
        process.write_line(&modules.join(" "));
        let mut evaluator = Evaluator::new(process, full_name, |text| text.replace('\n', " "));
        let reported = evaluator.eval_within("node().", START);
        let name = reported.trim_matches('\'');
        assert_eq!(name, evaluator.name(), "the node came up under another name");
        OtpNode { evaluator, release: self.release }
    }
}

/// A running Erlang node, which ends with this value.
pub struct OtpNode {
    evaluator: Evaluator,
    release: Release,
}

impl OtpNode {
    /// The full node name.
    pub fn name(&self) -> &str {
        self.evaluator.name()
    }

    /// The release it runs.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The process, for its memory, its descriptors and signals.
    pub fn process(&mut self) -> &mut Process {
        self.evaluator.process()
    }

    /// Evaluates Erlang expressions, as in the shell with a full stop at the end, and returns the
    /// last value as `~0tp` prints it. Variables and the mailbox last from one call to the next.
    ///
    /// # Panics
    ///
    /// When they fail, or take longer than half a minute.
    pub fn eval(&mut self, expressions: &str) -> String {
        self.evaluator.eval(expressions)
    }

    /// As [`OtpNode::eval`], with the time it may take.
    ///
    /// # Panics
    ///
    /// When the expressions fail or take longer.
    pub fn eval_within(&mut self, expressions: &str, within: Duration) -> String {
        self.evaluator.eval_within(expressions, within)
    }

    /// Sends expressions off without waiting; [`OtpNode::finish`] waits for their value. One
    /// evaluation runs at a time.
    pub fn begin(&mut self, expressions: &str) -> usize {
        self.evaluator.begin(expressions)
    }

    /// Waits for the value of what [`OtpNode::begin`] sent off.
    ///
    /// # Panics
    ///
    /// As [`OtpNode::eval_within`].
    pub fn finish(&mut self, start: usize, expressions: &str, within: Duration) -> String {
        self.evaluator.finish(start, expressions, within)
    }

    /// Evaluates again and again until the value is as wanted.
    ///
    /// # Panics
    ///
    /// When it is not in time; the last value is in the message.
    pub fn eval_until(&mut self, expressions: &str, wanted: &str, within: Duration) {
        self.evaluator.eval_until(expressions, wanted, within);
    }
}
