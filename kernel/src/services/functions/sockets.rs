//! The functions of `net_kernel` about the options of its sockets.

use krarup_transport::term::{Atom, Term};
use krarup_tuning::option::OptionName;

use super::Value;
use crate::atoms::atom;
use crate::node::Node;
use crate::rpc::Raise;
use crate::sockets::OptionsError;
use crate::sockets::terms::{Asked, OPTIONS_MAX, from_terms};

pub(super) fn register(node: &Node) {
    let m = "net_kernel";
    node.register_function(m, "setopts", |me, (target, options): (Atom, Term)| async move {
        set(&me.node(), &target, &options).await
    });
    node.register_function(m, "getopts", |me, (name, options): (Atom, Term)| async move {
        get(&me.node(), &name, &options).await
    });
}

async fn set(node: &Node, target: &Atom, options: &Term) -> Value {
    let terms = list(options)?;
    let outcome = match ready(node, target.as_str()).await {
        Err(error) => Err(error),
        Ok(()) => {
            let options = terms.and_then(|terms| {
                let numbered =
                    terms.iter().find(|term| matches!(term, Term::Tuple(t) if t.len() == 4));
                match numbered {
                    // OTP's net_kernel does not survive to say so.
                    Some(numbered) if target.as_str() == "new" => {
                        Err(OptionsError::NoOption(numbered.clone()))
                    }
                    _ => from_terms(terms),
                }
            });
            match options {
                Ok(options) => node.setopts(target.as_str(), &options).await,
                Err(error) => Err(error),
            }
        }
    };
    Ok(outcome.map_or_else(|error| error.to_term(), |()| atom("ok")))
}

async fn get(node: &Node, name: &Atom, options: &Term) -> Value {
    let terms = list(options)?;
    Ok(read(node, name.as_str(), terms).await.unwrap_or_else(|error| error.to_term()))
}

async fn read(
    node: &Node,
    name: &str,
    terms: Result<&[Term], OptionsError>,
) -> Result<Term, OptionsError> {
    if name == "new" {
        return Err(if node.is_alive() {
            OptionsError::NoConnection
        } else {
            OptionsError::NotAlive
        });
    }
    ready(node, name).await?;
    let terms = terms?;
    if let Some(one_too_many) = terms.get(OPTIONS_MAX) {
        return Err(OptionsError::NoOption(one_too_many.clone()));
    }
    let asked: Vec<Asked> = terms.iter().map(Asked::from_term).collect::<Result<_, _>>()?;
    let names: Vec<OptionName> = asked.iter().filter_map(Asked::name).collect();
    let values = node.getopts(name, &names).await?;
    let answers = asked.iter().filter_map(|asked| asked.answer(&values)).collect();
    Ok(Term::Tuple(vec![atom("ok"), Term::List(answers)]))
}

/// OTP looks for the connection before it looks at the options.
async fn ready(node: &Node, target: &str) -> Result<(), OptionsError> {
    if !node.is_alive() {
        return Err(OptionsError::NotAlive);
    }
    let connected = |name: &str| name == target;
    if target == "new" || node.nodes().await.iter().any(|info| connected(info.name.as_str())) {
        Ok(())
    } else {
        Err(OptionsError::NoConnection)
    }
}

/// The list that both functions take. OTP's connection does not survive an improper one.
fn list(term: &Term) -> Result<Result<&[Term], OptionsError>, Raise> {
    match term {
        Term::List(terms) => Ok(Ok(terms)),
        Term::ImproperList(..) => Ok(Err(OptionsError::NoOption(term.clone()))),
        _ => Err(Raise::error("function_clause")),
    }
}
