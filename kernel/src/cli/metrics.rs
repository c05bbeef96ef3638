//! `krarup node --metrics ADDR`: what the node counts, for Prometheus, and whether it is well.
//!
//! A small HTTP server on threads of its own: it answers also when a shard does not.

mod page;
mod request;

use request::{Method, Request};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use krarup::Node;

/// Requests answered at one time; one more is refused.
const CLIENTS_MAX: usize = 16;
/// A client has so long for its request, and for taking the answer.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// Bytes of a request, which has no body.
const REQUEST_BYTES_MAX: usize = 8192;
/// Bytes that are read and thrown away behind a request, so that closing does not take the answer
/// back from a client that still sends.
const LEFT_OVER_BYTES_MAX: usize = 256 << 10;
/// The shards have so long to say that they are well.
const HEALTH_TIME: Duration = Duration::from_secs(1);
/// The shards have so long for their counters.
const COUNTERS_TIME: Duration = Duration::from_secs(3);

/// Serves until the process ends.
pub(super) fn serve(address: SocketAddr, node: Node) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    let clients = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else {
                // Out of descriptors: whoever closes one makes room.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if clients.fetch_add(1, Ordering::SeqCst) >= CLIENTS_MAX {
                clients.fetch_sub(1, Ordering::SeqCst);
                refuse(client);
                continue;
            }
            let (node, busy) = (node.clone(), Arc::clone(&clients));
            let answered = std::thread::Builder::new().name("metrics".into()).spawn(move || {
                if let Err(error) = serve_client(client, &node) {
                    tracing::debug!(%error, "a request for metrics was not answered");
                }
                busy.fetch_sub(1, Ordering::SeqCst);
            });
            if answered.is_err() {
                clients.fetch_sub(1, Ordering::SeqCst);
            }
        }
    })?;
    Ok(local)
}

/// What is sent back.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    /// Header lines beyond those that each answer has.
    more: &'static str,
    body: String,
}

impl Answer {
    fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, more: "", body: body.into() }
    }

    fn to_bytes(&self, with_body: bool) -> Vec<u8> {
        let Self { status, more, body } = self;
        let length = body.len();
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\n{more}Connection: close\r\n\r\n"
        );
        if with_body {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

/// Tells one client too many that it is, if that takes no time.
fn refuse(mut client: TcpStream) {
    let answer = Answer::new("503 Service Unavailable", "too many requests at a time\n");
    if client.set_nonblocking(true).is_ok() {
        let _ = client.write(&answer.to_bytes(true));
    }
}

fn serve_client(mut client: TcpStream, node: &Node) -> io::Result<()> {
    let read = read_request(&mut client)?;
    let (answer, with_body) = match &read {
        Ok(request) => (answer(node, request), request.method != Method::Head),
        Err(answer) => (Answer { body: answer.body.clone(), ..*answer }, true),
    };
    let end = Instant::now() + CLIENT_TIME;
    let bytes = answer.to_bytes(with_body);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        client.set_write_timeout(Some(left(end)?))?;
        let written = client.write(rest)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[written..];
    }
    client.shutdown(Shutdown::Write)?;
    let mut buffer = [0; 4096];
    let mut left_over = 0;
    while left_over < LEFT_OVER_BYTES_MAX {
        client.set_read_timeout(Some(left(end)?))?;
        match client.read(&mut buffer)? {
            0 => break,
            n => left_over += n,
        }
    }
    Ok(())
}

/// The time until `end`.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads up to the end of the header, or what to answer to that which is none.
fn read_request(client: &mut TcpStream) -> io::Result<Result<Request, Answer>> {
    let end = Instant::now() + CLIENT_TIME;
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        client.set_read_timeout(Some(left(end)?))?;
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
        if request::is_complete(&bytes) {
            let wrong = Answer::new("400 Bad Request", "expected METHOD PATH HTTP/1.x\n");
            return Ok(Request::parse(&bytes).ok_or(wrong));
        }
        if bytes.len() > REQUEST_BYTES_MAX {
            let why = format!("a request has {REQUEST_BYTES_MAX} bytes at most\n");
            return Ok(Err(Answer::new("431 Request Header Fields Too Large", why)));
        }
    }
}

fn answer(node: &Node, request: &Request) -> Answer {
    if request.method == Method::Other {
        let more = "Allow: GET, HEAD\r\n";
        return Answer { more, ..Answer::new("405 Method Not Allowed", "only GET and HEAD\n") };
    }
    match request.path.as_str() {
        "/metrics" => match page::page(node, COUNTERS_TIME) {
            Some(page) => Answer::new("200 OK", page),
            None => unavailable("a shard does not answer; see /healthz"),
        },
        "/healthz" => match silent_shards(node) {
            silent if silent.is_empty() => Answer::new("200 OK", "ok\n"),
            silent => unavailable(&format!("no answer within {HEALTH_TIME:?} of shard {silent}")),
        },
        "/readyz" if !node.is_alive() => unavailable("not alive"),
        "/readyz" if !node.is_registered() => unavailable("not registered with epmd"),
        "/readyz" => Answer::new("200 OK", "ready\n"),
        _ => Answer::new("404 Not Found", "try /metrics, /healthz, /readyz\n"),
    }
}

fn unavailable(why: &str) -> Answer {
    Answer::new("503 Service Unavailable", format!("{why}\n"))
}

/// The shards that do not answer in time, with commas between them.
fn silent_shards(node: &Node) -> String {
    let end = Instant::now() + HEALTH_TIME;
    let silent: Vec<String> = node
        .answer_times()
        .into_iter()
        .map(|answer| answer.wait_for(end.saturating_duration_since(Instant::now())).flatten())
        .enumerate()
        .filter(|(_, answer)| answer.is_none())
        .map(|(shard, _)| shard.to_string())
        .collect();
    silent.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use krarup::Cookie;
    use krarup::epmd::EpmdMode;

    use super::*;

    #[test]
    fn a_node_with_a_shard_that_stands_still_is_not_well() {
        let cookie = Cookie::new("secret").expect("a cookie");
        let node = Node::builder("still@127.0.0.1").cookie(cookie).epmd(EpmdMode::None).shards(1);
        let node = node.start().expect("the node starts");
        let address = serve("127.0.0.1:0".parse().expect("an address"), node.clone());
        let address = address.expect("it is served");
        let ask = |path: &str| {
            let mut client = TcpStream::connect(address).expect("it is served");
            write!(client, "GET {path} HTTP/1.1\r\n\r\n").expect("a request");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
            format!("{} {body}", head.lines().next().unwrap_or_default())
        };
        let well = "HTTP/1.1 200 OK ok\n";
        assert_eq!(ask("/healthz"), well);
        let (hold, held) = mpsc::channel::<()>();
        let (say, said) = mpsc::channel();
        let stuck = node.spawn("stuck", move |mut me| async move {
            // Whoever spawns it waits for its first turn.
            let _ = me.recv_timeout(Duration::from_millis(1)).await?;
            say.send(())?;
            // As a process must not: its shard stands still.
            let _ = held.recv();
            Ok(())
        });
        stuck.expect("a process");
        said.recv().expect("it runs");
        let still = "HTTP/1.1 503 Service Unavailable no answer within 1s of shard 0\n";
        assert_eq!(ask("/healthz"), still);
        assert!(ask("/metrics").starts_with("HTTP/1.1 503 "));
        drop(hold);
        assert_eq!(ask("/healthz"), well);
        node.stop().wait();
    }
}
