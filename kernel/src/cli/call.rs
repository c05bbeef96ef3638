//! `krarup call`: `rpc:call` from the shell.

use super::{Failure, client, output};
use krarup::RpcError;
use krarup::term::Term;
use serde_json::json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node, such as shop@127.0.0.1
    node: String,

    /// Module of the function
    module: String,

    /// The function
    function: String,

    /// The list of its arguments as an Erlang term, such as '[1, "text", {a, b}]'
    #[arg(value_name = "ARGS", default_value = "[]", allow_hyphen_values = true)]
    arguments: String,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON: the value, or what failed, as the text of a term
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn,krarup::shard::connect=info");
    let list = list(&arguments.arguments)?;
    let own = client::start(&arguments.client, &arguments.node)?;
    let (module, function) = (&arguments.module, &arguments.function);
    let timeout = arguments.client.timeout();
    let value = own.rpc::<Term>(&arguments.node, module, function, list, timeout).wait();
    own.stop().wait();
    if arguments.json {
        let all = match &value {
            Ok(value) => json!({ "value": value.to_string() }),
            Err(error) => json!({ "class": class(error), "error": text(error, false) }),
        };
        output::line(&all.to_string());
        return value.map(drop).map_err(|_| Failure::Answered);
    }
    match value {
        Ok(value) => {
            output::line(&value.pretty().to_string());
            Ok(())
        }
        Err(error) => {
            output::hint(&text(&error, true));
            Err(Failure::Answered)
        }
    }
}

/// The arguments: one Erlang term, which is a list.
fn list(text: &str) -> Result<Vec<Term>, Failure> {
    let usage = |why: String| {
        Failure::Usage(format!("{why}; give the arguments as one list, such as '[1, \"text\"]'"))
    };
    // As in the shell, a full stop at the end is welcome.
    let text = text.trim().trim_end_matches('.');
    match text.parse::<Term>() {
        Ok(Term::List(list)) => Ok(list),
        Ok(other) => Err(usage(format!("{other} is no list"))),
        Err(error) => Err(usage(format!("{text:?} is no Erlang term: {error}"))),
    }
}

/// In which of Erlang's classes it failed.
fn class(error: &RpcError) -> &'static str {
    match error {
        RpcError::Throw(_) => "throw",
        RpcError::Exit(_) | RpcError::Signal(_) => "exit",
        _ => "error",
    }
}

/// What failed, in `erpc`'s terms.
fn text(error: &RpcError, with_class: bool) -> String {
    let term = |shape: &str, term: &Term| format!("{{{shape},{term}}}");
    let text = match error {
        RpcError::Throw(value) => value.to_string(),
        RpcError::Exit(reason) => term("exception", reason),
        RpcError::Signal(reason) => term("signal", reason),
        RpcError::Error { reason, stack } => format!("{{exception,{reason},{stack}}}"),
        RpcError::Refused(why) => term("erpc", why),
        RpcError::NoConnection => "{erpc,noconnection}".to_owned(),
        RpcError::Timeout => "{erpc,timeout}".to_owned(),
        other => other.to_string(),
    };
    if with_class { format!("{}: {text}", class(error)) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_list() {
        assert_eq!(list("[1, \"a\"].").map(|list| list.len()), Ok(2));
        assert_eq!(list(" [] ").map(|list| list.len()), Ok(0));
        for wrong in ["1", "[1", "{1, 2}", ""] {
            assert!(matches!(list(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
