//! `krarup nodes`: `erlang:nodes/1` of a node from the shell.

use super::{Failure, client, output};
use krarup::term::Atom;
use serde_json::json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node that is asked, such as shop@127.0.0.1
    #[arg(long, value_name = "NODE")]
    of: String,

    /// Which nodes; visible ones unless stated
    #[arg(value_enum, value_name = "SET")]
    sets: Vec<Set>,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `erlang:nodes/1` takes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Set {
    /// Those that show in its nodes()
    Visible,
    /// The other ones that it is connected to
    Hidden,
    /// All that it is connected to
    Connected,
    /// Itself
    This,
    /// All that it has heard of
    Known,
}

impl Set {
    fn atom(self) -> Atom {
        Atom::from_static(match self {
            Set::Visible => "visible",
            Set::Hidden => "hidden",
            Set::Connected => "connected",
            Set::This => "this",
            Set::Known => "known",
        })
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn,krarup::shard::connect=info");
    let own = client::start(&arguments.client, &arguments.of)?;
    let sets = if arguments.sets.is_empty() { &[Set::Visible][..] } else { &arguments.sets };
    let sets: Vec<Atom> = sets.iter().map(|set| set.atom()).collect();
    let timeout = arguments.client.timeout();
    let asked = own.rpc::<Vec<Atom>>(&arguments.of, "erlang", "nodes", (sets,), timeout).wait();
    let this = own.name();
    own.stop().wait();
    let mut nodes = asked.map_err(Failure::of)?;
    // It is connected to this command, too, which is gone when anybody reads this.
    nodes.retain(|node| this.as_ref() != Some(node));
    if arguments.json {
        let names: Vec<&str> = nodes.iter().map(Atom::as_str).collect();
        output::line(&json!({ "of": arguments.of, "nodes": names }).to_string());
        return Ok(());
    }
    for node in nodes {
        output::line(node.as_str());
    }
    Ok(())
}
