//! What the log says of processes that hold up their shard.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node};

const TURNS: u64 = 120;
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
    let is_enough = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_enough);
    node.spawn("slow", move |_| async move {
        std::future::poll_fn(|cx| {
            // As a process must not.
            std::thread::sleep(Duration::from_millis(20));
            cx.waker().wake_by_ref();
            if ends.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    })
    .expect("a process");
    // Turns are measured by a coarse clock: now and then one seems shorter than it was.
    let deadline = Instant::now() + PATIENCE;
    let counted = loop {
        let counted = node.stats().wait()[0].long_turns;
        assert!(Instant::now() < deadline, "{counted} long turns");
        if counted >= TURNS {
            break counted;
        }
    };
    is_enough.store(true, Ordering::Relaxed);
    node.stop().wait();
    let text = String::from_utf8_lossy(&log.0.lock().expect("the log")).into_owned();
    let lines = text.matches("a process held up its shard").count() as u64;
    assert!((100..counted).contains(&lines), "{lines} lines of {counted} long turns");
}
