//! A name server in the test's hands.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records of one answer by UDP; with more of them it is cut, to be asked for by TCP.
const UDP_RECORDS_MAX: usize = 4;
const A: u16 = 1;
const SRV: u16 = 33;

type Records = HashMap<(String, u16), Vec<Vec<u8>>>;

#[derive(Default)]
struct Zone {
    records: Mutex<Records>,
    is_mute: AtomicBool,
    has_ended: AtomicBool,
    asked_by_tcp: AtomicUsize,
}

impl Zone {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers for the names that it was given, by UDP and TCP at one port of loopback; any other name
/// does not exist. It ends with this value.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Zone>,
}

impl NameServer {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub fn start() -> Self {
        let (udp, tcp) = (0..100).find_map(|_| both()).expect("a port free for both protocols");
        let address = udp.local_addr().expect("it is bound");
        let zone = Arc::<Zone>::default();
        udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a time");
        let of_udp = Arc::clone(&zone);
        std::thread::spawn(move || serve_udp(&udp, &of_udp));
        let of_tcp = Arc::clone(&zone);
        std::thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                if of_tcp.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                serve_tcp(stream, &of_tcp);
            }
        });
        Self { address, zone }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name these IPv4 addresses in place of those it had.
    pub fn set_addresses<const N: usize>(&self, name: &str, addresses: [[u8; 4]; N]) {
        let records = addresses.iter().map(|address| address.to_vec()).collect();
        self.zone.records().insert((name.to_owned(), A), records);
    }

    /// Gives a name these services, targets and ports, in place of those it had.
    pub fn set_services<const N: usize>(&self, name: &str, services: [(&str, u16); N]) {
        let service = |(target, port): &(&str, u16)| {
            [&[0, 1, 0, 1][..], &port.to_be_bytes(), &labels(target)].concat()
        };
        let records = services.iter().map(service).collect();
        self.zone.records().insert((name.to_owned(), SRV), records);
    }

    /// Whether it leaves questions without an answer from now on.
    pub fn be_mute(&self, mute: bool) {
        self.zone.is_mute.store(mute, Ordering::SeqCst);
    }

    /// Questions that came by TCP.
    pub fn asked_by_tcp(&self) -> usize {
        self.zone.asked_by_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.zone.has_ended.store(true, Ordering::SeqCst);
        // So that it looks.
        drop(TcpStream::connect(self.address));
    }
}

fn both() -> Option<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
    Some((udp, tcp))
}

fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut buffer = [0; 512];
    while !zone.has_ended.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if zone.is_mute.load(Ordering::SeqCst) {
            continue;
        }
        if let Some(answer) = answer(&buffer[..length], zone, UDP_RECORDS_MAX) {
            // Whoever asked may have gone.
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(mut stream: TcpStream, zone: &Zone) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).ok()?;
    zone.asked_by_tcp.fetch_add(1, Ordering::SeqCst);
    let answer = answer(&question, zone, usize::MAX)?;
    let length = u16::try_from(answer.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).ok()
}

/// The answer to a message with one question.
fn answer(question: &[u8], zone: &Zone, records_max: usize) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(question.get(at..at + length)?).ok()?);
        at += length;
    }
    let asked_type = u16::from_be_bytes(question.get(at..at + 2)?.try_into().ok()?);
    let zone = zone.records();
    let is_there = zone.keys().any(|(known, _)| *known == name);
    let records = zone.get(&(name, asked_type)).map(Vec::as_slice).unwrap_or_default();
    let is_cut = records.len() > records_max;
    let records = if is_cut { &[] } else { records };
    let flags: u16 = match (is_there, is_cut) {
        (false, _) => 0x8183,
        (true, false) => 0x8180,
        (true, true) => 0x8380,
    };
    let mut out = question.get(..2)?.to_vec();
    for word in [flags, 1, u16::try_from(records.len()).ok()?, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(question.get(12..at + 4)?);
    for record in records {
        // The name of the question.
        for word in [0xc00c, asked_type, 1, 0, 1, u16::try_from(record.len()).ok()?] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(record);
    }
    Some(out)
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a short label"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
