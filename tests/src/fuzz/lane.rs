//! A lane that gets any stream of bytes.

use std::time::Instant;

use bytes::Bytes;
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::dist::Control;
use krarup_transport::dist::tick::TickAction;
use krarup_transport::fabric::frame::{HEADER_BYTES, Header, Layout};
use krarup_transport::fabric::{
    Form, Incoming, Lane, LaneConfig, LaneError, ProcessNumber, Target,
};
use krarup_transport::link::{IoSlices, Outgoing, Payload, SendError, SenderKey};
use krarup_transport::term::{Atom, Creation, DecodeError, DecodeErrorKind, Limits, validate};

/// The names in the golden vectors.
const OURS: (&str, u32) = ("b@høst.example", 0x5566_7788);
const PEER: (&str, u32) = ("gold@127.0.0.1", 0x1122_3344);

/// Small limits, so that short inputs reach them.
const SEQUENCES_MAX: usize = 8;
const SEQUENCE_BYTES_MAX: usize = 64 << 10;
const CONNECTION_BYTES_MAX: usize = 128 << 10;

/// What was sent before, so that there is something to acknowledge.
const SENT_BYTES: u64 = 10 * (HEADER_BYTES as u64 + 16);

/// Something received, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Message { from: ProcessNumber, to: Target, form: Form, payload: Vec<u8> },
    Signal { control: Control, payload: Option<Vec<u8>> },
    Hold(ProcessNumber, ProcessNumber, Option<Atom>),
    Release(ProcessNumber, ProcessNumber),
    Bye(Atom),
}

struct End {
    lane: Lane,
    receiver: Receiver,
}

