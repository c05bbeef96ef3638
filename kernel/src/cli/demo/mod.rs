//! `krarup demo`: the main job with nothing prepared. Two Krarup nodes in two processes, a BEAM
//! node beside them when `erl` is installed, and bare sockets for comparison; real traffic between
//! them, a table and a plot.

mod floor;
mod measure;
mod peers;
mod progress;
mod report;
mod traffic;

use self::floor::Waiting;
use self::peers::{Peers, Seats};
use self::report::{LatencyRow, Report, STREAM_FLOOR, StreamRow};
use super::{Failure, output};
use krarup::Node;
use krarup::epmd::{EpmdMode, Server, ServerConfig};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to write the latency plot (SVG)
    #[arg(long, value_name = "FILE", default_value = "krarup-demo.svg")]
    plot: PathBuf,

    /// Leave the BEAM node out, even when erl is installed
    #[arg(long)]
    without_erl: bool,

    /// Seconds each measurement takes
    #[arg(long, value_name = "SECONDS", default_value = "0.9", value_parser = measurement)]
    time: Duration,

    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// Sizes of the messages that go back and forth.
const ROUND_TRIP_BYTES: [usize; 2] = [16, 1024];
/// Sizes of the messages that go one way.
const STREAM_BYTES: [usize; 3] = [16, 1024, 65_536];
/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("error");
    let line = progress::Progress::new();
    let steps = 5 + ROUND_TRIP_BYTES.len() * 4 + STREAM_BYTES.len() * 3;
    let mut step = 0;
    let mut show = |text: &str| {
        step += 1;
        line.show(step, steps, text);
    };

    // Now, rather than after everything was measured.
    std::fs::File::create(&arguments.plot).map_err(|error| {
        Failure::Failed(format!("the plot {} cannot be written: {error}", arguments.plot.display()))
    })?;
    show("starting epmd");
    let epmd = Server::bind(&ServerConfig {
        port: 0,
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        ..ServerConfig::default()
    })
    .map_err(Failure::of)?;
    let epmd = epmd.start().map_err(Failure::of)?;

    // Both sides of a measurement on one core would measure the scheduler.
    let seats = Seats::take();
    let mut peers = Peers::new(epmd.port(), &seats).map_err(Failure::of)?;
    show("starting the peer of the bare sockets");
    let floor_peer = peers.start_floor()?;
    show("starting a Krarup node in another process");
    let krarup_peer = peers.start_krarup()?;
    let beam_peer = if arguments.without_erl {
        Err("left out".to_owned())
    } else {
        show("starting a BEAM node");
        peers.start_beam()
    };
    peers.remove_files();
    show("starting a Krarup node in this process");
    seats.sit_here();
    let mut builder = Node::builder("krarup-demo-a@127.0.0.1")
        .cookie(peers.cookie().clone())
        .epmd(EpmdMode::External)
        .epmd_port(epmd.port());
    let mut floors =
        vec![(Waiting::Spinning, "raw TCP, spinning"), (Waiting::Blocking, "raw TCP, blocking")];
    if seats.are_shared() {
        builder = builder.spin(Duration::ZERO);
        floors.remove(0);
    }
    let node = builder.start().map_err(Failure::of)?;

    let mut report = Report { floor: floors[0].1, ..Report::default() };
    let floor_failed = |error: std::io::Error| Failure::Failed(format!("bare sockets: {error}"));
    for size in ROUND_TRIP_BYTES {
        for &(waiting, path) in &floors {
            show(&format!("round trips of {size} bytes: {path}"));
            let sample = floor::round_trips(floor_peer, size, waiting, arguments.time)
                .map_err(floor_failed)?;
            report.latencies.push(LatencyRow { path: path.into(), message_bytes: size, sample });
        }
        let nodes =
            [("krarup - krarup", Some(&krarup_peer)), ("krarup - beam", beam_peer.as_ref().ok())];
        for (path, peer) in nodes {
            let Some(peer) = peer else { continue };
            show(&format!("round trips of {size} bytes: {path}"));
            let sample = traffic::round_trips(&node, peer, size, arguments.time)
                .map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
            report.latencies.push(LatencyRow { path: path.into(), message_bytes: size, sample });
        }
    }
    for size in STREAM_BYTES {
        show(&format!("stream of {size} bytes: {STREAM_FLOOR}"));
        let stream = floor::stream(floor_peer, size, arguments.time).map_err(floor_failed)?;
        report.streams.push(StreamRow { path: STREAM_FLOOR.into(), stream });
        let nodes =
            [("krarup to krarup", Some(&krarup_peer)), ("krarup to beam", beam_peer.as_ref().ok())];
        for (path, peer) in nodes {
            let Some(peer) = peer else { continue };
            show(&format!("stream of {size} bytes: {path}"));
            let stream = traffic::stream(&node, peer, size, arguments.time)
                .map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
            report.streams.push(StreamRow { path: path.into(), stream });
        }
    }
    node.stop().wait();
    drop(line);
    finish(arguments, &report, beam_peer.err())
}

fn measurement(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0.01 to 60".to_owned()),
    }
}

/// Serves the other side of the bare sockets; prints its address first.
pub(super) fn serve_floor() -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::of)?;
    output::line(&listener.local_addr().map_err(Failure::of)?.to_string());
    peers::end_with_parent();
    floor::serve(&listener).map_err(Failure::of)
}

fn finish(
    arguments: &Arguments,
    report: &Report,
    without_beam: Option<String>,
) -> Result<(), Failure> {
    report.plot(&arguments.plot).map_err(|error| {
        Failure::Failed(format!("the plot {} cannot be written: {error}", arguments.plot.display()))
    })?;
    let plot = arguments.plot.display();
    if arguments.json {
        let mut all = report.json();
        all["plot"] = plot.to_string().into();
        all["without_beam"] = without_beam.into();
        output::line(&all.to_string());
        return Ok(());
    }
    output::line(report.table().trim_end());
    output::line("");
    if let Some(reason) = without_beam {
        output::line(&format!("No BEAM node took part: {reason}."));
    }
    output::line(&format!("The latency plot is in {plot}."));
    Ok(())
}
