//! What wakes a process, whatever it waits in.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node, Process};

const PATIENCE: Duration = Duration::from_secs(20);

/// A future within a task that is polled only when it was woken itself, as those of a
/// `FuturesUnordered` are.
struct Apart<F> {
    future: F,
    woken: Arc<Woken>,
}

struct Woken {
    is_due: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_due.store(true, Ordering::SeqCst);
        self.task.lock().expect("no panic").wake_by_ref();
    }
}

impl<F: Future + Unpin> Apart<F> {
    async fn run(future: F) -> F::Output {
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let woken = Woken { is_due: AtomicBool::new(true), task: Mutex::new(task) };
        Apart { future, woken: Arc::new(woken) }.await
    }
}

impl<F: Future + Unpin> Future for Apart<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.woken.task.lock().expect("no panic").clone_from(cx.waker());
        if !self.woken.is_due.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

fn node() -> Node {
    let cookie = Cookie::new("secret").expect("a cookie");
    let node = Node::builder("wakers@127.0.0.1").cookie(cookie).epmd(EpmdMode::None);
    node.start().expect("the node starts")
}

/// Receives a number, in the process itself or in a future apart.
async fn number(me: &mut Process, apart: bool) -> u64 {
    let signal = if apart { Apart::run(me.recv()).await } else { me.recv().await };
    signal.expect("the node runs").message().expect("a number")
}

#[test]
fn a_process_is_woken_whatever_it_waits_in() {
    let node = node();
    let (told, heard) = mpsc::channel();
    let receiver = node.spawn("receiver", move |mut me| async move {
        for round in 0_u64.. {
            // Now and then several of one kind behind each other.
            told.send(number(&mut me, round % 7 < 2 || round % 2 == 1).await)?;
        }
        Ok(())
    });
    let receiver = receiver.expect("a process");
    let mailbox = node.mailbox(None).wait().expect("a mailbox");
    for number in 0..500_u64 {
        wait(mailbox.send(receiver.clone(), &number)).expect("sent");
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(number));
    }
    node.stop().wait();
}

/// Waits for a future of no executor in this thread.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return output;
        }
        std::thread::yield_now();
    }
}
