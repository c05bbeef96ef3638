//! Registered names and the ends of those who have them.

mod support;

use std::sync::mpsc;

use krarup::term::{Atom, Term};
use krarup::{ExitReason, Process, ProcessResult, Signal, SpawnError};
use support::{PATIENCE, pair, stop};

const GENERATIONS: usize = 200;

/// Ends with the first message.
async fn named(mut me: Process) -> ProcessResult {
    me.recv().await?;
    Err(ExitReason(Term::Atom(Atom::from_static("over"))).into())
}

#[test]
fn a_name_is_free_when_its_process_is_known_to_have_ended() {
    let (a, b) = pair(3);
    let (done, finished) = mpsc::channel();
    let watch = |mut me: Process| async move {
        for generation in 0..GENERATIONS {
            let shard = generation % 3;
            let pid = me.node().spawn_on(shard, Some("phoenix"), named).await?;
            let monitor = me.monitor(&pid);
            me.send("phoenix", "end").await?;
            match me.recv().await? {
                Signal::Down(down) => assert_eq!(down.reference, monitor),
                other => panic!("{other:?}"),
            }
        }
        done.send(())?;
        Ok(())
    };
    a.spawn_on(2, None, watch).wait().expect("a process");
    finished.recv_timeout(PATIENCE).expect("each generation has the name in its turn");
    stop([a, b]);
}

#[test]
fn a_name_is_taken_while_its_process_lives() {
    let (a, b) = pair(2);
    let first = a.spawn_on(1, Some("phoenix"), named).wait().expect("a process");
    for shard in [0, 1] {
        let taken = a.spawn_on(shard, Some("phoenix"), named).wait();
        assert!(matches!(taken, Err(SpawnError::NameTaken(_))), "{taken:?}");
    }
    assert_eq!(a.whereis("phoenix").wait(), Some(first));
    stop([a, b]);
}
