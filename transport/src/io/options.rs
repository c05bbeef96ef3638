//! The options that every distribution socket gets.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use krarup_tuning::option::SocketOption;
use socket2::SockRef;

/// Bytes not yet sent with which a socket to another host takes no more, unless an option says
/// otherwise. A small message overtakes what waits in the link, and not what waits in the kernel.
const NOTSENT_LOWAT_BETWEEN_HOSTS: u32 = 128 * 1024;

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
    /// Sets these options on a socket to `peer`; none for a Unix socket, on which those that only
    /// TCP has are passed over.
    ///
    /// # Errors
    /// What the kernel says to the first option it refuses, with the option's name; those before
    /// it are set.
    pub fn apply<'s, S>(&self, socket: &'s S, peer: Option<IpAddr>) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        let socket = SockRef::from(socket);
        let always = [SocketOption::Nodelay(self.nodelay), SocketOption::Keepalive(true)];
        let is_between_hosts = peer.is_some_and(|address| !address.is_loopback());
        let lowat =
            is_between_hosts.then_some(SocketOption::NotsentLowat(NOTSENT_LOWAT_BETWEEN_HOSTS));
        always.iter().chain(&lowat).chain(&self.more).try_for_each(|option| {
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

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn socket() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a port")
    }

    #[test]
    fn what_is_named_comes_after_what_is_always_set() {
        let socket = socket();
        SocketOptions::default().apply(&socket, HERE).expect("they are taken");
        assert!(SockRef::from(&socket).tcp_nodelay().expect("it is read"));
        assert!(SockRef::from(&socket).keepalive().expect("it is read"));
        let more = vec![SocketOption::Keepalive(false)];
        SocketOptions { nodelay: false, more }.apply(&socket, HERE).expect("they are taken");
        assert!(!SockRef::from(&socket).tcp_nodelay().expect("it is read"));
        assert!(!SockRef::from(&socket).keepalive().expect("it is read"));
    }

    #[test]
    fn little_waits_in_a_socket_to_another_host() {
        let elsewhere = "192.0.2.1".parse().ok();
        let lowat_of = |options: &SocketOptions, peer| {
            let socket = socket();
            options.apply(&socket, peer).expect("they are taken");
            SockRef::from(&socket).tcp_notsent_lowat().expect("it is read")
        };
        let unlimited = SockRef::from(&socket()).tcp_notsent_lowat().expect("it is read");
        let balanced = SocketOptions::default();
        assert_eq!(lowat_of(&balanced, HERE), unlimited);
        assert_eq!(lowat_of(&balanced, elsewhere), NOTSENT_LOWAT_BETWEEN_HOSTS);
        let more = vec![SocketOption::NotsentLowat(1 << 20)];
        assert_eq!(lowat_of(&SocketOptions { nodelay: true, more }, elsewhere), 1 << 20);
    }

    #[test]
    fn a_unix_socket_takes_them_too() {
        let (socket, _other) = UnixStream::pair().expect("a pair");
        let more = vec![SocketOption::UserTimeout(1000)];
        SocketOptions { nodelay: true, more }.apply(&socket, None).expect("they are passed over");
    }

    #[test]
    fn what_is_refused_is_named() {
        let more = vec![SocketOption::Congestion("nosuch".parse().expect("a name"))];
        let options = SocketOptions { nodelay: true, more };
        let error = options.apply(&socket(), HERE).expect_err("it is unknown");
        assert!(error.to_string().starts_with("cannot set socket option congestion: "), "{error}");
    }
}
