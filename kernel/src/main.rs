//! The `krarup` command.
fn main() {}
