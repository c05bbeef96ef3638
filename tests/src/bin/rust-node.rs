//! `rust-node NAME`: a Krarup node with the functions of the suites, in a process of its own, so that
//! it can be killed. It says when it is ready, and ends with its standard input.

use std::error::Error;
use std::io::Read;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("the name of the node is missing")?;
    let node = krarup_tests::start_rust_node(&name)?;
    println!("ready {name}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    node.stop().wait();
    Ok(())
}