/// The first byte chooses checksums and how the stream is cut, the rest is what the peer sends.
///
/// However it is cut, it says the same. What is received is sent on over a second lane, and has to
/// arrive there as the same.
pub fn run(input: &[u8]) {
    let Some((&choice, stream)) = input.split_first() else { return };
    let checksum = choice & 1 != 0;
    let stream = if checksum { with_checksums(stream) } else { stream.to_vec() };
    let (heard, error, position) = listen(checksum, &stream, usize::MAX);
    let piece = 1 + usize::from(choice >> 1);
    assert_eq!(listen(checksum, &stream, piece), (heard.clone(), error, position));

    let mut sender = End::new(PEER, OURS, checksum);
    let mut second = End::new(OURS, PEER, checksum);
    for heard in heard {
        if has_duplicates(&heard) {
            continue;
        }
        match sender.say(&heard) {
            Ok(()) => {}
            // Our form of a control message may be longer than the peer's.
            Err(SendError::TooLarge { .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        let mut arrived = Vec::new();
        second.hear(&sender.write(), usize::MAX, &mut arrived).expect("our own frames");
        let [arrived] = arrived.as_slice() else { panic!("{arrived:?}") };
        match (arrived, &heard) {
            (Heard::Signal { payload, .. }, Heard::Signal { control, payload: expected })
                if super::control::is_ambiguous(control) =>
            {
                assert_eq!(payload, expected);
            }
            _ => assert_eq!(*arrived, heard),
        }
        second.lane.acknowledge();
        sender.hear(&second.write(), usize::MAX, &mut Vec::new()).expect("an acknowledgement");
        assert_eq!(sender.lane.replay_counters().retained_bytes, 0);
    }
}

/// What a stream says when it comes in pieces of this size, the error that ends it, and the
/// position that is reached.
fn listen(
    checksum: bool,
    stream: &[u8],
    piece_bytes_max: usize,
) -> (Vec<Heard>, Option<LaneError>, u64) {
    let mut end = End::new(OURS, PEER, checksum);
    for _ in 0..10 {
        let (from, to) = (ProcessNumber::NONE, ProcessNumber::NONE);
        end.lane.send_raw(from, to, &[7; 16]).expect("room");
    }
    end.write();
    let mut heard = Vec::new();
    let error = end.hear(stream, piece_bytes_max, &mut heard).err();
    let position = end.lane.received_position();
    assert!(position <= stream.len() as u64);
    if let Some(error) = &error {
        assert!(!error.to_string().is_empty() && !error.nodedown_reason().is_empty());
        assert_eq!(error.is_resumable(), matches!(error, LaneError::Checksum { .. }));
    }
    // Whatever came, the lane can change its connection.
    let now = Instant::now();
    assert_eq!(end.lane.detach(Some(&mut end.receiver)), position);
    assert!(end.receiver.unread().is_empty());
    assert!(!end.lane.is_write_pending());
    let header_bytes = Layout { checksum }.header_bytes() as u64;
    let sent = SENT_BYTES + 10 * (header_bytes - HEADER_BYTES as u64);
    end.lane.attach(sent, now).expect("all that was sent");
    assert_eq!(end.lane.tick(now), TickAction::None);
    (heard, error, position)
}

/// The stream with the right checksum behind the header of each frame, as far as there are any.
fn with_checksums(stream: &[u8]) -> Vec<u8> {
    let mut rest = stream;
    let mut out = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let length = Header::decode(header).length as usize;
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(header);
        hasher.update(payload);
        out.extend_from_slice(header);
        out.extend_from_slice(&hasher.finalize().to_le_bytes());
        out.extend_from_slice(payload);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

fn bytes_of(payload: &Payload) -> Vec<u8> {
    payload.parts.iter().flat_map(|part| part.to_vec()).collect()
}

impl End {
    fn new(local: (&'static str, u32), peer: (&'static str, u32), checksum: bool) -> End {
        let [local, peer] =
            [local, peer].map(|(name, creation)| (Atom::from_static(name), Creation(creation)));
        let mut config = LaneConfig::new(local, peer);
        config.checksum = checksum;
        config.limits.fragments.sequences_max = SEQUENCES_MAX;
        config.limits.fragments.sequence_bytes_max = SEQUENCE_BYTES_MAX;
        config.limits.fragments.connection_bytes_max = CONNECTION_BYTES_MAX;
        let lane = Lane::new(config, Instant::now());
        End { lane, receiver: Receiver::new(SlabPool::new()) }
    }

    fn write(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.lane.is_write_pending() {
            let mut slices = IoSlices::new();
            self.lane.io_slices(&mut slices);
            let before = bytes.len();
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            drop(slices);
            self.lane.written(bytes.len() - before);
        }
        bytes
    }

    fn hear(
        &mut self,
        mut bytes: &[u8],
        piece_bytes_max: usize,
        heard: &mut Vec<Heard>,
    ) -> Result<(), LaneError> {
        while !bytes.is_empty() {
            let spare = self.receiver.spare();
            let count = bytes.len().min(spare.len()).min(piece_bytes_max);
            let (now, later) = bytes.split_at(count);
            spare[..count].copy_from_slice(now);
            self.receiver.commit(count);
            bytes = later;
            self.take(heard)?;
            let (sequences, bytes) = self.lane.unfinished_messages();
            assert!(sequences <= SEQUENCES_MAX && bytes <= CONNECTION_BYTES_MAX);
        }
        Ok(())
    }

    fn take(&mut self, heard: &mut Vec<Heard>) -> Result<(), LaneError> {
        loop {
            heard.push(match self.lane.receive(&mut self.receiver)? {
                Incoming::NeedMore(bytes) => {
                    assert!(bytes > self.receiver.unread().len());
                    return Ok(());
                }
                Incoming::Run(run) => {
                    assert!(!run.is_empty() && run.payload_bytes() <= run.wire_bytes());
                    let (to, count) = (run.to(), run.len());
                    let before = heard.len();
                    let mut run = run.share().adopt();
                    while let Some(message) = run.next() {
                        let (from, form) = (message.from, message.form);
                        let payload = message.payload.to_vec();
                        if form == Form::Term {
                            check_term(&message.payload.into(), true);
                        }
                        heard.push(Heard::Message { from, to: Target::Process(to), form, payload });
                    }
                    assert_eq!(heard.len() - before, count);
                    continue;
                }
                Incoming::Message(message) => {
                    if message.form == Form::Term {
                        check_term(&message.payload, false);
                    }
                    let payload = bytes_of(&message.payload);
                    Heard::Message {
                        from: message.from,
                        to: message.to,
                        form: message.form,
                        payload,
                    }
                }
                Incoming::Signal(signal) => {
                    assert_eq!(signal.payload.is_some(), signal.control.has_payload());
                    signal.payload.iter().for_each(|payload| check_term(payload, false));
                    let payload = signal.payload.as_ref().map(bytes_of);
                    Heard::Signal { control: signal.control, payload }
                }
                Incoming::Hold { holder, sender, name } => Heard::Hold(holder, sender, name),
                Incoming::Release { holder, sender } => Heard::Release(holder, sender),
                Incoming::Bye(reason) => Heard::Bye(reason),
            });
        }
    }

    fn say(&mut self, heard: &Heard) -> Result<(), SendError> {
        let lane = &mut self.lane;
        match heard {
            Heard::Message { from, to: Target::Process(to), form: Form::Raw, payload } => {
                lane.send_raw(*from, *to, payload)
            }
            Heard::Message { from, to: Target::Process(to), form: Form::Term, payload } => lane
                .send_message_with(*from, *to, |out| {
                    out.extend_from_slice(payload);
                    Ok(())
                }),
            Heard::Message { from, to: Target::Name(name), form, payload } => {
                let pieces = payload.chunks(1000).map(Bytes::copy_from_slice).collect();
                lane.send_named(*from, name, pieces, *form)
            }
            Heard::Signal { control, payload } => {
                let payload = payload.as_deref().map(Outgoing::Encoded);
                lane.send_signal(SenderKey::NODE, control, payload)
            }
            Heard::Hold(holder, sender, name) => Ok(lane.hold(*holder, *sender, name.as_ref())?),
            Heard::Release(holder, sender) => Ok(lane.release(*holder, *sender)?),
            Heard::Bye(reason) => {
                lane.bye(reason);
                Ok(())
            }
        }
    }
}

/// A payload was validated: decoding it finds nothing but what it may not cost as an owned term
/// and, unless it came `whole`, keys that occur twice.
fn check_term(payload: &Payload, whole: bool) {
    assert!(!payload.is_empty());
    if let Err(error) = payload.decode(&Limits::DEFAULT) {
        assert!(error.is_limit() || !whole && is_duplicate(&error), "{error}");
    }
}

fn is_duplicate(error: &DecodeError) -> bool {
    matches!(error.kind, DecodeErrorKind::DuplicateKey | DecodeErrorKind::DuplicateField)
}

/// Whether a payload that came in fragments would be refused whole.
fn has_duplicates(heard: &Heard) -> bool {
    let (Heard::Message { form: Form::Term, payload, .. }
    | Heard::Signal { payload: Some(payload), .. }) = heard
    else {
        return false;
    };
    validate(payload, 0, &Limits::DEFAULT).is_err_and(|error| {
        assert!(is_duplicate(&error), "{error}");
        true
    })
}
