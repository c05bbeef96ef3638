//! `rust-node NAME [never | once]`: a Krarup node with the functions of the suites, in a process of
//! its own, so that it can be killed; the second argument is its `dist_auto_connect`. It says when
//! it is ready, and ends with its standard input.

use std::error::Error;
use std::io::Read;

use krarup::AutoConnect;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("the name of the node is missing")?;
    let auto_connect = match arguments.next().as_deref() {
        None => AutoConnect::Always,
        Some("never") => AutoConnect::Never,
        Some("once") => AutoConnect::Once,
        Some(other) => return Err(format!("{other:?} is no value of dist_auto_connect").into()),
    };
    let node = krarup_tests::start_rust_node(&name, auto_connect)?;
    println!("ready {name}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    node.stop().wait();
    Ok(())
}
