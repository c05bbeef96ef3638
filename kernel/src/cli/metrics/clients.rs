//! Which clients are served, and who makes room for whom.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clients at one time.
const CLIENTS_MAX: usize = 16;
/// Threads, with those of clients that were cut off and have not noticed yet.
const THREADS_MAX: usize = 4 * CLIENTS_MAX;

/// All clients. Whoever says nothing, or does not take the answer, makes room for the next one:
/// those that hold connections must not keep the probes of an orchestrator away.
#[derive(Debug, Default)]
pub(super) struct Clients {
    served: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    /// Those that were admitted and whose [`Client`] is still there.
    threads: usize,
    next: u64,
    /// The one that came first is in front.
    clients: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    stream: Arc<TcpStream>,
    /// Its answer is being made, which does not wait for the client.
    is_answered: bool,
}

/// A client that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Client {
    all: Arc<Clients>,
    number: u64,
    stream: Arc<TcpStream>,
}

impl Clients {
    /// Takes one more. Gives it back when there is no room, and nobody to cut off.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream) -> Result<Client, TcpStream> {
        let mut served = self.lock();
        if served.threads >= THREADS_MAX {
            return Err(stream);
        }
        if served.clients.len() >= CLIENTS_MAX {
            let oldest = served.clients.iter().position(|client| !client.is_answered);
            let Some(gone) = oldest.and_then(|at| served.clients.remove(at)) else {
                return Err(stream);
            };
            // Its thread waits for the socket and sees the end. It may have been there already.
            let _ = gone.stream.shutdown(Shutdown::Both);
        }
        let (number, stream) = (served.next, Arc::new(stream));
        served.next += 1;
        served.threads += 1;
        let entry = Entry { number, stream: Arc::clone(&stream), is_answered: false };
        served.clients.push_back(entry);
        drop(served);
        Ok(Client { all: Arc::clone(self), number, stream })
    }

    fn lock(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Makes an answer, during which the client is not cut off. Nothing if it has been before.
    pub(super) fn answered<T>(&self, make: impl FnOnce() -> T) -> Option<T> {
        if !self.set_answered(true) {
            return None;
        }
        let answer = make();
        self.set_answered(false);
        Some(answer)
    }

    fn set_answered(&self, is_answered: bool) -> bool {
        let mut served = self.all.lock();
        let mine = served.clients.iter_mut().find(|client| client.number == self.number);
        mine.map(|client| client.is_answered = is_answered).is_some()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut served = self.all.lock();
        served.threads -= 1;
        served.clients.retain(|client| client.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn who_waits_longest_makes_room() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = listener.local_addr().expect("its address");
        let connect = || {
            let theirs = TcpStream::connect(address).expect("a connection");
            (theirs, listener.accept().expect("the other end").0)
        };
        let clients = Arc::new(Clients::default());
        let mut all: VecDeque<(TcpStream, Client)> = VecDeque::new();
        for _ in 0..CLIENTS_MAX {
            let (theirs, ours) = connect();
            all.push_back((theirs, clients.admit(ours).expect("room")));
        }
        // The first is being answered; the second is cut off for one more.
        let more = all[0].1.answered(|| {
            let (theirs, ours) = connect();
            (theirs, clients.admit(ours).expect("room"))
        });
        all.push_back(more.expect("it is served"));
        assert_eq!(all[1].0.read(&mut [0]).expect("the end"), 0);
        assert_eq!(all[1].1.answered(|| ()), None);
        assert_eq!(all[2].1.answered(|| ()), Some(()));
        // Clients that have been cut off count as long as their threads have not seen it.
        while all.len() < THREADS_MAX {
            let (theirs, ours) = connect();
            all.push_back((theirs, clients.admit(ours).expect("room")));
        }
        assert!(clients.admit(connect().1).is_err());
        all.pop_front();
        assert!(clients.admit(connect().1).is_ok());
        all.clear();
        assert_eq!(clients.lock().threads, 0);
        assert!(clients.lock().clients.is_empty());
        for _ in 0..CLIENTS_MAX {
            let (theirs, ours) = connect();
            let client = clients.admit(ours).expect("room");
            assert!(client.set_answered(true));
            all.push_back((theirs, client));
        }
        assert!(clients.admit(connect().1).is_err(), "all are being answered");
    }
}
