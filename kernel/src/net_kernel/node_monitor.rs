//! Which changes of nodes a process is told of, and in what form.
//!
//! OTP: `net_kernel:monitor_nodes/1,2`.

use std::fmt;

use krarup_transport::term::{Atom, Map, Term};

use super::{NodeDownReason, NodeType};
use crate::atoms::{atom, is};

/// What `monitor_nodes` is to tell. The default is that of `monitor_nodes/1`: visible nodes, and
/// nothing but their names.
///
/// Subscriptions with equal options count together: each change is told once for each of them, and
/// one end takes all of them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeMonitorOptions {
    node_type: Option<NodeTypes>,
    nodedown_reason: bool,
    connection_id: bool,
    as_map: bool,
}

/// Which nodes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeTypes {
    /// Those in `nodes()`.
    Visible,
    /// The others.
    Hidden,
    /// All.
    All,
}

impl NodeMonitorOptions {
    /// Watches nodes of these types, and tells the type (OTP: `{node_type, Type}`).
    #[must_use]
    pub fn node_type(self, types: NodeTypes) -> Self {
        NodeMonitorOptions { node_type: Some(types), ..self }
    }

    /// Tells why a node went down (OTP: `nodedown_reason`).
    #[must_use]
    pub fn nodedown_reason(self) -> Self {
        NodeMonitorOptions { nodedown_reason: true, ..self }
    }

    /// Tells the number of the connection (OTP: `connection_id`).
    #[must_use]
    pub fn connection_id(self) -> Self {
        NodeMonitorOptions { connection_id: true, ..self }
    }

    /// Gives what is told as a map instead of a list, in the Erlang form of the message.
    #[must_use]
    pub fn as_map(self) -> Self {
        NodeMonitorOptions { as_map: true, ..self }
    }

    /// Reads the second argument of `monitor_nodes/2`: a list of options, or a map.
    ///
    /// # Errors
    /// [`BadNodeMonitorOptions`], whose term is OTP's answer to the same options.
    pub fn from_term(options: &Term) -> Result<Self, BadNodeMonitorOptions> {
        match options {
            Term::List(options) => Self::from_list(options),
            Term::Map(options) => Self::from_map(options),
            other => Err(bad("invalid_options", other.clone())),
        }
    }

    // OTP: net_kernel.erl, check_options/1. What it takes out of the list leaves the rest the other
    // way round; it does not take `connection_id` out.
    fn from_list(options: &[Term]) -> Result<Self, BadNodeMonitorOptions> {
        let mut node_type: Option<&Term> = None;
        let mut rest: Vec<&Term> = Vec::with_capacity(options.len());
        for option in options {
            match (option, node_type) {
                (Term::Tuple(pair), known) if is_pair_of(pair, "node_type") => match known {
                    Some(earlier) if earlier != option => {
                        let both = vec![option.clone(), earlier.clone()];
                        return Err(bad("option_value_mismatch", Term::List(both)));
                    }
                    _ => node_type = Some(option),
                },
                _ => rest.push(option),
            }
        }
        let mut read = NodeMonitorOptions::default();
        if let Some(option) = node_type {
            let value = option.as_tuple().and_then(|pair| pair.get(1));
            let types = value.and_then(node_types);
            read.node_type = Some(types.ok_or_else(|| bad("bad_option_value", option.clone()))?);
            rest.reverse();
        }
        if rest.iter().any(|option| is(option, "nodedown_reason")) {
            read.nodedown_reason = true;
            rest.retain(|option| !is(option, "nodedown_reason"));
            rest.reverse();
        }
        if rest.iter().any(|option| !is(option, "connection_id")) {
            let unknown = rest.into_iter().cloned().collect();
            return Err(bad("unknown_options", Term::List(unknown)));
        }
        read.connection_id = !rest.is_empty();
        Ok(read)
    }

