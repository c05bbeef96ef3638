//! Distribution flags: what a node can do, and what two nodes agree on.
//!
//! Each side announces a 64-bit set in the handshake; what both have is *negotiated* and rules
//! everything after it, the shape of the frames included.
//!
//! OTP: erl_dist_protocol, "Distribution Flags"; `dist_util.erl`, `dist.hrl`.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of distribution flags.
///
/// Unknown bits are kept as they came, so that what a peer announced can be shown; they never
/// survive [`Flags::negotiate`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u64);

/// Declares every flag once: its constant and its row in [`Flags::TABLE`].
macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $kind:ident;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*

            /// Every flag of the protocol: the one table that names, masks and checks are made of.
            pub const TABLE: &'static [FlagRow] = &[
                $(FlagRow { name: stringify!($name), bit: $bit, kind: FlagKind::$kind },)*
            ];
        }
    };
}

/// One row of [`Flags::TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// The name OTP gives the flag, without its `DFLAG_` prefix.
    pub name: &'static str,
    /// The number of its bit, 0 the lowest.
    pub bit: u8,
    /// Whether it may appear on the wire, and whether a peer may lack it.
    pub kind: FlagKind,
}

impl FlagRow {
    /// The set that holds this flag alone.
    #[must_use]
    pub const fn flag(self) -> Flags {
        Flags(1 << self.bit)
    }
}

/// What a flag is to a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// May be negotiated; a peer may lack it.
    Optional,
    /// OTP 25 and later refuse a peer without it.
    Mandatory25,
    /// OTP 26 and later refuse a peer without it.
    Mandatory26,
    /// Used inside OTP, never on the wire: neither announced nor negotiated.
    Internal,
}

flags! {
    /// The node is visible: it shows in `nodes()` and takes part in `global`.
    PUBLISHED = 0, Optional;
    /// The atom cache of OTP R10 and before; obsolete.
    ATOM_CACHE = 1, Internal;
    /// References of more than one word.
    EXTENDED_REFERENCES = 2, Mandatory25;
    /// Process monitors. Without it and [`Flags::DIST_MONITOR_NAME`] OTP sends no monitor signal.
    DIST_MONITOR = 3, Optional;
    /// Funs in the form before `NEW_FUN_EXT`.
    FUN_TAGS = 4, Mandatory25;
    /// Monitors by registered name.
    DIST_MONITOR_NAME = 5, Optional;
    /// The atom cache of hidden nodes; obsolete.
    HIDDEN_ATOM_CACHE = 6, Internal;
    /// `NEW_FUN_EXT`.
    NEW_FUN_TAGS = 7, Mandatory25;
    /// Pids and ports with more than 18 bits.
    EXTENDED_PIDS_PORTS = 8, Mandatory25;
    /// `EXPORT_EXT`.
    EXPORT_PTR_TAG = 9, Mandatory25;
    /// `BIT_BINARY_EXT`.
    BIT_BINARIES = 10, Mandatory25;
    /// `NEW_FLOAT_EXT`.
    NEW_FLOATS = 11, Mandatory25;
    /// The io protocol may use Unicode.
    UNICODE_IO = 12, Optional;
    /// Distribution headers carry an atom cache; signals must then arrive in wire order.
    DIST_HDR_ATOM_CACHE = 13, Optional;
    /// `SMALL_ATOM_EXT` and `SMALL_ATOM_UTF8_EXT`.
    SMALL_ATOM_TAGS = 14, Optional;
    /// Internal to OTP's tables.
    ETS_COMPRESSED = 15, Internal;
    /// `ATOM_UTF8_EXT`.
    UTF8_ATOMS = 16, Mandatory25;
    /// `MAP_EXT`.
    MAP_TAG = 17, Mandatory25;
    /// 32-bit creations: `NEW_PID_EXT`, `NEW_PORT_EXT`, `NEWER_REFERENCE_EXT`.
    BIG_CREATION = 18, Mandatory25;
    /// `SEND_SENDER` (22) and `SEND_SENDER_TT` (23) instead of `SEND` (2) and `SEND_TT` (12).
    SEND_SENDER = 19, Optional;
    /// Any term may label a sequential trace.
    BIG_SEQTRACE_LABELS = 20, Optional;
    /// Internal to OTP's connection setup.
    PENDING_CONNECT = 21, Internal;
    /// Exit reasons travel as payload: ops 24 to 28 instead of 3, 13, 8, 18 and 21.
    EXIT_PAYLOAD = 22, Optional;
    /// Large messages are cut into fragments; frames then begin with a distribution header.
    FRAGMENTS = 23, Optional;
    /// The handshake with 64-bit flags.
    HANDSHAKE_23 = 24, Mandatory25;
    /// `UNLINK_ID` (35) and `UNLINK_ID_ACK` (36) instead of `UNLINK` (4).
    UNLINK_ID = 25, Mandatory26;
    /// "I have everything OTP 25 demands"; see [`Flags::expand`]. Bit 26 in OTP's code, whatever
    /// its documentation says.
    MANDATORY_25_DIGEST = 26, Optional;
    /// Remote spawn: ops 29 to 32.
    SPAWN = 32, Optional;
    /// The sender asks the acceptor for a node name.
    NAME_ME = 33, Optional;
    /// 64-bit pids and ports, references of up to five words.
    V4_NC = 34, Mandatory26;
    /// `ALIAS_SEND` (33) and `ALIAS_SEND_TT` (34).
    ALIAS = 35, Optional;
    /// `LOCAL_EXT`; internal to `term_to_binary`.
    LOCAL_EXT = 36, Internal;
    /// `ALTACT_SIG_SEND` (37): priority messages of OTP 28.
    ALTACT_SIG = 37, Optional;
    /// `RECORD_EXT` of OTP 29.
    NATIVE_RECORDS = 38, Optional;
    /// Signals may travel on the lanes of a session; see [`fabric`](crate::fabric). Krarup's own:
    /// OTP gives the bit no meaning and passes over it.
    FABRIC = 62, Optional;
}

