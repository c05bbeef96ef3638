//! `net_adm` of a Krarup node beside that of an OTP node in its place: the same questions by `erpc`,
//! the same answers.

use std::path::PathBuf;
use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, OtpNode, Release, for_each_release};

const ASKER: &str = include_str!("../otp/krarup_asker.erl");
const HOST_FILE: &str = ".hosts.erlang";
/// A world of several nodes may take a while on a busy machine.
const WORLD: Duration = Duration::from_secs(60);

for_each_release!(
    hosts_are_read_from_the_same_files,
    hosts_and_their_nodes,
    the_world_is_pinged,
    short_names_cut_their_hosts,
);

/// A node that asks, one of OTP and one of Krarup that are asked, each with a current folder and a
/// home of its own.
struct Pair {
    asker: OtpNode,
    model: OtpNode,
    krarup: KrarupNode,
    /// Where the Krarup node looks for files.
    folder: PathBuf,
    /// Where the OTP node does, in its file system.
    otp_folder: String,
    lab: Lab,
}

impl Pair {
    fn new(release: Release, short: bool) -> Self {
        let lab = Lab::new();
        let folder = lab.home().join("here");
        std::fs::create_dir(&folder).expect("a folder");
        let otp_home = format!("/tmp/krarup-net-adm-{}-{release}", lab.epmd_port());
        let [asker, model] = ["b", "o"].map(|name| lab.otp(release, name).module(ASKER));
        let (model, krarup) = (model.home(&otp_home), lab.krarup("k").folder(&folder));
        let (asker, model, krarup) = if short {
            (asker.short_name(), model.short_name(), krarup.short_name())
        } else {
            (asker, model, krarup)
        };
        let (asker, mut model, krarup) = (asker.start(), model.start(), krarup.start());
        let otp_folder = format!("{otp_home}/here");
        model.eval(&format!(
            "ok = filelib:ensure_dir(\"{otp_folder}/x\"), ok = file:set_cwd(\"{otp_folder}\")."
        ));
        Self { asker, model, krarup, folder, otp_folder, lab }
    }

    /// Gives both nodes the same file in their current folder, or none.
    fn put_here(&mut self, content: Option<&str>) {
        put(&self.folder.join(HOST_FILE), content);
        self.put_otp("here/", content);
    }

    /// The same in their homes.
    fn put_home(&mut self, content: Option<&str>) {
        put(&self.lab.home().join(HOST_FILE), content);
        self.put_otp("", content);
    }

    fn put_otp(&mut self, folder: &str, content: Option<&str>) {
        let home = self.otp_folder.strip_suffix("here").expect("it ends so");
        let path = format!("{home}{folder}{HOST_FILE}");
        match content {
            Some(text) => {
                let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
                let bytes = bytes.join(",");
                self.model.eval(&format!("ok = file:write_file(\"{path}\", <<{bytes}>>)."));
            }
            None => {
                self.model.eval(&format!("file:delete(\"{path}\")."));
            }
        }
    }

    /// What both give for a call of `net_adm`, which must be the same: `call` is `function, [Args]`.
    fn same(&mut self, call: &str) -> String {
        let answers = [self.model.name(), self.krarup.name()].map(str::to_owned).map(|node| {
            let question = format!(
                "krarup_asker:printed(fun() -> krarup_asker:caught(fun() ->
                    erpc:call('{node}', net_adm, {call}) end) end)."
            );
            without_frames(&self.asker.eval_within(&question, WORLD))
        });
        let [of_otp, of_krarup] = answers;
        assert_eq!(of_otp, of_krarup, "{call}: OTP left, Krarup right");
        of_otp
    }

    fn gives(&mut self, questions: &[(&str, &str)]) {
        for (call, answer) in questions {
            assert_eq!(self.same(call), format!("{{{answer}}}"), "{call}");
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let home = self.otp_folder.strip_suffix("/here").expect("it ends so");
            self.model.eval(&format!("file:set_cwd(\"/\"), file:del_dir_r(\"{home}\")."));
        }
    }
}

fn put(path: &std::path::Path, content: Option<&str>) {
    match content {
        Some(text) => std::fs::write(path, text).expect("the file is written"),
        // There may be none.
        None => drop(std::fs::remove_file(path)),
    }
}

/// OTP's functions fail in helpers that others do not have: only class and reason count.
fn without_frames(answer: &str) -> String {
    match (answer.find("{exception,"), answer.find(",[{")) {
        (Some(from), Some(frames)) if frames > from => {
            let end = answer[frames..].find("}]").map_or(answer.len(), |end| frames + end + 2);
            format!("{}{}", &answer[..frames], &answer[end..])
        }
        _ => answer.to_owned(),
    }
}

