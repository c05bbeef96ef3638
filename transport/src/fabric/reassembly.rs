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
    /// Boxed, for most lanes never bring a signal in fragments.
    begun: Option<Box<Begun>>,
}

/// The signals of which fragments are still to come.
#[derive(Debug, Default)]
struct Begun {
    signals: HashMap<ProcessNumber, Unfinished>,
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
        Reassembly { limits, term_limits, begun: None }
    }

    /// What one term may cost.
    #[inline]
    pub(super) fn term_limits(&self) -> &Limits {
        &self.term_limits
    }

    /// How many signals are unfinished, and the bytes they count.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        self.begun.as_ref().map_or((0, 0), |begun| (begun.signals.len(), begun.bytes))
    }

    /// Gives up memory that is kept for reuse.
    pub(super) fn trim(&mut self) {
        self.begun.take_if(|begun| begun.signals.is_empty());
    }

    /// The first part of a signal that goes on later.
    pub(super) fn begin(
        &mut self,
        sender: ProcessNumber,
        opening: Opening,
        part: Slice,
    ) -> Result<(), LaneError> {
        let begun = self.begun.get_or_insert_default();
        if begun.signals.contains_key(&sender) {
            return Err(LaneError::AlreadyUnfinished(sender));
        }
        if begun.signals.len() >= self.limits.sequences_max {
            return Err(LaneError::TooManyUnfinished { limit: self.limits.sequences_max });
        }
        let term = (opening.form() == Form::Term).then(|| {
            let validator = Validator::new(self.term_limits, 0);
            Box::new(TermCheck { validator, complete: false })
        });
        let parts = PartList::default();
        let mut signal = Unfinished { opening, parts, payload_bytes: 0, bytes: 0, term };
        begun.add(&mut signal, part, &self.limits)?;
        begun.signals.insert(sender, signal);
        Ok(())
    }

    /// Another part. Gives the signal if it was the last one.
    pub(super) fn go_on(
        &mut self,
        sender: ProcessNumber,
        part: Slice,
        has_more: bool,
    ) -> Result<Option<(Opening, Parts)>, LaneError> {
        let begun = self.begun.as_mut().ok_or(LaneError::NotBegun(sender))?;
        let mut signal = begun.signals.remove(&sender).ok_or(LaneError::NotBegun(sender))?;
        begun.add(&mut signal, part, &self.limits)?;
        if has_more {
            begun.signals.insert(sender, signal);
            return Ok(None);
        }
        begun.bytes -= signal.bytes;
        if signal.term.is_some_and(|term| !term.complete) {
            return Err(LaneError::PayloadTruncated(sender));
        }
        Ok(Some((signal.opening, signal.parts.finish())))
    }
}

impl Begun {
    fn add(
        &mut self,
        signal: &mut Unfinished,
        part: Slice,
        limits: &FragmentLimits,
    ) -> Result<(), LaneError> {
        let bytes = part.len() + PART_OVERHEAD_BYTES;
        signal.payload_bytes += part.len();
        signal.bytes += bytes;
        self.bytes += bytes;
        if signal.payload_bytes > limits.sequence_bytes_max {
            return Err(LaneError::MessageTooLarge { limit: limits.sequence_bytes_max });
        }
        if self.bytes > limits.connection_bytes_max {
            return Err(LaneError::UnfinishedTooLarge { limit: limits.connection_bytes_max });
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
