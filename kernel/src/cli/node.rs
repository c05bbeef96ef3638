//! `krarup node`: runs a node until a signal ends it.

use super::child::{self, Parent};
use super::config::{
    AutoConnect, Checksum, Effective, Epmd, FILE_VARIABLE, Layer, OptionList, Origin,
};
use super::{Failure, detach, metrics, output};
use krarup::discovery::Discovery;
use krarup::epmd::EpmdMode;
use krarup::term::{Atom, Term};
use krarup::{Builder, Node, Process, Raise, Signal, StartError};
use krarup_transport::handshake::Cookie;
use krarup_tuning::option::SocketOption;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::future::ready;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Layer,

    #[command(flatten)]
    child: child::Flags,

    /// Settings in TOML, with the names of these flags as keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the settings in effect as TOML, with where each came from, and end
    #[arg(long)]
    print_config: bool,

    /// Run in the background
    #[arg(long)]
    detached: bool,

    /// End when stdin does: for a parent that must not leave the node behind
    #[arg(long, conflicts_with = "detached")]
    end_with_stdin: bool,
}

/// Runs the verb. `notes` are what erl's flags said and nothing here heeds.
pub(super) fn run(arguments: Arguments, notes: &[String]) -> Result<(), Failure> {
    let Arguments { settings, child, config, print_config, detached, end_with_stdin } = arguments;
    let parent = Parent::of(&child)?;
    let needs_name = !parent.as_ref().is_some_and(Parent::needs_no_name);
    let effective = settle(settings, config, environment())?;
    if print_config {
        output::line(effective.to_toml().map_err(Failure::Failed)?.trim_end());
        return Ok(());
    }
    let settings = effective.settings;
    if needs_name && settings.name.is_none() && settings.sname.is_none() {
        return Err(Failure::Usage("a node needs a name: give --name or --sname".into()));
    }
    if detached && !detach::is_detached() {
        let ready = detach::start()?;
        // Whoever started it as a child is told in another way, and reads nothing here.
        if parent.is_none() {
            output::line(&ready);
        }
        return Ok(());
    }
    if detached {
        detach::leave_session();
    }
    output::start_logging("info");
    for note in notes {
        tracing::debug!("{note}");
    }
    let (tell, ended) = mpsc::channel();
    let is_ready = listen_for_signals(end_with_stdin, &tell)?;
    let node = builder(&settings)?.start().map_err(not_started)?;
    if settings.allow_halt == Some(true) || parent.is_some() {
        let_others_halt(&node, &tell);
    }
    is_ready.store(true, Ordering::SeqCst);
    // One that is named by others loses its name with them, and gets another.
    let name = settings.sname.as_deref().or(settings.name.as_deref());
    if name.and_then(|name| name.split('@').next()) != Some("undefined") {
        end_with_name(&node, &tell)?;
    }
    if let Some(address) = settings.metrics {
        let served = metrics::serve(address, node.clone());
        let address = served.map_err(|error| {
            Failure::Failed(format!(
                "metrics at {address}: {error}; give --metrics another address, or stop who \
                 listens there"
            ))
        })?;
        tracing::info!(%address, "serving metrics");
    }
    let ready = ready_line(&node);
    if detached {
        detach::announce(&ready);
    } else if !parent.as_ref().is_some_and(Parent::has_stdout) {
        output::line(&ready);
    }
    if let Some(parent) = parent {
        parent.attend(&node, &tell)?;
    }
    keep_connected(&node, &settings)?;
    // The sender lives as long as the process.
    let End { cause, status } = ended.recv().unwrap_or(End { cause: "nothing", status: 0 });
    tracing::info!(cause, "stopping");
    node.stop().wait();
    match status {
        0 => Ok(()),
        status => std::process::exit(status),
    }
}

/// Connects to all nodes that the settings name, from now on.
fn keep_connected(node: &Node, settings: &Layer) -> Result<(), Failure> {
    let sources = settings.sources().map_err(Failure::Usage)?;
    if sources.is_empty() {
        return Ok(());
    }
    let mut discovery = Discovery::new(sources);
    if let Some(seconds) = settings.discover_interval {
        discovery.interval = Duration::from_secs(seconds.into());
    }
    discovery.name_servers.clone_from(&settings.discover_server);
    node.discover(discovery).wait().map(drop).map_err(Failure::of)
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::IoUring(_) => {
            Failure::Failed(format!("{error}\nkrarup doctor says what this host lacks"))
        }
        error => Failure::of(error),
    }
}

/// Why the node is to end, and what the process exits with.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) cause: &'static str,
    pub(super) status: i32,
}