fn hosts_are_read_from_the_same_files(release: Release) {
    let mut pair = Pair::new(release, false);
    pair.gives(&[("host_file, []", "{error,enoent},[]")]);
    for call in ["world, []", "world, [silent]", "world, [verbose]", "world, [nonsense]"] {
        pair.gives(&[(call, "{exit,{exception,{error,enoent}}},[]")]);
    }
    pair.put_home(Some("'home.example.org'.\n"));
    pair.gives(&[("host_file, []", "['home.example.org'],[]")]);
    // The first file that is found decides, also when it is broken.
    let files = [
        "'a.example.org'.\n'b.example.org'.\n",
        "",
        "% nothing\n",
        "a.\n% one\nb. % two\nc.\n",
        "'a'. 'b'.\n",
        "\"text\".\n{tuple, 1}.\n[list].\n1.\n-1.\n<<1>>.\n#{a => 1}.\n",
        "'a'\n'b'.\n",
        "'db1.example.org'\n'db2.example.org'.\n",
        "a.\nb\n",
        "a.\nb",
        "a.\n'b'. c d.\n",
        "db.example.org.\n",
        "db-a.\n",
        "Db.\n",
        "a, b.\n",
        "a,\nb.\n",
        "[a, b.\n",
        "{a,}.\n",
        "fe80::1.\n",
        "http://a.\n",
        "a.\n\n\n)\n.\n",
        "a \"b\".\n",
        "a 12.\n",
        "case.\n",
        "f(x).\n",
        "a.\r\nb.\r\n",
        "'\u{fc}ml\u{e4}ut'.\n",
    ];
    for file in files {
        pair.put_here(Some(file));
        let hosts = pair.same("host_file, []");
        if hosts.starts_with("{{error,") {
            let exits = pair.same("world, []");
            let reason = hosts.strip_suffix(",[]}").and_then(|text| text.strip_prefix('{'));
            let reason = reason.expect("a pair");
            assert_eq!(exits, format!("{{{{exit,{{exception,{reason}}}}},[]}}"), "{file}");
        }
    }
    assert_eq!(pair.same("host_file, []"), "{[\u{fc}ml\u{e4}ut],[]}");
    pair.put_here(None);
    pair.gives(&[("host_file, []", "['home.example.org'],[]")]);
    std::fs::create_dir(pair.folder.join(HOST_FILE)).expect("a folder");
    let in_otp = format!("ok = file:make_dir(\"{}/{HOST_FILE}\").", pair.otp_folder);
    pair.model.eval(&in_otp);
    pair.gives(&[("host_file, []", "{error,eisdir},[]")]);
}

fn hosts_and_their_nodes(release: Release) {
    let mut pair = Pair::new(release, false);
    let all = pair.same("names, [localhost]");
    assert!(["\"b\"", "\"o\"", "\"k\""].iter().all(|name| all.contains(name)), "{all}");
    for host in ["\"localhost\"", "'127.0.0.1'", "{127,0,0,1}", "{127,0,0,2}"] {
        assert_eq!(pair.same(&format!("names, [{host}]")), all, "{host}");
    }
    pair.same("names, []");
    pair.gives(&[
        ("names, [\"nobody.invalid\"]", "{error,nxdomain},[]"),
        ("names, ['nobody.invalid']", "{error,nxdomain},[]"),
        ("names, [\"\"]", "{error,nxdomain},[]"),
        ("names, [1]", "{error,{exception,function_clause}},[]"),
        ("names, [<<\"localhost\">>]", "{error,{exception,function_clause}},[]"),
        ("names, [{1,2}]", "{error,{exception,function_clause}},[]"),
        ("names, [{300,0,0,1}]", "{error,{exception,function_clause}},[]"),
        ("dns_hostname, [localhost]", "{ok,\"localhost\"},[]"),
        ("dns_hostname, [\"127.0.0.1\"]", "{ok,\"127.0.0.1\"},[]"),
        ("dns_hostname, [\"nobody.invalid\"]", "{error,\"nobody.invalid\"},[]"),
        ("dns_hostname, ['nobody.invalid']", "{error,'nobody.invalid'},[]"),
        ("dns_hostname, [{127,0,0,1}]", "{error,{127,0,0,1}},[]"),
        ("dns_hostname, [1]", "{error,1},[]"),
        ("dns_hostname, [\"\"]", "{error,[]},[]"),
        ("dns_hostname, [\"::1\"]", "{error,\"::1\"},[]"),
        ("ping, ['b@127.0.0.1']", "pong,[]"),
        ("ping, ['o@127.0.0.1']", "pong,[]"),
        ("ping, ['k@127.0.0.1']", "pong,[]"),
        ("ping, ['absent@127.0.0.1']", "pang,[]"),
        ("ping, [a]", "pang,[]"),
        ("ping, [a@b@c]", "pang,[]"),
        ("ping, ['@']", "pang,[]"),
        ("ping, [1]", "{error,{exception,function_clause}},[]"),
        ("ping_list, [a]", "{error,{exception,function_clause}},[]"),
        ("ping_list, [[1]]", "{error,{exception,function_clause}},[]"),
        ("ping_list, [['absent@127.0.0.1'|b]]", "{error,{exception,function_clause}},[]"),
    ]);
    let this_host = krarup::net_adm::localhost().expect("a name");
    for host in [this_host.as_str(), "localhost"] {
        pair.same(&format!("dns_hostname, [\"{host}\"]"));
    }
    pair.same("localhost, []");
    // Each is asked for the other and for itself: the first that answers ends it.
    pair.gives(&[("ping_list, [['b@127.0.0.1', 'absent@127.0.0.1']]", "['b@127.0.0.1'],[]")]);
}

