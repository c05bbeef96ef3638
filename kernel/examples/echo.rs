//! Two nodes in one program: one echoes, the other measures the round trip.
//!
//! ```text
//! $ cargo run --release --example echo
//! 2000 round trips, median 12.3 µs
//! ```

use std::error::Error;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::term::Pid;
use krarup::{Cookie, Node, Process, ProcessResult};

const ROUND_TRIPS: usize = 2_000;
/// Two busy threads of one process wake each other slowly, so neither should sleep in between.
const SPIN: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn Error>> {
    let cookie = Cookie::new("echo")?;
    let node = |name| Node::builder(name).cookie(cookie.clone()).spin(SPIN).start();
    let (server, client) = (node("server@127.0.0.1")?, node("client@127.0.0.1")?);
    server.spawn("mirror", mirror)?;
    let (done, times) = mpsc::channel();
    client.spawn("prober", move |me| async move {
        done.send(probe(me).await?)?;
        Ok(())
    })?;
    let mut times = times.recv()?;
    times.sort_unstable();
    let median_us = times[times.len() / 2] as f64 / 1000.0;
    println!("{ROUND_TRIPS} round trips, median {median_us:.1} µs");
    client.stop().wait();
    server.stop().wait();
    Ok(())
}

async fn mirror(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok((from, number)) = signal.message::<(Pid, u64)>() {
            me.send(from, &number).await?;
        }
    }
    Ok(())
}

/// The times of all round trips, in nanoseconds.
async fn probe(mut me: Process) -> Result<Vec<u128>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for number in 0..ROUND_TRIPS as u64 {
        let sent = Instant::now();
        me.send(("mirror", "server@127.0.0.1"), &(me.pid(), number)).await?;
        let answer: u64 = me.recv().await?.message()?;
        assert_eq!(answer, number, "answers come in order");
        times.push(sent.elapsed().as_nanos());
    }
    Ok(times)
}