/// Ends the command when the node loses its name by itself: whoever started it is to know, and to
/// start it again.
fn end_with_name(node: &Node, tell: &mpsc::Sender<End>) -> Result<(), Failure> {
    let (own, tell) = (node.name(), tell.clone());
    let watch = move |mut me: Process| async move {
        me.monitor_nodes(true);
        loop {
            if let Signal::NodeDown(down) = me.recv().await?
                && own.as_ref() == Some(&down.node)
            {
                let _ = tell.send(End { cause: "the distribution has stopped", status: 1 });
                return Ok(());
            }
        }
    };
    node.spawn_on(0, None, watch).wait().map(drop).map_err(Failure::of)
}

/// Offers what `slave`, `peer` and administrators stop a node with.
fn let_others_halt(node: &Node, tell: &mpsc::Sender<End>) {
    let end = {
        let tell = tell.clone();
        move |cause, status: &Term| {
            let status = match status {
                Term::Atom(abort) if abort.as_str() == "abort" => 134,
                // A slogan: OTP's exit code of a crash.
                status => status.as_integer().map_or(1, |code| (code & 0xff) as i32),
            };
            let _ = tell.send(End { cause, status });
            Ok::<_, Raise>(Atom::from_static("ok"))
        }
    };
    let (halt, halt_with, halt_flushed) = (end.clone(), end.clone(), end.clone());
    let (stop, stop_with) = (end.clone(), end);
    node.register_function("erlang", "halt", move |_, ()| ready(halt("halt", &Term::from(0))));
    node.register_function("erlang", "halt", move |_, (status,): (Term,)| {
        ready(halt_with("halt", &status))
    });
    node.register_function("erlang", "halt", move |_, (status, _): (Term, Term)| {
        ready(halt_flushed("halt", &status))
    });
    node.register_function("init", "stop", move |_, ()| ready(stop("init:stop", &Term::from(0))));
    node.register_function("init", "stop", move |_, (status,): (Term,)| {
        ready(stop_with("init:stop", &status))
    });
}

/// Catches SIGTERM and SIGINT from now on, and the end of stdin if asked to. The first cause is
/// handed on, once the flag says that there is a node to stop; before that it ends the process. So
/// does a second signal: whoever asks twice does not want to wait for the peers.
fn listen_for_signals(
    end_with_stdin: bool,
    tell: &mpsc::Sender<End>,
) -> Result<Arc<AtomicBool>, Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(Failure::of)?;
    let is_ready = Arc::new(AtomicBool::new(false));
    let (seen, tell) = (Arc::clone(&is_ready), tell.clone());
    let end = move |tell: &mpsc::Sender<End>, cause| {
        if !seen.load(Ordering::SeqCst) || tell.send(End { cause, status: 0 }).is_err() {
            std::process::exit(0);
        }
    };
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    if end_with_stdin {
        let (end, tell) = (end.clone(), tell.clone());
        let wait = move || {
            // An error ends it as well: nobody can be waiting at the other side.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            end(&tell, "end of stdin");
        };
        thread("stdin").spawn(wait).map_err(Failure::of)?;
    }
    let wait = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(1);
            }
            end(&tell, if signal == SIGTERM { "SIGTERM" } else { "SIGINT" });
        }
    };
    thread("signals").spawn(wait).map_err(Failure::of)?;
    Ok(is_ready)
}

/// The variables of this process that are text; no other can be a setting.
fn environment() -> Vec<(String, String)> {
    let is_text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(is_text).collect()
}

/// Puts the layers together and checks the whole.
fn settle(
    flags: Layer,
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
) -> Result<Effective, Failure> {
    flags.check().map_err(Failure::Usage)?;
    let named = environment.iter().find(|(name, path)| name == FILE_VARIABLE && !path.is_empty());
    let path = file.or_else(|| named.map(|(_, path)| path.into()));
    let environment = Layer::from_environment(environment).map_err(Failure::Usage)?;
    let mut layers = vec![(Origin::Flag, flags), (Origin::Environment, environment)];
    if let Some(path) = path {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        let file = Layer::from_toml(&text, &path).map_err(Failure::Usage)?;
        layers.push((Origin::File(path), file));
    }
    layers.push((Origin::Default, Layer::defaults()));
    let effective = Effective::new(layers);
    effective.settings.check().map_err(Failure::Usage)?;
    Ok(effective)
}