    fn from_map(options: &Map) -> Result<Self, BadNodeMonitorOptions> {
        let mut read = NodeMonitorOptions { as_map: true, ..Self::default() };
        let mut rest: Vec<(Term, Term)> = options.pairs().to_vec();
        let mut take = |name| {
            let at = rest.iter().position(|(key, _)| is(key, name));
            at.map(|at| rest.remove(at))
        };
        for (name, set) in [
            ("connection_id", &mut read.connection_id),
            ("nodedown_reason", &mut read.nodedown_reason),
        ] {
            if let Some((key, value)) = take(name) {
                *set = match value {
                    Term::Atom(value) if value.as_str() == "true" => true,
                    Term::Atom(value) if value.as_str() == "false" => false,
                    value => return Err(bad("bad_option_value", single(key, value))),
                };
            }
        }
        if let Some((key, value)) = take("node_type") {
            let types = node_types(&value);
            let wrong = || bad("bad_option_value", single(key, value));
            read.node_type = Some(types.ok_or_else(wrong)?);
        }
        if rest.is_empty() {
            Ok(read)
        } else {
            Err(bad("unknown_options", Term::Map(rest.into_iter().collect())))
        }
    }

    /// Whether nodes of this type are watched.
    pub(crate) fn watches(&self, node_type: NodeType) -> bool {
        match (self.node_type.unwrap_or(NodeTypes::Visible), node_type) {
            (NodeTypes::All, _) => true,
            (NodeTypes::Visible, visible) => visible == NodeType::Visible,
            (NodeTypes::Hidden, visible) => visible == NodeType::Hidden,
        }
    }

    /// The message of a change, as an Erlang process gets it.
    pub(crate) fn message(
        &self,
        change: &'static str,
        node: &Atom,
        node_type: NodeType,
        connection_id: Option<u32>,
        reason: Option<&NodeDownReason>,
    ) -> Term {
        let mut told = Vec::new();
        // In OTP's order.
        if self.connection_id {
            let id = connection_id.map_or_else(|| atom("undefined"), Term::from);
            told.push((atom("connection_id"), id));
        }
        if self.nodedown_reason
            && let Some(reason) = reason
        {
            told.push((atom("nodedown_reason"), Term::Atom(reason.atom())));
        }
        if self.node_type.is_some() {
            told.push((atom("node_type"), atom(node_type.as_str())));
        }
        let mut message = vec![atom(change), Term::Atom(node.clone())];
        let is_plain = *self == NodeMonitorOptions::default();
        match (is_plain, self.as_map) {
            (true, _) => {}
            (false, true) => message.push(Term::Map(told.into_iter().collect())),
            (false, false) => {
                let pairs = told.into_iter().map(|(key, value)| Term::Tuple(vec![key, value]));
                message.push(Term::List(pairs.collect()));
            }
        }
        Term::Tuple(message)
    }
}

fn is_pair_of(pair: &[Term], key: &str) -> bool {
    matches!(pair, [Term::Atom(name), _] if name.as_str() == key)
}

fn node_types(value: &Term) -> Option<NodeTypes> {
    match value.as_atom()?.as_str() {
        "visible" => Some(NodeTypes::Visible),
        "hidden" => Some(NodeTypes::Hidden),
        "all" => Some(NodeTypes::All),
        _ => None,
    }
}

/// Options that `monitor_nodes/2` does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct BadNodeMonitorOptions(Term);

impl BadNodeMonitorOptions {
    /// What OTP answers to them: `{error, {unknown_options, _}}` and the like.
    pub fn into_term(self) -> Term {
        Term::Tuple(vec![atom("error"), self.0])
    }
}

impl fmt::Display for BadNodeMonitorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected options of monitor_nodes/2, got {}", self.0)
    }
}

impl std::error::Error for BadNodeMonitorOptions {}

fn single(key: Term, value: Term) -> Term {
    Term::Map([(key, value)].into_iter().collect())
}

