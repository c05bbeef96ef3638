//! What the layers of settings say, hide and print.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    layer: Layer,
}

fn flags(text: &str) -> Layer {
    Flags::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap().layer
}

fn environment(variables: &[(&str, &str)]) -> Result<Layer, String> {
    Layer::from_environment(variables.iter().map(|&(name, value)| (name.into(), value.into())))
}

fn printed(flags: Layer) -> String {
    let layers = [(Origin::Flag, flags), (Origin::Default, Layer::defaults())];
    Effective::new(layers).to_toml().unwrap()
}

fn file(text: &str) -> Result<Layer, String> {
    Layer::from_toml(text, Path::new("krarup.toml"))
}

#[test]
fn flags_come_before_environment_before_file_before_defaults() {
    let merged = flags("--net-ticktime 8 --name a@127.0.0.1")
        .over(environment(&[("ERL_EPMD_PORT", "5000")]).unwrap())
        .over(file("epmd-port = 6000\nnet-ticktime = 30\nsname = \"b\"\nhidden = true").unwrap())
        .over(Layer::defaults());
    assert_eq!(merged.net_ticktime, Some(8), "the flag wins");
    assert_eq!(merged.epmd_port, Some(5000), "the environment beats the file");
    assert_eq!(merged.hidden, Some(true), "the file beats the default");
    assert_eq!(merged.connect_all, Some(true), "the default remains");
    assert_eq!((merged.name.as_deref(), &merged.sname), (Some("a@127.0.0.1"), &None));
    merged.check().unwrap();
}

#[test]
fn exclusive_settings_hide_each_other() {
    let merged = flags("--dist-port 4400 --cookie-file /c")
        .over(file("listen-min = 1\nlisten-max = 2\ncookie = \"x\"").unwrap());
    assert_eq!((merged.listen_min, merged.listen_max), (None, None));
    assert_eq!(merged.cookie, None);
    merged.check().unwrap();
}

#[test]
fn mistakes_in_the_file_are_named() {
    let error = file("net-tictime = 8").unwrap_err();
    assert_eq!(error, "krarup.toml: unknown key \"net-tictime\"; did you mean \"net-ticktime\"?");
    assert!(file("net_ticktime = 8").unwrap_err().contains("did you mean \"net-ticktime\"?"));
    assert!(file("shards = \"two\"").unwrap_err().contains("line 1"));
    assert!(file("shards = 0").unwrap_err().contains("expected 1 to 255"));
    assert!(file("lanes = 9").unwrap_err().contains("expected 1 to 8"));
    assert!(file("name = ").unwrap_err().contains("krarup.toml"));
    assert!(file("listen-max = 3").unwrap_err().contains("needs listen-min"));
    assert!(file("listen-min = 9\nlisten-max = 3").unwrap_err().contains("above"));
    assert!(file("setopt = [\"nodley=true\"]").unwrap_err().contains("nodelay"));
    assert!(file("profile = \"fast\"").is_err());
    assert!(file("name = \"a@h\"\nsname = \"a\"").unwrap_err().contains("exclude"));
    assert!(file("cookie-for = [\"x\"]").unwrap_err().contains("NODE=COOKIE"));
    assert!(file("discover = [\"x\"]").unwrap_err().contains("dns:[NAME@]HOST"));
    assert!(file("sname = \"a\"\ndiscover = [\"dns:x\"]").unwrap_err().contains("--name"));
    for wrong in ["b=1", "b@h", "b@h=0", "b@h=70000", "b@h=x"] {
        let error = file(&format!("peer-port = [\"{wrong}\"]")).unwrap_err();
        assert!(error.contains("NAME@HOST=PORT"), "{error}");
    }
    assert!(file("peer-port = [\"b@h=1\", \"b@h=2\"]").unwrap_err().contains("twice"));
}

#[test]
fn lists_in_the_environment_have_spaces_or_commas() {
    let layer =
        environment(&[("KRARUP_CONNECT", "a@h, b@h"), ("KRARUP_DISCOVER", "hosts dns:web")]);
    let layer = layer.unwrap();
    assert_eq!(layer.connect, ["a@h", "b@h"]);
    assert_eq!(layer.sources().unwrap().len(), 3);
    assert_eq!(flags("--connect c@h").over(layer).connect, ["c@h"]);
}

#[test]
fn mistakes_in_the_environment_are_named() {
    for (variable, value, expected) in [
        ("ERL_EPMD_PORT", "high", "ERL_EPMD_PORT: "),
        ("ERL_EPMD_PORT", "high", "got \"high\""),
        ("ERL_EPMD_PORT", "0", "0 is not in 1..=65535"),
        ("ERL_DIST_PORT", "0", "environment: dist-port: expected 1 to 65535, got 0"),
        ("KRARUP_NET_TICKTIME", "-1", "KRARUP_NET_TICKTIME: "),
        ("KRARUP_HIDDEN", "yes", "KRARUP_HIDDEN: expected one of true, false, got \"yes\""),
        ("KRARUP_EPMD", "no", "expected one of auto, embedded, external, none, got \"no\""),
        ("KRARUP_SETOPT", "nodley=true", "environment: setopt: "),
        ("KRARUP_NET_TICTIME", "5", "did you mean KRARUP_NET_TICKTIME?"),
        ("KRARUP_NET_TICKTIME_SECONDS", "30", "did you mean KRARUP_NET_TICKTIME?"),
        ("KRARUP_SETUPTIME_SECONDS", "30", "is the variable of no setting"),
        ("KRARUP_EPMD_PORT", "5", "did you mean ERL_EPMD_PORT?"),
        ("KRARUP_CONFG", "5", "did you mean KRARUP_CONFIG?"),
    ] {
        let error = environment(&[(variable, value)]).unwrap_err();
        assert!(error.contains(expected), "{variable}={value}: {error}");
    }
    let error = environment(&[("KRARUP_XYZZY_PLUGH", "5")]).unwrap_err();
    assert_eq!(error, "environment: KRARUP_XYZZY_PLUGH is the variable of no setting");
}

