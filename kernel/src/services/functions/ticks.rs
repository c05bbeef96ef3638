//! The functions of `net_kernel` that are about the tick time.

use std::time::Duration;

use krarup_transport::term::Term;

use super::Value;
use crate::atoms::atom;
use crate::net_kernel::{NetTicktime, TicktimeChange};
use crate::node::Node;
use crate::process::Process;
use crate::rpc::Raise;

/// How long a transition takes unless stated.
const TRANSITION: Duration = Duration::from_secs(60);

/// Registers them.
pub(super) fn register(node: &Node) {
    let m = "net_kernel";
    node.register_function(m, "get_net_ticktime", |me, ()| async move {
        Ok(match me.node().net_ticktime().await {
            Ok(NetTicktime::Steady(ticktime)) => seconds(ticktime),
            Ok(NetTicktime::ChangingTo(ticktime)) => ongoing(ticktime),
            Err(_) => atom("ignored"),
        })
    });
    node.register_function(m, "set_net_ticktime", |me, (ticktime,): (i64,)| async move {
        set(&me, ticktime, TRANSITION).await
    });
    node.register_function(
        m,
        "set_net_ticktime",
        |me, (ticktime, transition): (i64, i64)| async move {
            let transition = u64::try_from(transition).map_err(|_| no_clause())?;
            set(&me, ticktime, Duration::from_secs(transition)).await
        },
    );
}

async fn set(me: &Process, ticktime: i64, transition: Duration) -> Value {
    let ticktime = u64::try_from(ticktime).ok().filter(|seconds| *seconds > 0);
    let ticktime = Duration::from_secs(ticktime.ok_or_else(no_clause)?);
    Ok(match me.node().set_net_ticktime(ticktime, transition).await {
        Ok(TicktimeChange::Unchanged) => atom("unchanged"),
        Ok(TicktimeChange::Initiated) => atom("change_initiated"),
        Ok(TicktimeChange::Ongoing(ticktime)) => ongoing(ticktime),
        Err(_) => atom("ignored"),
    })
}

fn ongoing(ticktime: Duration) -> Term {
    Term::Tuple(vec![atom("ongoing_change_to"), seconds(ticktime)])
}

/// Whole seconds, as OTP has them.
fn seconds(ticktime: Duration) -> Term {
    Term::from(ticktime.as_secs())
}

fn no_clause() -> Raise {
    Raise::error("function_clause")
}
