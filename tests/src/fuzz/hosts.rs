//! Hosts' files: whatever is in them is read or refused, and what is read survives being written.

use krarup::net_adm::terms::read;

/// Reads the input as a file of terms.
///
/// # Panics
///
/// When an error names a line that is not there, or terms are others after they were written.
pub fn run(data: &[u8]) {
    match read(data) {
        Ok(terms) => {
            let mut text = "% coding: utf-8\n".to_owned();
            text.extend(terms.iter().map(|term| format!("{term}.\n")));
            assert_eq!(read(text.as_bytes()).as_ref(), Ok(&terms), "{text}");
        }
        Err(error) => {
            let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&(error.line as usize)), "{error}");
            assert!(!error.to_term().to_string().is_empty());
        }
    }
}