#[test]
fn variables_that_are_no_settings_say_nothing() {
    let others = [
        ("KRARUP_LOG", "debug"),
        ("KRARUP_SIM_SEED", "7"),
        ("KRARUP_ANSWERS_SECONDS", "7"),
        ("KRARUP_SOAK_SECONDS", "7"),
        ("KRARUP_CONFIG", "/etc/krarup.toml"),
        ("KRARUP_PORT", "tcp://10.0.0.1:4369"),
        ("KRARUP_SERVICE_HOST", "10.0.0.1"),
        ("KRARUP_NET_TICKTIME", ""),
        ("PATH", "/bin"),
    ];
    assert_eq!(environment(&others).unwrap(), Layer::default());
}

#[test]
fn every_setting_has_a_variable_that_means_what_its_flag_does() {
    for (key, value) in [
        ("name", "a@h"),
        ("sname", "a"),
        ("cookie", "c"),
        ("cookie-file", "/c"),
        ("cookie-for", "b@h=c"),
        ("hidden", "true"),
        ("connect-all", "false"),
        ("dist-auto-connect", "once"),
        ("connect", "b@h"),
        ("discover", "hosts"),
        ("discover-interval", "3"),
        ("discover-server", "127.0.0.1:53"),
        ("dist-listen", "false"),
        ("listen-min", "5"),
        ("listen-address", "::1"),
        ("address-family", "inet6"),
        ("peer-port", "b@h=5"),
        ("dist-port", "5"),
        ("net-ticktime", "5"),
        ("profile", "wan"),
        ("setopt", "nodelay=true"),
        ("no-services", "true"),
        ("metrics", "127.0.0.1:9"),
    ] {
        let known = KEYS.iter().find(|known| known.name() == key).unwrap();
        let said = environment(&[(&known.variable(), value)]).unwrap();
        assert_eq!(said, flags(&format!("--{key}={value}")), "{key}");
        assert!(said.says(known.field), "{key}");
    }
    let variables: std::collections::BTreeSet<String> =
        KEYS.iter().map(|key| key.variable()).collect();
    assert_eq!(variables.len(), KEYS.len(), "each has its own");
}

#[test]
fn what_is_in_effect_says_where_it_came_from() {
    let text = Effective::new([
        (Origin::Flag, flags("--net-ticktime 8 --dist-port 4400 --cookie secret")),
        (Origin::Environment, environment(&[("ERL_EPMD_PORT", "5000")]).unwrap()),
        (
            Origin::File("/etc/k\n.toml".into()),
            file("net-ticktime=9\nlisten-min=1\nlanes=3\ncookie-for=[\"b@h=secret\"]").unwrap(),
        ),
        (Origin::Default, Layer::defaults()),
    ])
    .to_toml()
    .unwrap();
    let line = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("net-ticktime"), "net-ticktime = 8 # flag");
    assert_eq!(line("epmd-port"), "epmd-port = 5000 # ERL_EPMD_PORT");
    assert_eq!(line("lanes"), "lanes = 3 # /etc/k\\n.toml");
    assert_eq!(line("fabric"), "fabric = true # default");
    assert_eq!(line("listen-min"), "", "hidden by the port: {text}");
    assert_eq!(line("# cookie is"), "# cookie is given, and not shown: flag");
    assert!(line("# cookie-for").ends_with("/etc/k\\n.toml"), "{text}");
    file(&text).unwrap();
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    assert!(flags("--name a@h --sname a").check().unwrap_err().contains("exclude"));
    assert!(flags("--listen-max 5").check().unwrap_err().contains("needs listen-min"));
    assert!(flags("--dist-port 5 --listen-min 5").check().unwrap_err().contains("exclude"));
}

#[test]
fn what_is_printed_is_accepted_back() {
    let merged = flags(
        "--name a@127.0.0.1 --hidden --connect b@h c@h --setopt nodelay=true --setopt linger=5 \
         --profile wan --listen-min 9000 --listen-max 9005 --listen-address ::1 --epmd none \
         --dist-auto-connect once --listen-options sndbuf=5 --connect-options profile=wan \
         --dist-nodelay false --discover dns:web.example.org --discover hosts \
         --discover-interval 5 --discover-server 127.0.0.1:53 --address-family inet6 \
         --peer-port b@h=9100",
    )
    .over(Layer::defaults());
    let text = printed(merged.clone());
    assert_eq!(file(&text).unwrap(), merged, "{text}");
}

#[test]
fn cookies_are_not_printed() {
    let merged = flags("--cookie secret --cookie-for b@h=secret");
    let text = printed(merged);
    assert!(!text.contains("secret"), "{text}");
    file(&text).unwrap();
}

#[test]
fn every_key_of_the_file_is_a_flag() {
    let mut flags: Vec<String> = <Flags as clap::CommandFactory>::command()
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .filter(|flag| flag != "help")
        .collect();
    let mut keys: Vec<String> = KEYS.iter().map(|key| key.name()).collect();
    flags.sort();
    keys.sort();
    assert_eq!(flags, keys);
}