fn bad(why: &'static str, what: Term) -> BadNodeMonitorOptions {
    BadNodeMonitorOptions(Term::Tuple(vec![atom(why), what]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str) -> Result<NodeMonitorOptions, String> {
        let options: Term = options.parse().expect("a term");
        NodeMonitorOptions::from_term(&options).map_err(|error| error.into_term().to_string())
    }

    fn up_and_down(options: &str) -> (String, String) {
        let options = read(options).expect("options");
        let node = Atom::from_static("b@h");
        let reason = NodeDownReason::Disconnect;
        let (up, down) = (
            options.message("nodeup", &node, NodeType::Hidden, Some(7), None),
            options.message("nodedown", &node, NodeType::Visible, None, Some(&reason)),
        );
        (up.to_string(), down.to_string())
    }

    // Each answer is that of OTP 25 and 29 to the same options.
    #[test]
    fn wrong_options_are_answered_as_otp_does() {
        for (options, answer) in [
            ("[foo,bar,{node_type,x}]", "{error,{bad_option_value,{node_type,x}}}"),
            ("[foo,bar]", "{error,{unknown_options,[foo,bar]}}"),
            ("#{a => 1,node_type => 1}", "{error,{bad_option_value,#{node_type => 1}}}"),
            (
                "[nodedown_reason,{connection_id,true},connection_id,{nodedown_reason,false}]",
                "{error,{unknown_options,[{nodedown_reason,false},connection_id,{connection_id,true}]}}",
            ),
            ("#{nodedown_reason => 1}", "{error,{bad_option_value,#{nodedown_reason => 1}}}"),
            ("#{connection_id => x}", "{error,{bad_option_value,#{connection_id => x}}}"),
            (
                "[{node_type,all},{node_type,hidden},{node_type,visible}]",
                "{error,{option_value_mismatch,[{node_type,hidden},{node_type,all}]}}",
            ),
            ("x", "{error,{invalid_options,x}}"),
            (
                "[{node_type,x},{node_type,y}]",
                "{error,{option_value_mismatch,[{node_type,y},{node_type,x}]}}",
            ),
            (
                "#{node_type => x,connection_id => y}",
                "{error,{bad_option_value,#{connection_id => y}}}",
            ),
            ("#{x => 1}", "{error,{unknown_options,#{x => 1}}}"),
            ("#{list => true}", "{error,{unknown_options,#{list => true}}}"),
        ] {
            let expected: Term = answer.parse().expect("a term");
            assert_eq!(read(options), Err(expected.to_string()), "{options}");
        }
        assert_eq!(read("[{node_type,all},{node_type,all}]"), read("[{node_type,all}]"));
    }

    #[test]
    fn messages_have_the_form_that_was_asked_for() {
        let told = |up: &str, down: &str| {
            let same = |text: &str| text.parse::<Term>().expect("a term").to_string();
            (same(up), same(down))
        };
        assert_eq!(up_and_down("[]"), told("{nodeup,b@h}", "{nodedown,b@h}"));
        assert_eq!(up_and_down("#{}"), told("{nodeup,b@h,#{}}", "{nodedown,b@h,#{}}"));
        assert_eq!(
            up_and_down("[nodedown_reason]"),
            told("{nodeup,b@h,[]}", "{nodedown,b@h,[{nodedown_reason,disconnect}]}")
        );
        assert_eq!(
            up_and_down("[{node_type,all},nodedown_reason,connection_id]"),
            told(
                "{nodeup,b@h,[{connection_id,7},{node_type,hidden}]}",
                "{nodedown,b@h,[{connection_id,undefined},{nodedown_reason,disconnect},\
                 {node_type,visible}]}",
            )
        );
        assert_eq!(
            up_and_down("#{nodedown_reason => true,connection_id => false}"),
            told("{nodeup,b@h,#{}}", "{nodedown,b@h,#{nodedown_reason => disconnect}}")
        );
    }

    #[test]
    fn a_type_is_watched_when_it_is_asked_for() {
        for (options, visible, hidden) in [
            ("[]", true, false),
            ("#{}", true, false),
            ("[{node_type,visible}]", true, false),
            ("[{node_type,hidden}]", false, true),
            ("#{node_type => all}", true, true),
        ] {
            let options = read(options).expect("options");
            assert_eq!(options.watches(NodeType::Visible), visible, "{options:?}");
            assert_eq!(options.watches(NodeType::Hidden), hidden, "{options:?}");
        }
    }
}
