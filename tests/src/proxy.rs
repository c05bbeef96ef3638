//! A relay of TCP connections between two nodes, which can do to them what networks do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Bytes relayed at one time.
const CHUNK_BYTES: usize = 64 << 10;
/// How often a relay that has nothing to do looks for orders.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A connection that has been busy for so long is taken for one that is used in one direction.
const ONE_WAY: Duration = Duration::from_millis(200);
/// How long connecting to the target may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Relays each connection made to its port to a target.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    live: Mutex<Vec<Arc<Relay>>>,
    accepted: AtomicUsize,
    /// Nothing is relayed, and new connections wait.
    held: AtomicBool,
    /// Bytes towards the target until one of them is changed; negative for never.
    flip_in: AtomicI64,
    /// The byte towards the target that is changed on each connection; negative for none.
    flip_each: AtomicI64,
    ended: AtomicBool,
}

/// The two halves of one relayed connection.
struct Relay {
    client: TcpStream,
    target: TcpStream,
    /// Bytes relayed to the target and back.
    relayed: [AtomicU64; 2],
    begun: Instant,
}

impl Proxy {
    /// Starts to relay to `target`, at a free port of the loopback interface.
    ///
    /// # Panics
    ///
    /// When there is no port to be had.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target,
            live: Mutex::default(),
            accepted: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            flip_in: AtomicI64::new(-1),
            flip_each: AtomicI64::new(-1),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                accepting.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.begin(client));
            }
        });
        Self { address, shared }
    }

    /// The port to connect to instead of the target's.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections made so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are being relayed.
    pub fn live(&self) -> usize {
        self.shared.lock().len()
    }

    /// Ends a connection as a reset does, on both sides; what is under way is lost. It takes one
    /// that has relayed at least so many bytes in each direction, or in one while the other had
    /// long enough to; false when there is none.
    pub fn reset_one(&self, relayed_bytes_min: u64) -> bool {
        let mut live = self.shared.lock();
        let enough = |relay: &Arc<Relay>| {
            let [to_target, back] = &relay.relayed;
            let [there, back] =
                [to_target, back].map(|bytes| bytes.load(Ordering::Relaxed) >= relayed_bytes_min);
            there && back || (there || back) && relay.begun.elapsed() >= ONE_WAY
        };
        let Some(at) = live.iter().position(enough) else { return false };
        live.swap_remove(at).reset();
        true
    }

    /// Ends all live connections as a reset does.
    pub fn reset_all(&self) {
        for relay in self.shared.lock().drain(..) {
            relay.reset();
        }
    }

    /// Relays nothing until [`Proxy::release`]; new connections are accepted and wait.
    pub fn hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
    }

    /// Goes on relaying.
    pub fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
    }

    /// Changes one bit of the byte that comes after so many others towards the target, counted over
    /// all connections.
    pub fn flip_bit_after(&self, bytes: u32) {
        self.shared.flip_in.store(bytes.into(), Ordering::SeqCst);
    }

    /// Changes one bit of the byte that comes after so many others towards the target, on each
    /// connection that has not got as far.
    pub fn flip_bit_of_each_after(&self, bytes: u32) {
        self.shared.flip_each.store(bytes.into(), Ordering::SeqCst);
    }

    /// Whether the bit has been changed.
    pub fn has_flipped(&self) -> bool {
        self.shared.flip_in.load(Ordering::SeqCst) < 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.reset_all();
        // Ends the wait for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Relay {
    fn reset(&self) {
        for socket in [&self.client, &self.target] {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            // The relaying threads hold the descriptors and close them when this wakes them.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Relay>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while_held(&self) {
        while self.held.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn begin(self: Arc<Self>, client: TcpStream) {
        self.wait_while_held();
        let Ok(target) = TcpStream::connect_timeout(&self.target, CONNECT) else { return };
        let _ = (client.set_nodelay(true), target.set_nodelay(true));
        let relay =
            Arc::new(Relay { client, target, relayed: Default::default(), begun: Instant::now() });
        self.lock().push(Arc::clone(&relay));
        let (shared, back) = (Arc::clone(&self), Arc::clone(&relay));
        let answers = std::thread::spawn(move || {
            let [_, relayed] = &back.relayed;
            shared.relay(&back.target, &back.client, relayed, false);
        });
        let [relayed, _] = &relay.relayed;
        self.relay(&relay.client, &relay.target, relayed, true);
        let _ = answers.join();
        self.lock().retain(|other| !Arc::ptr_eq(other, &relay));
    }

    /// Relays one direction until its end, which it hands on.
    fn relay(
        &self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        relayed: &AtomicU64,
        to_target: bool,
    ) {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = read(&mut from, &mut buffer) {
            self.wait_while_held();
            if to_target {
                self.flip(&mut buffer[..count]);
                self.flip_of_each(&mut buffer[..count], relayed.load(Ordering::Relaxed));
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
            relayed.fetch_add(count as u64, Ordering::Relaxed);
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    fn flip_of_each(&self, chunk: &mut [u8], relayed: u64) {
        let at = u64::try_from(self.flip_each.load(Ordering::SeqCst)).ok();
        let at = at.and_then(|at| usize::try_from(at.checked_sub(relayed)?).ok());
        if let Some(byte) = at.and_then(|at| chunk.get_mut(at)) {
            *byte ^= 0x10;
        }
    }

    fn flip(&self, chunk: &mut [u8]) {
        let length = i64::try_from(chunk.len()).expect("a chunk is short");
        let left = self.flip_in.load(Ordering::SeqCst);
        if left < 0 {
            return;
        }
        if left < length {
            chunk[usize::try_from(left).expect("not negative")] ^= 0x10;
            self.flip_in.store(-1, Ordering::SeqCst);
        } else {
            self.flip_in.store(left - length, Ordering::SeqCst);
        }
    }
}

fn read(from: &mut &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::until;

    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || io::copy(&mut &client, &mut &client));
            }
        });
        address
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("it accepts");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket
    }

    fn ask(socket: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
        socket.write_all(question)?;
        let mut answer = vec![0; question.len()];
        socket.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_go_both_ways_until_the_connection_is_reset() {
        let proxy = Proxy::start(echo_server());
        let mut socket = connect(&proxy);
        assert_eq!(ask(&mut socket, b"hello").ok().as_deref(), Some(&b"hello"[..]));
        assert!(!proxy.reset_one(6), "it has relayed less");
        // It counts what it has written after the answer is there.
        until("a connection to reset", Duration::from_secs(20), || {
            proxy.reset_one(5).then_some(())
        });
        assert!(ask(&mut socket, b"hello").is_err());
        until("the connection is forgotten", Duration::from_secs(20), || {
            (proxy.live() == 0).then_some(())
        });
        assert!(!proxy.reset_one(0));
    }

    #[test]
    fn what_is_held_comes_later_and_one_bit_may_differ() {
        let proxy = Proxy::start(echo_server());
        proxy.hold();
        let mut socket = connect(&proxy);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        assert!(ask(&mut socket, b"held").is_err(), "nothing comes");
        proxy.flip_bit_after(2);
        proxy.release();
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).expect("it comes");
        assert_eq!(&answer, b"he|d");
        assert!(proxy.has_flipped());
    }
}