fn builder(settings: &Layer) -> Result<Builder, Failure> {
    let mut config = krarup::NodeConfig::default();
    (config.name, config.name_type) = match (&settings.sname, &settings.name) {
        (Some(name), _) => (Some(name.clone()), krarup::NameType::Short),
        (None, name) => (name.clone(), krarup::NameType::Long),
    };
    // A child that is spoken to in another way may have no name, and needs no cookie then.
    if config.name.is_some() {
        let (text, file) = (settings.cookie.as_deref(), settings.cookie_file.as_deref());
        config.cookie = Some(cookie(text, file)?);
    }
    for (peer, text) in settings.peer_cookies().map_err(Failure::Usage)? {
        config.peer_cookies.push((peer, Cookie::new(&text).map_err(Failure::of)?));
    }
    config.hidden = settings.hidden.unwrap_or(false);
    config.auto_connect = match settings.dist_auto_connect {
        None | Some(AutoConnect::True) => krarup::AutoConnect::Always,
        Some(AutoConnect::Never) => krarup::AutoConnect::Never,
        Some(AutoConnect::Once) => krarup::AutoConnect::Once,
    };
    config.shards = settings.shards.map_or(1, usize::from);
    config.fabric = krarup::FabricConfig {
        enabled: settings.fabric.unwrap_or(true),
        lanes_max: settings.lanes,
        checksum: match settings.checksum {
            None | Some(Checksum::Auto) => krarup::Checksum::Auto,
            Some(Checksum::On) => krarup::Checksum::On,
            Some(Checksum::Off) => krarup::Checksum::Off,
        },
        unix: settings.unix_lanes.unwrap_or(true),
    };
    config.listen = settings.dist_listen.unwrap_or(true);
    config.listen_address = settings.listen_address;
    config.address_family = settings.address_family.map_or_else(Default::default, Into::into);
    config.peer_ports = settings.peer_ports().map_err(Failure::Usage)?.into_iter().collect();
    if let Some(min) = settings.listen_min {
        config.listen_ports = min..=settings.listen_max.unwrap_or(min);
    }
    let seconds = |value: Option<u32>, default| {
        value.map_or(default, |seconds| Duration::from_secs(seconds.into()))
    };
    config.net_ticktime = seconds(settings.net_ticktime, config.net_ticktime);
    config.setup_time = seconds(settings.net_setuptime, config.setup_time);
    if let Some(intensity) = settings.net_tickintensity {
        config.net_tickintensity = intensity;
    }
    config.epmd = match settings.epmd {
        None | Some(Epmd::Auto) => EpmdMode::Auto,
        Some(Epmd::Embedded) => EpmdMode::Embedded,
        Some(Epmd::External) => EpmdMode::External,
        Some(Epmd::None) => EpmdMode::None,
    };
    if let Some(port) = settings.epmd_port {
        config.epmd_port = port;
    }
    // This very command, so that the epmd outlives the node.
    config.epmd_daemon = std::env::current_exe()
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok())
        .map(|path| vec![path, "epmd".into(), "-daemon".into()]);
    if let Some(port) = settings.dist_port {
        // OTP: erl_epmd, -erl_epmd_port: all nodes have this port, and nobody asks epmd.
        config.listen_ports = port..=port;
        config.peer_port = Some(port);
        config.epmd = EpmdMode::None;
    }
    let profile = settings.profile.unwrap_or_default();
    let options = |list| {
        let options = settings.socket_options(list).map_err(Failure::Usage)?;
        try_out(&options)?;
        Ok(options)
    };
    let explicit = options(OptionList::Both)?;
    config.listen_options = options(OptionList::Listen)?;
    config.connect_options = options(OptionList::Connect)?;
    config.dist_nodelay = settings.dist_nodelay;
    config.socket_options = profile.options(&explicit);
    // The default spin depends on shards and cores, which the node knows.
    if profile != krarup_tuning::profile::Profile::Balanced {
        config.spin = Some(profile.spin());
    }
    config.services = !settings.no_services.unwrap_or(false);
    // Standard output says one thing: that the node is ready.
    config.output = krarup::Output::Stderr;
    Ok(Builder::from_config(config))
}

/// Sets the options on a socket that is thrown away, so that what this host refuses is told at the
/// start and not at every connection.
fn try_out(options: &[SocketOption]) -> Result<(), Failure> {
    let socket = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| Failure::Failed(format!("socket: {error}")))?;
    for option in options {
        option
            .apply(socket.as_fd())
            .map_err(|error| Failure::Failed(format!("setopt {option}: {error}")))?;
    }
    Ok(())
}

/// The cookie as given, else of the file as given, else of the user's own file.
pub(super) fn cookie(
    text: Option<&str>,
    file: Option<&std::path::Path>,
) -> Result<Cookie, Failure> {
    match (text, file) {
        (Some(text), _) => Cookie::new(text).map_err(Failure::of),
        (None, Some(path)) => krarup::cookie::read(path).map_err(Failure::of),
        (None, None) => krarup::cookie::from_home().map_err(Failure::of),
    }
}

fn ready_line(node: &Node) -> String {
    // Another node gives the name of one without.
    let name = node.name().map_or_else(|| "undefined".to_owned(), |name| name.as_str().to_owned());
    let epmd = node.epmd().map_or_else(|| "none".to_owned(), |address| address.to_string());
    format!(
        "ready name={name} port={} shards={} epmd={epmd} pid={}",
        node.port().unwrap_or(0),
        node.shards(),
        std::process::id()
    )
}
