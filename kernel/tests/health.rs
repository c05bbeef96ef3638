//! Whether a node is well, as seen from outside.

use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_shard_that_is_held_up_does_not_answer() {
    let cookie = Cookie::new("secret").expect("a cookie");
    let builder = Node::builder("well@127.0.0.1").cookie(cookie).epmd(EpmdMode::None).shards(2);
    let node = builder.start().expect("the node starts");
    assert!(node.is_registered(), "where there is no epmd nothing is missing");
    let ask = |patience| {
        let answers = node.answer_times();
        answers.into_iter().map(move |answer| answer.wait_for(patience).flatten())
    };
    assert!(ask(PATIENCE).all(|took| took.is_some()));

    let (say, said) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    node.spawn("stuck", move |_| async move {
        // Whoever spawns it waits for its first turn.
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        say.send(())?;
        // As a process must not: its shard stands still.
        let _ = held.recv_timeout(PATIENCE);
        Ok(())
    })
    .expect("a process");
    said.recv_timeout(PATIENCE).expect("it runs");
    let answers: Vec<Option<Duration>> = ask(Duration::from_millis(300)).collect();
    let silent = answers.iter().filter(|took| took.is_none()).count();
    assert_eq!(silent, 1, "only the one that is held up: {answers:?}");
    drop(release);
    assert!(ask(PATIENCE).all(|took| took.is_some()));
    node.stop().wait();
    assert!(!node.is_registered());
    assert!(node.answer_times().into_iter().all(|answer| answer.wait().is_none()));
}
