//! Handing lines to a process that evaluates them, and getting their values back.

use std::time::{Duration, Instant};

use crate::Process;

/// How long an evaluation may take unless the test says otherwise.
const EVALUATION: Duration = Duration::from_secs(30);

/// A node that reads `NUMBER TEXT` lines and answers each with `@@krarup NUMBER ok|error VALUE`.
pub(crate) struct Evaluator {
    process: Process,
    name: String,
    evaluations: u64,
    /// Brings expressions into one line.
    in_one_line: fn(&str) -> String,
}

impl Evaluator {
    pub(crate) fn new(process: Process, name: String, in_one_line: fn(&str) -> String) -> Self {
        Self { process, name, evaluations: 0, in_one_line }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub(crate) fn eval(&mut self, expressions: &str) -> String {
        self.eval_within(expressions, EVALUATION)
    }

    pub(crate) fn eval_within(&mut self, expressions: &str, within: Duration) -> String {
        let start = self.begin(expressions);
        self.finish(start, expressions, within)
    }

    pub(crate) fn begin(&mut self, expressions: &str) -> usize {
        self.evaluations += 1;
        let start = self.process.lines_printed();
        let line = (self.in_one_line)(expressions);
        self.process.write_line(&format!("{} {line}", self.evaluations));
        start
    }

    pub(crate) fn finish(&mut self, start: usize, expressions: &str, within: Duration) -> String {
        let mark = format!("@@krarup {} ", self.evaluations);
        let what = format!("the value of `{}`", expressions.trim());
        let answer = self
            .process
            .line_after(start, &what, within, |line| line.strip_prefix(&mark).map(str::to_owned));
        match answer.split_once(' ') {
            Some(("ok", value)) => value.to_owned(),
            _ => panic!("{} cannot evaluate `{expressions}`: {answer}", self.name),
        }
    }

    pub(crate) fn eval_until(&mut self, expressions: &str, wanted: &str, within: Duration) {
        let start = Instant::now();
        loop {
            let value = self.eval(expressions);
            if value == wanted {
                return;
            }
            assert!(
                start.elapsed() < within,
                "{}: `{expressions}` is {value}, not {wanted}, after {within:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Encodes in base64, so that a whole module fits into one line.
pub(crate) fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.as_bytes().chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                let digit = (group >> (18 - 6 * position)) & 63;
                encoded.push(char::from(DIGITS[digit as usize]));
            } else {
                encoded.push('=');
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        let texts = ["", "f", "fo", "foo", "foob"].map(base64);
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