impl Flags {
    /// No flag at all.
    pub const NONE: Flags = Flags(0);
    /// What OTP 25 demands of a peer, and what [`Flags::MANDATORY_25_DIGEST`] stands for.
    pub const MANDATORY_25: Flags = rows_of(&[FlagKind::Mandatory25]);
    /// What OTP 26 and later demand of a peer, and what this implementation demands.
    pub const MANDATORY: Flags = rows_of(&[FlagKind::Mandatory25, FlagKind::Mandatory26]);
    /// The flags that may be negotiated: all but the obsolete and the internal ones.
    pub const KNOWN: Flags =
        rows_of(&[FlagKind::Optional, FlagKind::Mandatory25, FlagKind::Mandatory26]);
    /// What a hidden node of this implementation announces: all that OTP 29 does.
    /// [`Flags::FABRIC`] is added by whoever can carry a session.
    pub const HIDDEN: Flags =
        Flags(Flags::KNOWN.0 & !(Flags::PUBLISHED.0 | Flags::NAME_ME.0 | Flags::FABRIC.0));

    /// What this implementation announces by default: everything OTP 29 does, plus
    /// [`Flags::PUBLISHED`] when the node is visible.
    #[must_use]
    pub const fn ours(published: bool) -> Flags {
        if published { Flags::HIDDEN.with(Flags::PUBLISHED) } else { Flags::HIDDEN }
    }