fn the_world_is_pinged(release: Release) {
    let mut pair = Pair::new(release, false);
    let _hidden = pair.lab.krarup("h").hidden(true).start();
    let _stranger = pair.lab.krarup("s").cookie("another").start();
    let of = |names: &str| -> String {
        let names: Vec<String> = names.chars().map(|name| format!("'{name}@127.0.0.1'")).collect();
        names.join(",")
    };
    let world = pair.same("world_list, [['127.0.0.1']]");
    for name in "bokh".chars() {
        assert!(world.contains(&of(&name.to_string())), "{name} in {world}");
    }
    assert!(!world.contains("s@"), "{world}");
    assert_eq!(pair.same("world_list, [['127.0.0.1'], silent]"), world);
    assert_eq!(pair.same("world_list, [['127.0.0.1'], nonsense]"), world);
    let verbose = pair.same("world_list, [['127.0.0.1'], verbose]");
    assert!(verbose.contains("Pinging 'k@127.0.0.1' -> pong\\n"), "{verbose}");
    assert!(verbose.contains("Pinging 's@127.0.0.1' -> pang\\n"), "{verbose}");
    pair.gives(&[
        ("world_list, [[]]", "[],[]"),
        ("world_list, [[], nonsense]", "[],[]"),
        ("world_list, [['nobody.invalid']]", "[],[]"),
        ("world_list, [[\"nobody.invalid\"]]", "[],[]"),
        ("world_list, [['nobody.invalid'], verbose]", "[],[]"),
        // Long names want a host with a dot.
        ("world_list, [[localhost]]", "[],[]"),
        ("world_list, [[\"localhost\"]]", "{error,{exception,badarg}},[]"),
        ("world_list, [[{127,0,0,1}]]", "{error,{exception,badarg}},[]"),
        ("world_list, [[1]]", "{error,{exception,function_clause}},[]"),
        ("world_list, [a]", "{error,{exception,function_clause}},[]"),
        ("world_list, [['nobody.invalid'|a]]", "{error,{exception,function_clause}},[]"),
    ]);
    pair.put_here(Some("'nobody.invalid'.\n'127.0.0.1'.\n"));
    assert_eq!(pair.same("world, []"), world);
    assert_eq!(pair.same("world, [silent]"), world);
    assert_eq!(pair.same("world, [verbose]"), verbose);
    pair.put_here(Some("'127.0.0.1'.\n\"127.0.0.1\".\n"));
    pair.gives(&[("world, []", "{error,{exception,badarg}},[]")]);
}

fn short_names_cut_their_hosts(release: Release) {
    let mut pair = Pair::new(release, true);
    let world = pair.same("world_list, [[localhost]]");
    for name in ["b@localhost", "o@localhost", "k@localhost"] {
        assert!(world.contains(name), "{name} in {world}");
    }
    // What is asked is x@127, which is no host's name here.
    let cut = pair.same("world_list, [['127.0.0.1'], verbose]");
    assert!(cut.starts_with("{[],"), "{cut}");
    assert!(cut.contains("Pinging k@127 -> pang\\n"), "{cut}");
    pair.gives(&[("ping, [k@localhost]", "pong,[]"), ("ping, ['k@127.0.0.1']", "pang,[]")]);
}
