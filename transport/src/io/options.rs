//! The options that every distribution socket gets.

use std::io;
use std::os::fd::AsFd;

use krarup_tuning::option::SocketOption;
use socket2::SockRef;

/// Options set on a socket before it connects, or after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send small segments at once. The distribution batches by itself, so this is on by default.
    // OTP: kernel, inet_tcp_dist:setup_fam/7 and `dist_nodelay` set `nodelay` to true.
    pub nodelay: bool,
    /// Others, set after it in this order. A silent connection is probed unless they say otherwise.
    pub more: Vec<SocketOption>,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions { nodelay: true, more: Vec::new() }
    }
}

impl SocketOptions {
    /// Sets these options on a socket. Those that only TCP has are passed over on a Unix socket.
    ///
    /// # Errors
    /// What the kernel says to the first option it refuses, with the option's name; those before
    /// it are set.
    pub fn apply<'s, S>(&self, socket: &'s S) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        let socket = SockRef::from(socket);
        let always = [SocketOption::Nodelay(self.nodelay), SocketOption::Keepalive(true)];
        always.iter().chain(&self.more).try_for_each(|option| {
            option.apply(socket.as_fd()).map_err(|error| {
                let text = format!("cannot set socket option {}: {error}", option.name().as_str());
                io::Error::new(error.kind(), text)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_named_comes_after_what_is_always_set() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        SocketOptions::default().apply(&socket).expect("they are taken");
        assert!(SockRef::from(&socket).tcp_nodelay().expect("it is read"));
        assert!(SockRef::from(&socket).keepalive().expect("it is read"));
        let more = vec![SocketOption::Keepalive(false)];
        SocketOptions { nodelay: false, more }.apply(&socket).expect("they are taken");
        assert!(!SockRef::from(&socket).tcp_nodelay().expect("it is read"));
        assert!(!SockRef::from(&socket).keepalive().expect("it is read"));
    }

    #[test]
    fn a_unix_socket_takes_them_too() {
        let (socket, _other) = UnixStream::pair().expect("a pair");
        let more = vec![SocketOption::UserTimeout(1000)];
        SocketOptions { nodelay: true, more }.apply(&socket).expect("they are passed over");
    }

    #[test]
    fn what_is_refused_is_named() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let more = vec![SocketOption::Congestion("nosuch".parse().expect("a name"))];
        let error = SocketOptions { nodelay: true, more }.apply(&socket).expect_err("unknown");
        assert!(error.to_string().starts_with("cannot set socket option congestion: "), "{error}");
    }
}
