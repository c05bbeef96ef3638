//! Tests of sockets, listeners, waits and the probe.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::*;
use crate::shard::{Executors, ExecutorsConfig};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs a future in an executor of its own.
fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
    body: impl Fn() -> F + Clone + Send + 'static,
) -> T {
    let executors =
        Executors::start(&ExecutorsConfig::default(), vec![()], move |_, ()| body()).unwrap();
    executors.join().pop().unwrap().unwrap()
}

fn listener() -> Listener {
    Listener::bind(&ListenConfig { address: LOOPBACK, ..ListenConfig::default() }).unwrap()
}

#[test]
fn bytes_go_both_ways_over_tcp_and_unix() {
    run(|| async {
        let listener = listener();
        let address = SocketAddr::new(LOOPBACK, listener.port());
        let options = SocketOptions::default();
        let client = Socket::connect(address, &options, PATIENCE).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, PeerAddress::Tcp(client.local_address().unwrap().unwrap()));
        assert!(client.options().tcp_nodelay().unwrap());
        assert!(client.options().keepalive().unwrap());
        let unix = Socket::pair().unwrap();
        for (left, right) in [(client, server), unix] {
            left.send_all(b"there").await.unwrap();
            let mut buffer = [0; 16];
            assert_eq!(right.recv(&mut buffer).await.unwrap(), 5);
            right.send_all(b"and back").await.unwrap();
            assert_eq!(left.recv(&mut buffer).await.unwrap(), 8);
            assert_eq!(left.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            right.shutdown(std::net::Shutdown::Both);
            assert_eq!(left.recv(&mut buffer).await.unwrap(), 0);
        }
    });
}

#[test]
fn a_wait_that_is_dropped_loses_nothing() {
    run(|| async {
        let (left, right) = Socket::pair().unwrap();
        for _ in 0..100 {
            assert!(left.wait_readable().now_or_never().is_none());
        }
        right.send_all(b"x").await.unwrap();
        left.wait_readable().await.unwrap();
        assert_eq!(left.recv(&mut [0; 4]).await.unwrap(), 1);
    });
}

#[test]
fn a_full_socket_is_writable_again_when_the_peer_reads() {
    run(|| async {
        let (left, right) = Socket::pair().unwrap();
        let bytes = vec![7; 2 << 20];
        let (sent, received) = futures_util::future::join(left.send_all(&bytes), async {
            let mut total = 0;
            let mut buffer = vec![0; 65_536];
            while total < 2 << 20 {
                total += right.recv(&mut buffer).await.unwrap();
            }
            total
        })
        .await;
        sent.unwrap();
        assert_eq!(received, 2 << 20);
    });
}

#[test]
fn unread_bytes_move_with_the_socket_to_another_executor() {
    let (left, mut right) = std::os::unix::net::UnixStream::pair().unwrap();
    right.write_all(b"waiting").unwrap();
    let socket =
        std::sync::Arc::new(std::sync::Mutex::new(Some(Socket::from_fd(left.into()).unwrap())));
    let moved = socket.clone();
    run(move || {
        let socket = moved.clone();
        async move {
            let held = socket.lock().unwrap().take().unwrap();
            held.wait_readable().await.unwrap();
            *socket.lock().unwrap() = Some(held);
        }
    });
    let bytes = run(move || {
        let held = socket.lock().unwrap().take().unwrap();
        async move {
            let mut buffer = [0; 16];
            let count = held.recv(&mut buffer).await.unwrap();
            buffer[..count].to_vec()
        }
    });
    assert_eq!(bytes, b"waiting");
}

