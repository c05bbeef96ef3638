//! A tokio program that talks to a node: handles and mailboxes work in any async runtime.
//!
//! ```text
//! $ cargo run --example from_tokio
//! 3 jobs done: ["lanes", "links", "ticks"]
//! ```

use std::error::Error;
use std::time::Duration;

use krarup::term::Pid;
use krarup::{Cookie, Node, Process, ProcessResult};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cookie = Cookie::new("tokio")?;
    // Starting binds sockets and starts threads, so it goes where blocking is welcome.
    let node = tokio::task::spawn_blocking(move || {
        Node::builder("tokio@127.0.0.1").cookie(cookie).start()
    })
    .await??;
    node.spawn_on(0, Some("upper"), upper).await?;
    let mut mailbox = node.mailbox(Some("results")).await?;
    for job in ["lanes", "links", "ticks"] {
        mailbox.send("upper", &(mailbox.pid(), job)).await?;
    }
    let mut done = Vec::new();
    while done.len() < 3 {
        let signal = tokio::time::timeout(Duration::from_secs(5), mailbox.recv()).await??;
        done.push(signal.message::<String>()?);
    }
    println!("{} jobs done: {done:?}", done.len());
    drop(mailbox);
    node.stop().await;
    Ok(())
}

async fn upper(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok((from, job)) = signal.message::<(Pid, String)>() {
            me.send(from, &job).await?;
        }
    }
    Ok(())
}
