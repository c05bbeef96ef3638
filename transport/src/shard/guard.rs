//! Keeping a panic inside the task it happened in.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// A task ended by a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
}

/// Runs `future`; a panic inside becomes an error instead of ending the executor and every link
/// on it.
///
/// Whatever `future` shares with other tasks must bear being left in the middle: use this around
/// whole tasks, not around steps of one.
///
/// # Errors
/// [`Panicked`] with the message of the panic.
pub async fn guard<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(Panicked::from)
}

/// Starts a guarded task in the queue where the shard's driver runs, behind everything that is
/// ready there. Dropping the result ends the task; `detach` lets it run on.
///
/// # Panics
/// Outside of a glommio executor.
pub fn spawn<T: 'static>(
    future: impl Future<Output = T> + 'static,
) -> glommio::Task<Result<T, Panicked>> {
    // Unlike `spawn_local` this does not run the task's first step inside of the caller's.
    match glommio::spawn_local_into(guard(future), glommio::TaskQueueHandle::default()) {
        Ok(task) => task,
        Err(error) => unreachable!("every executor has its first queue: {error}"),
    }
}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(payload: Box<dyn Any + Send>) -> Panicked {
        let message = match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(message) => (*message).to_owned(),
                Err(_) => "a panic without a message".to_owned(),
            },
        };
        Panicked { message }
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)
    }
}

impl std::error::Error for Panicked {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let said = guard(async { panic!("{} broke", "it") }).now_or_never();
        assert_eq!(said, Some(Err::<(), _>(Panicked { message: "it broke".into() })));
        assert_eq!(guard(async { 7 }).now_or_never(), Some(Ok(7)));
    }
}