#[test]
fn refused_and_unanswered_connects_fail_in_time() {
    run(|| async {
        let free = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
        let options = SocketOptions::default();
        let error = Socket::connect(free, &options, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let never =
            within(Duration::from_millis(20), std::future::pending::<std::io::Result<()>>());
        assert_eq!(never.await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn the_first_free_port_of_a_range_is_taken() {
    let first = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let taken = first.local_addr().unwrap().port();
    let config = ListenConfig {
        address: LOOPBACK,
        ports: taken..=taken.saturating_add(20),
        ..ListenConfig::default()
    };
    let listener = Listener::bind(&config).unwrap();
    assert!(listener.port() > taken);
    let none = ListenConfig { ports: taken..=taken, ..config };
    let error = Listener::bind(&none).unwrap_err();
    assert!(matches!(error, ListenError::NoFreePort { .. }), "{error:?}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}

#[test]
fn an_accept_waits_for_the_next_connection() {
    run(|| async {
        let listener = listener();
        let address = SocketAddr::new(LOOPBACK, listener.port());
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            byte[0]
        });
        let (socket, _) = listener.accept().await.unwrap();
        socket.send_all(&[42]).await.unwrap();
        assert_eq!(client.join().unwrap(), 42);
    });
}

/// Runs one of the functions below in a process of its own, whose limits may be spoilt.
fn in_child(name: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("io::tests::{name}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

const CHILD: &str = "KRARUP_TEST_CHILD";

/// Whether this process was started by [`in_child`] for this test.
fn is_child(name: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == name)
}

#[test]
fn a_seccomp_filter_is_named_with_its_remedy() {
    const NAME: &str = "a_seccomp_filter_is_named_with_its_remedy";
    if is_child(NAME) {
        sandbox::refuse_io_uring();
        let error = probe::check(1).unwrap_err();
        println!("probe: {error}");
        let started =
            Executors::<()>::start(&ExecutorsConfig::default(), vec![()], |_, ()| async {});
        println!("start: {}", started.unwrap_err());
        return;
    }
    let text = in_child(NAME);
    for part in ["probe: io_uring is not available", "start: io_uring is not available"] {
        let line = text.lines().find(|line| line.contains(part)).expect("the message");
        for word in ["seccomp", "remedy", "io_uring_setup"] {
            assert!(line.contains(word), "{line}");
        }
    }
}

#[test]
fn too_little_lockable_memory_is_named_with_its_remedy() {
    const NAME: &str = "too_little_lockable_memory_is_named_with_its_remedy";
    if is_child(NAME) {
        sandbox::limit(libc::RLIMIT_MEMLOCK, 65_536, 65_536);
        println!("{}", probe::check(1).unwrap_err());
        return;
    }
    let text = in_child(NAME);
    for part in ["may lock 65536 bytes", "needs 524288", "ulimit -l 512", "LimitMEMLOCK=524288"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_soft_limit_is_raised_to_the_hard_one() {
    const NAME: &str = "a_soft_limit_is_raised_to_the_hard_one";
    if is_child(NAME) {
        sandbox::limit(libc::RLIMIT_MEMLOCK, 65_536, 1 << 20);
        assert!(probe::check(1).is_ok());
        return;
    }
    in_child(NAME);
}

#[test]
fn an_accept_without_descriptors_backs_off_and_recovers() {
    const NAME: &str = "an_accept_without_descriptors_backs_off_and_recovers";
    if is_child(NAME) {
        run(|| async {
            let listener = listener();
            let _waiting = TcpStream::connect((LOOPBACK, listener.port())).unwrap();
            let hoard = sandbox::take_all_descriptors();
            let start = Instant::now();
            for _ in 0..3 {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            }
            // The first fails at once, the others after pauses of 5 and 10 ms.
            assert!(start.elapsed() >= Duration::from_millis(15));
            drop(hoard);
            listener.accept().await.unwrap();
        });
        return;
    }
    in_child(NAME);
}

mod sandbox {
    // Limits and filters are set by system calls that have no safe form.
    #![allow(unsafe_code)]

    use std::fs::File;

    /// Has this thread and those it starts refused `io_uring_setup`, as container runtimes do.
    pub(super) fn refuse_io_uring() {
        let number = u32::try_from(libc::SYS_io_uring_setup).unwrap();
        let filter = |code: u32, jt, jf, k| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt,
            jf,
            k,
        };
        let mut program = [
            // The number of the call stands at the start of `struct seccomp_data`.
            filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            filter(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(),
            ),
            filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
        // SAFETY: the program outlives the calls, and its length is that of the array.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let mode = libc::SECCOMP_MODE_FILTER;
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
        }
    }

    /// Sets a limit of this process.
    pub(super) fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the structure outlives the call.
        assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
    }

    /// Opens files until there is no descriptor left.
    pub(super) fn take_all_descriptors() -> Vec<File> {
        limit(libc::RLIMIT_NOFILE, 64, 64);
        std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
    }
}
