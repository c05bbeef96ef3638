//! A node that answers an Erlang shell.
//!
//! ```text
//! $ cargo run --example hello
//! hello@127.0.0.1 listens, ask it from a shell:
//!   erl -name shell@127.0.0.1 -setcookie hello
//!   1> {hello, 'hello@127.0.0.1'} ! {self(), <<"Agner"/utf8>>}, receive Answer -> Answer end.
//!   {hello,<<"good day, Agner">>}
//! ```
//!
//! It ends when its standard input does.

use std::error::Error;
use std::io::Read;

use krarup::term::{Atom, Pid};
use krarup::{Cookie, Node, Process, ProcessResult};

fn main() -> Result<(), Box<dyn Error>> {
    let node = Node::builder("hello@127.0.0.1").cookie(Cookie::new("hello")?).start()?;
    node.spawn("hello", greet)?;
    println!("hello@127.0.0.1 listens, ask it from a shell:");
    println!("  erl -name shell@127.0.0.1 -setcookie hello");
    println!(
        "  1> {{hello, 'hello@127.0.0.1'}} ! {{self(), <<\"Agner\"/utf8>>}}, \
         receive Answer -> Answer end."
    );
    std::io::stdin().read_to_end(&mut Vec::new())?;
    node.stop().wait();
    Ok(())
}

async fn greet(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        // Text in the message is borrowed from the received frame.
        if let Ok((from, name)) = signal.message::<(Pid, &str)>() {
            let answer = format!("good day, {name}");
            me.send(from, &(Atom::from_static("hello"), answer)).await?;
        }
    }
    Ok(())
}
