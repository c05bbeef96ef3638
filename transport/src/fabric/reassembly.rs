//! Signals that come in fragments, by sender.

use std::collections::HashMap;

use super::ProcessNumber;
use super::frame::Form;
use super::lane_error::LaneError;
use crate::buffer::Slice;
use crate::dist::Control;
use crate::dist::fragment::{FragmentLimits, PART_OVERHEAD_BYTES, PartList, Parts};
use crate::term::{Atom, Limits, Progress, Validator};

/// What the first frame of a signal says besides the payload.
#[derive(Debug)]
pub(super) enum Opening {
    Message { to: ProcessNumber, form: Form },
    Named { name: Atom, form: Form },
    Signal(Control),
}

/// Puts the signals of one lane together again. A sender has one unfinished signal at most.
#[derive(Debug)]
pub(super) struct Reassembly {
    limits: FragmentLimits,
    term_limits: Limits,
    unfinished: HashMap<ProcessNumber, Unfinished>,
    bytes: usize,
}

#[derive(Debug)]
struct Unfinished {
    opening: Opening,
    parts: PartList,
    payload_bytes: usize,
    /// What it counts towards the limit of all.
    bytes: usize,
    /// Checks the term, unless the payload is bytes.
    term: Option<Box<TermCheck>>,
}

#[derive(Debug)]
struct TermCheck {
    validator: Validator,
    complete: bool,
}

impl Opening {
    fn form(&self) -> Form {
        match self {
            Opening::Message { form, .. } | Opening::Named { form, .. } => *form,
            Opening::Signal(_) => Form::Term,
        }
    }
}

impl Reassembly {
    pub(super) fn new(limits: FragmentLimits, term_limits: Limits) -> Reassembly {
        Reassembly { limits, term_limits, unfinished: HashMap::new(), bytes: 0 }
    }

    /// How many signals are unfinished, and the bytes they count.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.unfinished.len(), self.bytes)
    }

    /// The first part of a signal that goes on later.
    pub(super) fn begin(
        &mut self,
        sender: ProcessNumber,
        opening: Opening,
        part: Slice,
    ) -> Result<(), LaneError> {
        if self.unfinished.contains_key(&sender) {
            return Err(LaneError::AlreadyUnfinished(sender));
        }
        if self.unfinished.len() >= self.limits.sequences_max {
            return Err(LaneError::TooManyUnfinished { limit: self.limits.sequences_max });
        }
        let term = (opening.form() == Form::Term).then(|| {
            let validator = Validator::new(self.term_limits, 0);
            Box::new(TermCheck { validator, complete: false })
        });
        let parts = PartList::default();
        let mut signal = Unfinished { opening, parts, payload_bytes: 0, bytes: 0, term };
        self.add(&mut signal, part)?;
        self.unfinished.insert(sender, signal);
        Ok(())
    }

    /// Another part. Gives the signal if it was the last one.
    pub(super) fn go_on(
        &mut self,
        sender: ProcessNumber,
        part: Slice,
        has_more: bool,
    ) -> Result<Option<(Opening, Parts)>, LaneError> {
        let mut signal = self.unfinished.remove(&sender).ok_or(LaneError::NotBegun(sender))?;
        self.add(&mut signal, part)?;
        if has_more {
            self.unfinished.insert(sender, signal);
            return Ok(None);
        }
        self.bytes -= signal.bytes;
        if signal.term.is_some_and(|term| !term.complete) {
            return Err(LaneError::PayloadTruncated(sender));
        }
        Ok(Some((signal.opening, signal.parts.finish())))
    }

    fn add(&mut self, signal: &mut Unfinished, part: Slice) -> Result<(), LaneError> {
        let bytes = part.len() + PART_OVERHEAD_BYTES;
        signal.payload_bytes += part.len();
        signal.bytes += bytes;
        self.bytes += bytes;
        if signal.payload_bytes > self.limits.sequence_bytes_max {
            return Err(LaneError::MessageTooLarge { limit: self.limits.sequence_bytes_max });
        }
        if self.bytes > self.limits.connection_bytes_max {
            return Err(LaneError::UnfinishedTooLarge { limit: self.limits.connection_bytes_max });
        }
        if part.is_empty() {
            return Ok(());
        }
        if let Some(term) = &mut signal.term {
            let used = if term.complete {
                0
            } else {
                match term.validator.feed(&part)? {
                    Progress::NeedMore => part.len(),
                    Progress::Done { used } => {
                        term.complete = true;
                        used
                    }
                }
            };
            if used < part.len() {
                return Err(LaneError::PayloadTooLong { extra: part.len() - used });
            }
        }
        signal.parts.push(part);
        Ok(())
    }
}
