//! Counts the allocations of each thread: the system's allocator with a counter before it.
//!
//! Every worker of this program has it, so all are measured with the same allocator; the counter
//! costs an addition for each allocation, and what allocates nothing pays nothing.

// An allocator's trait is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug)]
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far; a reallocation counts as one.
pub(crate) fn of_this_thread() -> u64 {
    ALLOCATIONS.get()
}

fn count() {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of one thread for each message of the measured time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PerMessage {
    start: Option<(u64, u64)>,
}

impl PerMessage {
    /// The warm-up is over, after so many messages. Only the first call counts.
    pub(crate) fn begin(&mut self, messages: u64) {
        self.start.get_or_insert((of_this_thread(), messages));
    }

    /// Whether the warm-up is over.
    pub(crate) fn has_begun(&self) -> bool {
        self.start.is_some()
    }

    /// Allocations for each message since the warm-up, when so many messages are done.
    pub(crate) fn end(&self, messages: u64) -> Option<f64> {
        let (allocations, before) = self.start?;
        let messages = messages.checked_sub(before).filter(|&messages| messages > 0)?;
        Some((of_this_thread() - allocations) as f64 / messages as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_allocates_is_counted() {
        let mut counter = PerMessage::default();
        assert_eq!(counter.end(5), None);
        counter.begin(10);
        let boxes: Vec<Box<u64>> = (0..100).map(Box::new).collect();
        assert!(counter.has_begun() && std::hint::black_box(boxes).len() == 100);
        let each = counter.end(110).expect("a hundred messages");
        assert!((1.0..1.1).contains(&each), "{each}");
        assert_eq!(counter.end(10), None, "no message came");
    }
}
