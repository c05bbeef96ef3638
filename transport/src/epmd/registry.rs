//! The names an epmd server knows: those registered now, and those it remembers for their
//! creations.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::message::NodeEntry;
use super::server::ConnectionId;

/// The number of a registration: greater than that of every earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial(u64);

/// A registered node.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) name: Arc<[u8]>,
    pub(super) connection: ConnectionId,
    port: u16,
    node_type: super::message::NodeType,
    protocol: u8,
    highest_version: u16,
    lowest_version: u16,
    extra: Box<[u8]>,
    creation: u32,
}

impl Registration {
    /// The registration as a look-up shows it.
    pub(super) fn entry(&self) -> NodeEntry<'_> {
        NodeEntry {
            port: self.port,
            node_type: self.node_type,
            protocol: self.protocol,
            highest_version: self.highest_version,
            lowest_version: self.lowest_version,
            name: &self.name,
            extra: &self.extra,
        }
    }

    /// The line of the NAMES reply.
    pub(super) fn write_name_line(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"name ");
        output.extend_from_slice(&self.name);
        output.extend_from_slice(format!(" at port {}\n", self.port).as_bytes());
    }

    /// The line of the DUMP reply, with the NUL that OTP leaves after it.
    pub(super) fn write_dump_line(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"active name     <");
        output.extend_from_slice(&self.name);
        let rest = format!("> at port {}, fd = {}\n\0", self.port, self.connection);
        output.extend_from_slice(rest.as_bytes());
    }
}

/// A name that was registered, kept for its creation.
#[derive(Debug)]
struct Remembered {
    creation: u32,
    port: u16,
    connection: ConnectionId,
    /// Its place in the order of forgetting.
    serial: Serial,
}

/// All names of a server.
///
/// Registering, looking up and removing take the same time however many there are; the list is
/// newest first, as OTP's.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next_serial: u64,
    by_name: HashMap<Arc<[u8]>, Serial>,
    by_age: BTreeMap<Serial, Registration>,
    remembered: HashMap<Arc<[u8]>, Remembered>,
    remembered_by_age: BTreeMap<Serial, Arc<[u8]>>,
}

impl Registry {
    /// How many nodes are registered.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Registers a node; gives the number of the registration and its 32-bit creation, or `None`
    /// if the name is taken. `seconds` is the time of day in seconds since 1970.
    // OTP: epmd_srv.c, node_reg2.
    pub(super) fn register(
        &mut self,
        entry: &NodeEntry<'_>,
        connection: ConnectionId,
        seconds: u32,
    ) -> Option<(Serial, u32)> {
        if self.by_name.contains_key(entry.name) {
            return None;
        }
        let (name, creation) = match self.remembered.remove_entry(entry.name) {
            Some((name, remembered)) => {
                self.remembered_by_age.remove(&remembered.serial);
                (name, remembered.creation)
            }
            None => (Arc::from(entry.name), seconds),
        };
        // 0 to 3 are left to the old creations and to nodes that are not alive.
        let creation = creation.wrapping_add(1).max(4);
        let serial = self.take_serial();
        let registration = Registration {
            name: Arc::clone(&name),
            connection,
            port: entry.port,
            node_type: entry.node_type,
            protocol: entry.protocol,
            highest_version: entry.highest_version,
            lowest_version: entry.lowest_version,
            extra: entry.extra.into(),
            creation,
        };
        self.by_name.insert(name, serial);
        self.by_age.insert(serial, registration);
        Some((serial, creation))
    }

    /// Removes a registration, and remembers its name among the last `remembered_max`.
    pub(super) fn remove(&mut self, serial: Serial, remembered_max: usize) {
        let Some(registration) = self.by_age.remove(&serial) else { return };
        self.by_name.remove(&registration.name);
        let serial = self.take_serial();
        self.remembered_by_age.insert(serial, Arc::clone(&registration.name));
        let remembered = Remembered {
            creation: registration.creation,
            port: registration.port,
            connection: registration.connection,
            serial,
        };
        self.remembered.insert(registration.name, remembered);
        while self.remembered.len() > remembered_max {
            let Some((_, name)) = self.remembered_by_age.pop_first() else { break };
            self.remembered.remove(&name);
        }
    }

