//! Options as the kernel numbers them: Erlang's `{raw,Protocol,Option,Value}`.
//!
//! Only options that have a name here are known by their numbers too, with the bytes that
//! `setsockopt(2)` takes on Linux.

use super::{OptionName, SocketOption};

const SOL_SOCKET: u32 = 1;
const IPPROTO_IP: u32 = 0;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_IPV6: u32 = 41;

/// Protocol and number of each.
// Linux: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h.
const NUMBERS: &[(u32, u32, OptionName)] = &[
    (SOL_SOCKET, 2, OptionName::Reuseaddr),
    (SOL_SOCKET, 5, OptionName::Dontroute),
    (SOL_SOCKET, 7, OptionName::Sndbuf),
    (SOL_SOCKET, 8, OptionName::Recbuf),
    (SOL_SOCKET, 9, OptionName::Keepalive),
    (SOL_SOCKET, 12, OptionName::Priority),
    (SOL_SOCKET, 13, OptionName::Linger),
    (SOL_SOCKET, 46, OptionName::BusyPoll),
    (SOL_SOCKET, 49, OptionName::IncomingCpu),
    (IPPROTO_IP, 1, OptionName::Tos),
    (IPPROTO_TCP, 1, OptionName::Nodelay),
    (IPPROTO_TCP, 4, OptionName::Keepidle),
    (IPPROTO_TCP, 5, OptionName::Keepintvl),
    (IPPROTO_TCP, 6, OptionName::Keepcnt),
    (IPPROTO_TCP, 12, OptionName::Quickack),
    (IPPROTO_TCP, 13, OptionName::Congestion),
    (IPPROTO_TCP, 18, OptionName::UserTimeout),
    (IPPROTO_TCP, 25, OptionName::NotsentLowat),
    (IPPROTO_IPV6, 67, OptionName::Tclass),
];

/// The option with these numbers.
pub fn name(protocol: u32, option: u32) -> Option<OptionName> {
    let found = NUMBERS.iter().find(|(p, o, _)| (*p, *o) == (protocol, option));
    found.map(|(_, _, name)| *name)
}

/// The option `name` with the value that these bytes are to the kernel; nothing if they are none
/// of it.
pub fn from_bytes(name: OptionName, bytes: &[u8]) -> Option<SocketOption> {
    if name == OptionName::Congestion {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        return Some(SocketOption::Congestion(std::str::from_utf8(&bytes[..end]).ok()?.to_owned()));
    }
    let number = |at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(word))
    };
    let first = number(0)?;
    let byte = u8::try_from(first).ok();
    Some(match name {
        OptionName::Reuseaddr => SocketOption::Reuseaddr(first != 0),
        OptionName::Dontroute => SocketOption::Dontroute(first != 0),
        OptionName::Sndbuf => SocketOption::Sndbuf(first),
        OptionName::Recbuf => SocketOption::Recbuf(first),
        OptionName::Keepalive => SocketOption::Keepalive(first != 0),
        OptionName::Priority => SocketOption::Priority(first),
        OptionName::Linger => {
            let seconds = u16::try_from(number(4)?).ok()?;
            SocketOption::Linger((first != 0).then_some(seconds))
        }
        OptionName::BusyPoll => SocketOption::BusyPoll(first),
        OptionName::IncomingCpu => SocketOption::IncomingCpu(first),
        OptionName::Tos => SocketOption::Tos(byte?),
        OptionName::Tclass => SocketOption::Tclass(byte?),
        OptionName::Nodelay => SocketOption::Nodelay(first != 0),
        OptionName::Keepidle => SocketOption::Keepidle(first),
        OptionName::Keepintvl => SocketOption::Keepintvl(first),
        OptionName::Keepcnt => SocketOption::Keepcnt(first),
        OptionName::Quickack => SocketOption::Quickack(first != 0),
        OptionName::UserTimeout => SocketOption::UserTimeout(first),
        OptionName::NotsentLowat => SocketOption::NotsentLowat(first),
        _ => return None,
    })
}

/// The bytes that the kernel gives for an option; nothing for what is none of the kernel's.
pub fn to_bytes(option: &SocketOption) -> Option<Vec<u8>> {
    let number = match option {
        SocketOption::Reuseaddr(on)
        | SocketOption::Dontroute(on)
        | SocketOption::Keepalive(on)
        | SocketOption::Nodelay(on)
        | SocketOption::Quickack(on) => u32::from(*on),
        SocketOption::Sndbuf(number)
        | SocketOption::Recbuf(number)
        | SocketOption::Priority(number)
        | SocketOption::BusyPoll(number)
        | SocketOption::IncomingCpu(number)
        | SocketOption::Keepidle(number)
        | SocketOption::Keepintvl(number)
        | SocketOption::Keepcnt(number)
        | SocketOption::UserTimeout(number)
        | SocketOption::NotsentLowat(number) => *number,
        SocketOption::Tos(class) | SocketOption::Tclass(class) => u32::from(*class),
        SocketOption::Linger(seconds) => {
            let words = [u32::from(seconds.is_some()), seconds.map_or(0, u32::from)];
            return Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect());
        }
        SocketOption::Congestion(name) => {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(super::CONGESTION_NAME_MAX.max(bytes.len()), 0);
            return Some(bytes);
        }
        _ => return None,
    };
    Some(number.to_ne_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_number_has_bytes() {
        for &(protocol, number, name) in NUMBERS {
            assert_eq!(super::name(protocol, number), Some(name));
            let mut bytes = 1u32.to_ne_bytes().to_vec();
            bytes.extend(5u32.to_ne_bytes());
            if name == OptionName::Congestion {
                bytes = b"reno".to_vec();
            }
            let option = from_bytes(name, &bytes).unwrap();
            assert_eq!(option.name(), name);
            assert_eq!(from_bytes(name, &to_bytes(&option).unwrap()), Some(option));
        }
        assert_eq!(super::name(6, 999), None);
        assert_eq!(from_bytes(OptionName::Nodelay, &[1]), None);
        assert_eq!(to_bytes(&SocketOption::Buffer(1)), None);
    }
}
