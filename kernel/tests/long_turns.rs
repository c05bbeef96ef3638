//! What the log says of processes that hold up their shard.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node};

const TURNS: usize = 130;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Peers can make turns long, so that each must not be worth a line. All of them are counted.
#[test]
fn long_turns_are_counted_and_some_are_told() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).init();
    let cookie = Cookie::new("secret").expect("a cookie");
    let builder = Node::builder("slow@127.0.0.1").cookie(cookie).epmd(EpmdMode::None).shards(1);
    let node = builder.start().expect("the node starts");
    let (say, said) = std::sync::mpsc::channel();
    node.spawn("slow", move |_| async move {
        let mut left = TURNS;
        std::future::poll_fn(|cx| {
            // As a process must not.
            std::thread::sleep(Duration::from_millis(20));
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        say.send(())?;
        Ok(())
    })
    .expect("a process");
    said.recv_timeout(PATIENCE).expect("it ends");
    let stats = node.stats().wait();
    assert!(stats[0].long_turns >= TURNS as u64 - 1, "{} long turns", stats[0].long_turns);
    node.stop().wait();
    let text = String::from_utf8_lossy(&log.0.lock().expect("the log")).into_owned();
    let lines = text.matches("a process held up its shard").count();
    assert!((100..TURNS - 10).contains(&lines), "{lines} lines");
}
