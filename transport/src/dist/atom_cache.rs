//! The atom caches of a connection: the peer's, as its headers fill it, and ours.
//!
//! A cache has 2048 slots, addressed by the peer's choice of segment and index, and starts empty
//! on every connection. Updates take effect in the order of the frames on the wire.
//! OTP: erl_ext_dist, "Distribution Header".

use smallvec::SmallVec;

use crate::term::Atom;

/// Slots of one cache: eight segments of 256.
pub const CACHE_SLOTS: usize = 2048;

/// Atoms that one header can name.
pub const HEADER_ATOMS_MAX: usize = 255;

/// Slots allocated together: a cache in which a peer uses few slots costs little.
const PAGE_SLOTS: usize = 32;

/// A slot of a cache, 0..2048.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a segment (its low three bits count) and an index inside it.
    #[must_use]
    pub const fn new(segment: u8, index: u8) -> Slot {
        Slot(((segment as u16 & 7) << 8) | index as u16)
    }

    /// The segment, 0..8.
    #[must_use]
    pub const fn segment(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The index inside the segment.
    #[must_use]
    pub const fn index(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

/// What the peer's headers have put into its cache.
#[derive(Debug, Default)]
pub struct ReceiveCache {
    /// Nothing until the first atom.
    pages: Option<Box<[Option<Page>; CACHE_SLOTS / PAGE_SLOTS]>>,
}

type Page = Box<[Option<Atom>; PAGE_SLOTS]>;

impl ReceiveCache {
    /// An empty cache. Allocates nothing.
    #[must_use]
    pub const fn new() -> ReceiveCache {
        ReceiveCache { pages: None }
    }

    /// The atom in a slot, if a header has put one there.
    #[inline]
    #[must_use]
    pub fn atom(&self, slot: Slot) -> Option<&Atom> {
        let slot = usize::from(slot.0);
        let page = self.pages.as_ref()?.get(slot / PAGE_SLOTS)?.as_ref()?;
        page[slot % PAGE_SLOTS].as_ref()
    }

    /// Puts an atom into a slot in place of what was there.
    pub fn store(&mut self, slot: Slot, atom: Atom) {
        let pages = self.pages.get_or_insert_with(|| Box::new([const { None }; _]));
        let slot = usize::from(slot.0);
        let page =
            pages[slot / PAGE_SLOTS].get_or_insert_with(|| Box::new([const { None }; PAGE_SLOTS]));
        page[slot % PAGE_SLOTS] = Some(atom);
    }
}

/// Our cache: which atom stands in which slot at the peer, and the atoms of the message that is
/// being encoded.
///
/// Slots are given out in the order of first use, so that a connection with few atoms needs
/// little memory; when all are taken the oldest is used again. A slot that the message being
/// encoded refers to is never given to another atom.
#[derive(Debug, Default)]
pub struct SendCache {
    /// What each used slot holds; the position is the slot.
    slots: Vec<Atom>,
    /// Whether a frame with the atom has been queued, so that the peer will have it.
    known: Vec<bool>,
    /// Open addressing, linear probing: slot + 1, or 0 for free. A power of two long and at most
    /// half full.
    index: Vec<u16>,
    /// The slot to be replaced next once all are taken.
    next_victim: u16,
    /// The atoms of this message in the order of first use.
    message: SmallVec<[Mention; 8]>,
    /// How many atoms have been put into slots so far.
    changes: u64,
}

/// An atom of the message being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) slot: Slot,
    /// Whether the peer does not have it yet.
    pub(crate) new: bool,
}

impl SendCache {
    /// An empty cache. Allocates nothing.
    #[must_use]
    pub fn new() -> SendCache {
        SendCache::default()
    }

    /// Begins a message: none of its atoms are known yet.
    #[inline]
    pub fn begin(&mut self) {
        self.message.clear();
    }

    /// The message's frame is queued: the peer will know its atoms. Without this call they stay
    /// new, as it has to be for a message that was given up.
    #[inline]
    pub fn commit(&mut self) {
        for mention in &self.message {
            if mention.new {
                self.known[usize::from(mention.slot.0)] = true;
            }
        }
    }

    /// The position of `atom` in the header of the message being encoded, or nothing when the
    /// header is full and the atom has to be written inline.
    pub fn mention(&mut self, atom: &Atom) -> Option<u8> {
        // A message names few atoms, mostly the two nodes.
        let found = self.message.iter().position(|m| self.slots[usize::from(m.slot.0)] == *atom);
        if let Some(position) = found {
            return u8::try_from(position).ok();
        }
        let position = self.message.len();
        if position >= HEADER_ATOMS_MAX {
            return None;
        }
        let mention = match self.find(atom) {
            Some(slot) => Mention { slot, new: !self.known[usize::from(slot.0)] },
            None => Mention { slot: self.insert(atom.clone())?, new: true },
        };
        self.message.push(mention);
        u8::try_from(position).ok()
    }

    /// The atoms of the message, and what stands in a slot.
    pub(crate) fn message(&self) -> impl Iterator<Item = (Mention, &Atom)> {
        self.message.iter().map(|&m| (m, &self.slots[usize::from(m.slot.0)]))
    }

    /// How many atoms the message has mentioned.
    pub(crate) fn message_len(&self) -> usize {
        self.message.len()
    }

    fn find(&self, atom: &Atom) -> Option<Slot> {
        // The nodes' names come first in practice; two comparisons are cheaper than a hash.
        for (slot, known) in self.slots.iter().take(2).enumerate() {
            if known == atom {
                return Some(Slot(slot as u16));
            }
        }
        if self.index.is_empty() {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut at = hash(atom.as_str()) & mask;
        loop {
            let slot = self.index[at].checked_sub(1)?;
            if self.slots[usize::from(slot)] == *atom {
                return Some(Slot(slot));
            }
            at = (at + 1) & mask;
        }
    }

    /// Changes whenever a slot gets another atom. What was encoded before then still means the
    /// same as long as this stays.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    fn insert(&mut self, atom: Atom) -> Option<Slot> {
        self.changes += 1;
        let slot = if self.slots.len() < CACHE_SLOTS {
            let slot = self.slots.len() as u16;
            self.slots.push(atom);
            self.known.push(false);
            slot
        } else {
            let slot = self.victim()?;
            self.unindex(slot);
            self.slots[usize::from(slot)] = atom;
            self.known[usize::from(slot)] = false;
            slot
        };
        if self.index.len() < 2 * self.slots.len() {
            self.grow_index();
        } else {
            self.enter(slot);
        }
        Some(Slot(slot))
    }

    /// The next slot that this message does not refer to. There is one: a message names at most
    /// 255 atoms.
    fn victim(&mut self) -> Option<u16> {
        for _ in 0..=HEADER_ATOMS_MAX {
            let slot = self.next_victim;
            self.next_victim = (slot + 1) % CACHE_SLOTS as u16;
            if self.message.iter().all(|m| m.slot.0 != slot) {
                return Some(slot);
            }
        }
        None
    }

    fn grow_index(&mut self) {
        let len = (4 * self.slots.len()).next_power_of_two().max(16);
        self.index.clear();
        self.index.resize(len, 0);
        for slot in 0..self.slots.len() {
            self.enter(slot as u16);
        }
    }

    fn enter(&mut self, slot: u16) {
        let mask = self.index.len() - 1;
        let mut at = hash(self.slots[usize::from(slot)].as_str()) & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = slot + 1;
    }

    /// Takes a slot out of the index and closes the gap, so that no probe ends too early.
    fn unindex(&mut self, slot: u16) {
        let mask = self.index.len() - 1;
        let home = |slots: &[Atom], entry: u16| hash(slots[usize::from(entry - 1)].as_str()) & mask;
        let mut gap = hash(self.slots[usize::from(slot)].as_str()) & mask;
        while self.index[gap] != slot + 1 {
            gap = (gap + 1) & mask;
        }
        self.index[gap] = 0;
        let mut at = (gap + 1) & mask;
        while self.index[at] != 0 {
            let wanted = home(&self.slots, self.index[at]);
            // Whether the entry's home lies cyclically outside (gap, at]: then it may move back.
            if (at.wrapping_sub(wanted) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.index[gap] = self.index[at];
                self.index[at] = 0;
                gap = at;
            }
            at = (at + 1) & mask;
        }
    }
}

/// FNV-1a. Atoms are short, and whoever aims at collisions gets at most 2048 comparisons.
fn hash(text: &str) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in text.as_bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) as usize
}
