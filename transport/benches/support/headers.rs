//! Distribution headers of messages that name three atoms.

use std::hint::black_box;

use krarup_transport::dist::atom_cache::SendCache;
use krarup_transport::dist::header::{HeaderReader, write_header};
use krarup_transport::term::Atom;

/// Messages of one batch.
pub(crate) const BATCH: usize = 1000;

/// The atoms of a batch: each message names the two nodes and one of so many words, in turn.
pub(crate) fn messages(words: usize) -> Vec<[Atom; 3]> {
    let nodes = ["alpha@127.0.0.1", "omega@127.0.0.1"].map(Atom::from_static);
    let word = |i| Atom::new(&format!("word_{}", i % words)).expect("short");
    (0..BATCH).map(|i| [nodes[0].clone(), nodes[1].clone(), word(i)]).collect()
}

/// Writes the headers of a batch, one behind the other.
pub(crate) fn write(cache: &mut SendCache, messages: &[[Atom; 3]], out: &mut Vec<u8>) {
    for atoms in messages {
        cache.begin();
        for atom in atoms {
            black_box(cache.mention(atom));
        }
        write_header(cache, out);
        cache.commit();
    }
}

/// Reads headers that lie one behind the other.
pub(crate) fn read(reader: &mut HeaderReader, mut headers: &[u8]) {
    while !headers.is_empty() {
        let len = reader.read(headers).expect("valid");
        black_box(reader.atoms());
        headers = &headers[len..];
    }
}

/// Both ends when all atoms of a batch are known, and the headers of another one.
pub(crate) fn prepared(messages: &[[Atom; 3]]) -> (SendCache, HeaderReader, Vec<u8>) {
    let (mut cache, mut reader) = (SendCache::new(), HeaderReader::new());
    let mut headers = Vec::new();
    write(&mut cache, messages, &mut headers);
    read(&mut reader, &headers);
    headers.clear();
    write(&mut cache, messages, &mut headers);
    (cache, reader, headers)
}
