//! `krarup-bench`: round trips and streams beside the socket floor and real BEAM nodes.
fn main() {}
