//! What a process costs: processor time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

/// A clock tick of `/proc/PID/stat`: the kernel's USER_HZ is 100 on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process so far; `None` when the kernel does not tell.
///
/// Exact for threads that live. Those that have ended are in the process's own count, which is
/// kept in ticks: whichever is more is nearer to the truth.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    let of_threads = Duration::from_nanos(of_living_threads(process)?);
    Some(of_threads.max(of_process(process)?))
}

fn of_living_threads(process: u32) -> Option<u64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        // The first number is the time on a processor, in nanoseconds. A thread may end meanwhile.
        if let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) {
            total += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    Some(total)
}

fn of_process(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may have spaces; user and system time are fields 14 and 15.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

/// Memory that is the process's own: neither files nor shared, in bytes.
pub(crate) fn memory_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        let before = processor_time(own).expect("the kernel tells");
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(processor_time(own).expect("the kernel tells") > before);
        assert!(memory_bytes(own).expect("the kernel tells") > 1 << 16);
        assert_eq!(memory_bytes(u32::MAX), None);
    }
}