    /// The registration of a name.
    pub(super) fn find(&self, name: &[u8]) -> Option<(Serial, &Registration)> {
        let serial = self.by_name.get(name)?;
        Some((*serial, self.by_age.get(serial)?))
    }

    /// The registrations older than `than`, newest first.
    pub(super) fn older(
        &self,
        than: Option<Serial>,
    ) -> impl Iterator<Item = (Serial, &Registration)> {
        let upper = than.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.by_age.range((Bound::Unbounded, upper));
        range.rev().map(|(serial, registration)| (*serial, registration))
    }

    /// The lines of the DUMP reply for remembered names forgotten after `than`, oldest first.
    pub(super) fn write_remembered(
        &self,
        than: Option<Serial>,
        output: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Option<Serial> {
        let lower = than.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (serial, name) in self.remembered_by_age.range((lower, Bound::Unbounded)) {
            if output.len() >= bytes_max {
                break;
            }
            let Some(remembered) = self.remembered.get(name) else { continue };
            output.extend_from_slice(b"old/unused name <");
            output.extend_from_slice(name);
            let (port, connection) = (remembered.port, remembered.connection);
            let rest = format!(">, port = {port}, fd = {connection} \n\0");
            output.extend_from_slice(rest.as_bytes());
            last = Some(*serial);
        }
        last
    }

    fn take_serial(&mut self) -> Serial {
        let serial = Serial(self.next_serial);
        self.next_serial += 1;
        serial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: u32 = 1_800_000_000;

    fn add(registry: &mut Registry, name: &str, seconds: u32) -> Option<(Serial, u32)> {
        registry.register(&NodeEntry::new(name, 1), ConnectionId(0), seconds)
    }

    #[test]
    fn creations_begin_with_the_time_and_count_on() {
        let mut registry = Registry::default();
        let (serial, creation) = add(&mut registry, "a", SECONDS).expect("a free name");
        assert_eq!(creation, SECONDS + 1);
        assert!(add(&mut registry, "a", SECONDS).is_none());
        registry.remove(serial, 1000);
        let (_, creation) = add(&mut registry, "a", SECONDS + 100).expect("a free name");
        assert_eq!(creation, SECONDS + 2);
        let (_, creation) = add(&mut registry, "b", SECONDS).expect("a free name");
        assert_eq!(creation, SECONDS + 1);
    }

    #[test]
    fn creations_skip_the_small_numbers() {
        for (seconds, expected) in [(u32::MAX, 4), (0, 4), (2, 4), (3, 4), (4, 5)] {
            let mut registry = Registry::default();
            assert_eq!(add(&mut registry, "a", seconds).expect("a free name").1, expected);
        }
    }

    #[test]
    fn the_oldest_remembered_name_is_forgotten_first() {
        let mut registry = Registry::default();
        for name in ["a", "b", "c"] {
            let (serial, _) = add(&mut registry, name, SECONDS).expect("a free name");
            registry.remove(serial, 2);
        }
        assert_eq!(add(&mut registry, "a", SECONDS).expect("free").1, SECONDS + 1);
        assert_eq!(add(&mut registry, "b", SECONDS).expect("free").1, SECONDS + 2);
        assert_eq!(add(&mut registry, "c", SECONDS).expect("free").1, SECONDS + 2);
    }

    #[test]
    fn the_list_is_newest_first_and_can_be_taken_up_again() {
        let mut registry = Registry::default();
        let serials: Vec<_> = ["a", "b", "c"]
            .map(|name| add(&mut registry, name, SECONDS).expect("a free name").0)
            .into();
        let names = |than| -> Vec<_> {
            registry.older(than).map(|(_, registration)| registration.name.to_vec()).collect()
        };
        assert_eq!(names(None), [b"c", b"b", b"a"]);
        assert_eq!(names(Some(serials[1])), [b"a"]);
    }
}
