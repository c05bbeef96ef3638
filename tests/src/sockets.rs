//! The sockets of other processes, to do to them what these never would.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::until;

const SOON: Duration = Duration::from_secs(20);

/// Which of the sockets at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that accepts connections.
    Listens,
    /// A connection whose other end has the port.
    Connected,
}

/// A process' TCP socket, shared with it: what is done to it here is done to it there.
/// Needs the right to trace that process.
///
/// # Panics
///
/// When there is none in time.
pub fn socket_of(process: u32, role: Role, port: u16) -> Socket {
    let what = format!("process {process} has a socket at port {port}: {role:?}");
    until(&what, SOON, || sockets_of(process).into_iter().find(|socket| fits(socket, role, port)))
}

fn fits(socket: &Socket, role: Role, port: u16) -> bool {
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    let peer = socket.peer_addr().ok().and_then(|address| address.as_socket());
    match (role, local, peer) {
        (Role::Listens, Some(local), None) => local.port() == port,
        (Role::Connected, Some(_), Some(peer)) => peer.port() == port,
        _ => false,
    }
}

fn sockets_of(process: u32) -> Vec<Socket> {
    let raw = i32::try_from(process).expect("a process id");
    let process_fd = pidfd_open(Pid::from_raw(raw).expect("not zero"), PidfdFlags::empty());
    let process_fd = process_fd.expect("the process runs");
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let mut sockets = Vec::new();
    for entry in descriptors.flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number
            && target.to_string_lossy().starts_with("socket:")
            && let Ok(descriptor) = pidfd_getfd(&process_fd, number, PidfdGetfdFlags::empty())
        {
            sockets.push(Socket::from(descriptor));
        }
    }
    sockets
}
