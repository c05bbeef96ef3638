//! `krarup getopts`: `net_kernel:getopts/2` on some node, from the shell.

use super::{Failure, client, output};
use krarup::RpcError;
use krarup::sockets::option::OptionName;
use krarup::term::{Atom, Term};
use serde_json::{Map, Value, json};

/// What every release of OTP knows of a connection.
const USUAL: [OptionName; 15] = [
    OptionName::Nodelay,
    OptionName::Keepalive,
    OptionName::Sndbuf,
    OptionName::Recbuf,
    OptionName::Buffer,
    OptionName::Priority,
    OptionName::Tos,
    OptionName::Linger,
    OptionName::Reuseaddr,
    OptionName::SendTimeout,
    OptionName::SendTimeoutClose,
    OptionName::DelaySend,
    OptionName::HighWatermark,
    OptionName::LowWatermark,
    OptionName::ShowEconnreset,
];

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node at the other end of the connection
    node: String,

    /// Names of options, such as sndbuf; without any, those that every node knows
    options: Vec<String>,

    /// The node whose connection it is, such as shop@127.0.0.1
    #[arg(long, value_name = "NODE")]
    of: String,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn,krarup::shard::connect=info");
    let names = match arguments.options.as_slice() {
        [] => USUAL.to_vec(),
        names => names
            .iter()
            .map(|name| name.parse().map_err(|error| Failure::Usage(format!("{error}"))))
            .collect::<Result<Vec<OptionName>, Failure>>()?,
    };
    let names = names.iter().map(|name| Term::Atom(Atom::from_static(name.as_str()))).collect();
    let answer = ask(arguments.of.as_str(), &arguments.client, "getopts", &arguments.node, names)?;
    let options = match answer.as_tuple() {
        Some([Term::Atom(ok), Term::List(options)]) if ok.as_str() == "ok" => options,
        _ => return Err(refusal(&answer, arguments.json)),
    };
    let pairs: Vec<(String, &Term)> = options
        .iter()
        .filter_map(|option| match option.as_tuple()? {
            [Term::Atom(name), value] => Some((name.as_str().to_owned(), value)),
            _ => None,
        })
        .collect();
    if arguments.json {
        let options: Map<String, Value> =
            pairs.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
        let all = json!({ "of": arguments.of, "node": arguments.node, "options": options });
        output::line(&all.to_string());
    } else {
        pairs.iter().for_each(|(name, value)| output::line(&format!("{name}={value}")));
    }
    Ok(())
}

/// Calls a function of `net_kernel` of a node, with a node and a list.
pub(super) fn ask(
    of: &str,
    flags: &client::Flags,
    function: &str,
    node: &str,
    list: Vec<Term>,
) -> Result<Term, Failure> {
    let name = Atom::new(node).map_err(|error| Failure::Usage(format!("{node:?}: {error}")))?;
    let own = client::start(flags, of)?;
    let arguments = vec![Term::Atom(name), Term::List(list)];
    let answer = own.rpc::<Term>(of, "net_kernel", function, arguments, flags.timeout()).wait();
    own.stop().wait();
    answer.map_err(|error| match error {
        RpcError::NoConnection => Failure::Failed(format!("{of} cannot be reached")),
        error => Failure::Failed(format!("{of}: {error}")),
    })
}

/// That the node did not do as it was asked.
pub(super) fn refusal(answer: &Term, json: bool) -> Failure {
    if json {
        output::line(&json!({ "error": answer.to_string() }).to_string());
    } else {
        output::hint(&answer.to_string());
    }
    Failure::Answered
}

fn to_json(value: &Term) -> Value {
    match value {
        Term::Integer(number) => json!(number),
        Term::Atom(atom) if atom.as_str() == "true" => json!(true),
        Term::Atom(atom) if atom.as_str() == "false" => json!(false),
        Term::Atom(atom) => json!(atom.as_str()),
        other => json!(other.to_text().unwrap_or_else(|| other.to_string())),
    }
}
