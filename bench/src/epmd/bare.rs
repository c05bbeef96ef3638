//! The floor for an epmd: accept, read once, answer, close. It looks at nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use super::clients::PORT;
use crate::error::Error;
use crate::protocol::{Event, tell};

/// Longest request it reads.
const REQUEST_BYTES: usize = 512;

/// Serves until it is killed.
pub(super) fn serve(port: u16) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(Error::io(format!("cannot listen on port {port}")))?;
    tell(&Event::Ready { node: String::new(), port, version: None })?;
    let answer = answer();
    let mut request = [0; REQUEST_BYTES];
    loop {
        let (mut stream, _) = listener.accept().map_err(Error::io("cannot accept"))?;
        // A client that went away is its own affair.
        if matches!(stream.read(&mut request), Ok(count) if count > 0) {
            let _ = stream.write_all(&answer);
        }
    }
}

/// PORT2_RESP for some node: tag, result, port, type, protocol, versions, name, extra.
fn answer() -> Vec<u8> {
    let mut answer = vec![119, 0];
    answer.extend_from_slice(&PORT.to_be_bytes());
    answer.extend_from_slice(&[77, 0, 0, 6, 0, 5]);
    let name = b"bench-12345";
    answer.extend_from_slice(&[0, name.len() as u8]);
    answer.extend_from_slice(name);
    answer.extend_from_slice(&[0, 0]);
    answer
}