    /// The set with exactly the bits of `bits`, unknown ones included.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Flags {
        Flags(bits)
    }

    /// The 64 bits as they stand on the wire.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether every flag of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other` together.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// This set but for what is in `other`.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with [`Flags::MANDATORY_25`] added if the peer announced them by
    /// [`Flags::MANDATORY_25_DIGEST`] alone.
    // OTP: dist_util.erl, expand_mandatory_25/1.
    #[must_use]
    pub const fn expand(self) -> Flags {
        if self.contains(Flags::MANDATORY_25_DIGEST) {
            self.with(Flags::MANDATORY_25)
        } else {
            self
        }
    }

    /// What two nodes agree on: known flags that both announced, digests expanded. The result is
    /// the same whichever side asks.
    #[must_use]
    pub const fn negotiate(ours: Flags, theirs: Flags) -> Flags {
        Flags(ours.expand().0 & theirs.expand().0 & Flags::KNOWN.0)
    }

    /// The flags of [`Flags::MANDATORY`] that this (announced or negotiated) set lacks; its
    /// `Display` names them, so that an error can say which.
    #[must_use]
    pub const fn missing_mandatory(self) -> Flags {
        Flags::MANDATORY.without(self.expand())
    }

    /// The names of the known flags in this set, lowest bit first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::TABLE.iter().filter(move |row| self.contains(row.flag())).map(|row| row.name)
    }

    /// Both sides are visible ([`Flags::PUBLISHED`]).
    #[must_use]
    pub const fn published(self) -> bool {
        self.contains(Flags::PUBLISHED)
    }

    /// Messages may be cut into fragments ([`Flags::FRAGMENTS`]).
    #[must_use]
    pub const fn fragments(self) -> bool {
        self.contains(Flags::FRAGMENTS)
    }

    /// Headers carry an atom cache ([`Flags::DIST_HDR_ATOM_CACHE`]).
    #[must_use]
    pub const fn header_atom_cache(self) -> bool {
        self.contains(Flags::DIST_HDR_ATOM_CACHE)
    }

    /// Frames begin with a distribution header (131, 68 or a fragment header) rather than with
    /// the pass-through byte 112. Fragments alone are enough for it.
    #[must_use]
    pub const fn distribution_header(self) -> bool {
        self.header_atom_cache() || self.fragments()
    }

    /// Messages to pids name their sender ([`Flags::SEND_SENDER`]).
    #[must_use]
    pub const fn send_sender(self) -> bool {
        self.contains(Flags::SEND_SENDER)
    }

    /// Exit reasons travel as payload ([`Flags::EXIT_PAYLOAD`]).
    #[must_use]
    pub const fn exit_payload(self) -> bool {
        self.contains(Flags::EXIT_PAYLOAD)
    }

    /// Monitors of pids and of names both exist. OTP sends none without both flags.
    #[must_use]
    pub const fn monitors(self) -> bool {
        self.contains(Flags::DIST_MONITOR.with(Flags::DIST_MONITOR_NAME))
    }

    /// Unlinking is numbered and acknowledged ([`Flags::UNLINK_ID`]).
    #[must_use]
    pub const fn unlink_id(self) -> bool {
        self.contains(Flags::UNLINK_ID)
    }

    /// Remote spawn exists ([`Flags::SPAWN`]).
    #[must_use]
    pub const fn spawn(self) -> bool {
        self.contains(Flags::SPAWN)
    }

    /// Messages may go to aliases ([`Flags::ALIAS`]).
    #[must_use]
    pub const fn alias(self) -> bool {
        self.contains(Flags::ALIAS)
    }

    /// Op 37 exists and replaces alias sends ([`Flags::ALTACT_SIG`]).
    #[must_use]
    pub const fn altact_signal(self) -> bool {
        self.contains(Flags::ALTACT_SIG)
    }

    /// Native records may be sent ([`Flags::NATIVE_RECORDS`]).
    #[must_use]
    pub const fn native_records(self) -> bool {
        self.contains(Flags::NATIVE_RECORDS)
    }

    /// A sequential trace may have any term as its label ([`Flags::BIG_SEQTRACE_LABELS`]).
    #[must_use]
    pub const fn big_seqtrace_labels(self) -> bool {
        self.contains(Flags::BIG_SEQTRACE_LABELS)
    }

    /// Pids, ports and references may be wide ([`Flags::V4_NC`]).
    #[must_use]
    pub const fn v4_identifiers(self) -> bool {
        self.contains(Flags::V4_NC)
    }

    /// Both sides can carry a session ([`Flags::FABRIC`]); their first frames say how.
    #[must_use]
    pub const fn fabric(self) -> bool {
        self.contains(Flags::FABRIC)
    }

    /// The initiator asked for a name ([`Flags::NAME_ME`]).
    #[must_use]
    pub const fn name_me(self) -> bool {
        self.contains(Flags::NAME_ME)
    }
}

/// The union of the table's rows of the given kinds.
const fn rows_of(kinds: &[FlagKind]) -> Flags {
    let mut bits = 0;
    let mut row = 0;
    while row < Flags::TABLE.len() {
        let mut kind = 0;
        while kind < kinds.len() {
            if Flags::TABLE[row].kind as u8 == kinds[kind] as u8 {
                bits |= Flags::TABLE[row].flag().0;
            }
            kind += 1;
        }
        row += 1;
    }
    Flags(bits)
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.with(other)
    }
}

