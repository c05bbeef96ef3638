//! `krarup setopts`: `net_kernel:setopts/2` on some node, from the shell.

use super::getopts::{ask, refusal};
use super::{Failure, client, output};
use krarup::sockets::Profile;
use krarup::sockets::option::SocketOption;
use krarup::sockets::option::parse::PROFILE;
use krarup::sockets::terms::to_term;
use krarup::term::{Atom, Term};
use serde_json::json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node at the other end of the connection, or new: all connections to come
    node: String,

    /// Options, such as sndbuf=1048576, or the name of a profile: profile=wan
    #[arg(required = true, value_name = "OPTION=VALUE")]
    options: Vec<String>,

    /// The node whose connections they are, such as shop@127.0.0.1
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
    let options = arguments
        .options
        .iter()
        .map(|text| option(text))
        .collect::<Result<Vec<Term>, Failure>>()?;
    let answer = ask(&arguments.of, &arguments.client, "setopts", &arguments.node, options)?;
    if answer.as_atom().is_none_or(|atom| atom.as_str() != "ok") {
        return Err(refusal(&answer, arguments.json));
    }
    if arguments.json {
        let all = json!({ "of": arguments.of, "node": arguments.node, "answer": "ok" });
        output::line(&all.to_string());
    } else {
        output::line("ok");
    }
    Ok(())
}

/// The option as a term. What a profile stands for is for the node to say.
fn option(text: &str) -> Result<Term, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    match text.split_once('=') {
        Some((PROFILE, name)) => {
            let profile: Profile = name.parse().map_err(|error| usage(&error))?;
            let atom = |text| Term::Atom(Atom::from_static(text));
            Ok(Term::Tuple(vec![atom(PROFILE), atom(profile.as_str())]))
        }
        _ => text.parse::<SocketOption>().map(|option| to_term(&option)).map_err(|e| usage(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_terms() {
        let term = |text: &str| option(text).map(|term| term.to_string());
        assert_eq!(term("nodelay=true"), Ok("{nodelay,true}".into()));
        assert_eq!(term("linger=5"), Ok("{linger,{true,5}}".into()));
        assert_eq!(term("profile=wan"), Ok("{profile,wan}".into()));
        for wrong in ["nodelay", "nodley=true", "profile=fast", "sndbuf=many"] {
            assert!(matches!(option(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