impl BitAnd for Flags {
    type Output = Flags;

    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl fmt::Display for Flags {
    /// The names joined by ` | `, bits without a name as one hexadecimal number at the end.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("none");
        }
        let mut unnamed = self.0;
        let mut separator = "";
        for row in Flags::TABLE.iter().filter(|row| self.contains(row.flag())) {
            write!(formatter, "{separator}{}", row.name)?;
            unnamed &= !row.flag().0;
            separator = " | ";
        }
        if unnamed != 0 {
            write!(formatter, "{separator}{unnamed:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Flags({:#x}: {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every flag and its mask as the protocol reference states them, written down independently
    /// of the table above.
    const REFERENCE: &[(Flags, u64)] = &[
        (Flags::PUBLISHED, 0x1),
        (Flags::ATOM_CACHE, 0x2),
        (Flags::EXTENDED_REFERENCES, 0x4),
        (Flags::DIST_MONITOR, 0x8),
        (Flags::FUN_TAGS, 0x10),
        (Flags::DIST_MONITOR_NAME, 0x20),
        (Flags::HIDDEN_ATOM_CACHE, 0x40),
        (Flags::NEW_FUN_TAGS, 0x80),
        (Flags::EXTENDED_PIDS_PORTS, 0x100),
        (Flags::EXPORT_PTR_TAG, 0x200),
        (Flags::BIT_BINARIES, 0x400),
        (Flags::NEW_FLOATS, 0x800),
        (Flags::UNICODE_IO, 0x1000),
        (Flags::DIST_HDR_ATOM_CACHE, 0x2000),
        (Flags::SMALL_ATOM_TAGS, 0x4000),
        (Flags::ETS_COMPRESSED, 0x8000),
        (Flags::UTF8_ATOMS, 0x10000),
        (Flags::MAP_TAG, 0x20000),
        (Flags::BIG_CREATION, 0x40000),
        (Flags::SEND_SENDER, 0x80000),
        (Flags::BIG_SEQTRACE_LABELS, 0x10_0000),
        (Flags::PENDING_CONNECT, 0x20_0000),
        (Flags::EXIT_PAYLOAD, 0x40_0000),
        (Flags::FRAGMENTS, 0x80_0000),
        (Flags::HANDSHAKE_23, 0x100_0000),
        (Flags::UNLINK_ID, 0x200_0000),
        (Flags::MANDATORY_25_DIGEST, 0x400_0000),
        (Flags::SPAWN, 0x1_0000_0000),
        (Flags::NAME_ME, 0x2_0000_0000),
        (Flags::V4_NC, 0x4_0000_0000),
        (Flags::ALIAS, 0x8_0000_0000),
        (Flags::LOCAL_EXT, 0x10_0000_0000),
        (Flags::ALTACT_SIG, 0x20_0000_0000),
        (Flags::NATIVE_RECORDS, 0x40_0000_0000),
        (Flags::FABRIC, 0x4000_0000_0000_0000),
    ];

    #[test]
    fn table_has_the_values_of_the_protocol() {
        assert_eq!(REFERENCE.len(), Flags::TABLE.len());
        for ((flag, mask), row) in REFERENCE.iter().zip(Flags::TABLE) {
            assert_eq!(flag.bits(), *mask, "{}", row.name);
            assert_eq!(row.flag(), *flag, "{}", row.name);
            assert_eq!(flag.to_string(), row.name);
        }
    }

    #[test]
    fn sets_have_the_values_of_real_nodes() {
        assert_eq!(Flags::MANDATORY_25.bits(), 0x0107_0f94);
        assert_eq!(Flags::MANDATORY.bits(), 0x0000_0004_0307_0f94);
        assert_eq!(Flags::ours(false).bits(), 0x0000_006d_07df_7fbc);
        assert_eq!(Flags::ours(true).bits(), 0x0000_006d_07df_7fbd);
    }

    #[test]
    fn digest_stands_for_the_25_set() {
        let terse = Flags::from_bits(0x0005_0600_0000);
        assert_eq!(terse.missing_mandatory(), Flags::NONE);
        let negotiated = Flags::negotiate(Flags::ours(true), terse);
        assert!(negotiated.contains(Flags::MANDATORY | Flags::SPAWN));
        assert_eq!(negotiated, Flags::negotiate(terse, Flags::ours(true)));
        assert!(!negotiated.distribution_header());
    }

    #[test]
    fn missing_flags_are_named() {
        let old = Flags::ours(false)
            .without(Flags::V4_NC | Flags::UTF8_ATOMS | Flags::MANDATORY_25_DIGEST);
        assert_eq!(old.missing_mandatory().to_string(), "UTF8_ATOMS | V4_NC");
    }

    #[test]
    fn unknown_and_internal_bits_are_never_negotiated() {
        let all = Flags::from_bits(u64::MAX);
        assert_eq!(Flags::negotiate(all, all), Flags::KNOWN);
        assert_eq!(Flags::from_bits(1 << 50 | 1).to_string(), "PUBLISHED | 0x4000000000000");
    }

    #[test]
    fn fragments_alone_choose_the_distribution_header() {
        let passing = Flags::ours(false).without(Flags::FRAGMENTS | Flags::DIST_HDR_ATOM_CACHE);
        assert!(!passing.distribution_header());
        assert!((passing | Flags::FRAGMENTS).distribution_header());
    }
}
