//! The same terms in the crates `eetf` and `erltf`.

use std::hint::black_box;

use super::terms::external;
use super::{Direction, Operation, Subject, Term};
use crate::error::Error;

/// Version byte of a stand-alone term, which both crates want.
const VERSION: u8 = 131;

fn versioned(subject: Subject) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&external(subject));
    bytes
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Broken(format!("this crate does not read the term: {error}"))
}

/// `eetf`, writing into a buffer that is there.
pub(super) fn eetf(wanted: Term) -> Result<Operation, Error> {
    let bytes = versioned(wanted.subject);
    let term = ::eetf::Term::decode(&bytes[..]).map_err(unreadable)?;
    Ok(match wanted.direction {
        Direction::Encode => {
            let mut out = Vec::new();
            Box::new(move |times| {
                for _ in 0..times {
                    out.clear();
                    black_box(&term).encode(&mut out).map_err(|error| error.to_string())?;
                    black_box(&out);
                }
                Ok(())
            })
        }
        Direction::Decode => Box::new(move |times| {
            for _ in 0..times {
                let term = ::eetf::Term::decode(black_box(&bytes[..]))
                    .map_err(|error| error.to_string())?;
                black_box(term);
            }
            Ok(())
        }),
    })
}

/// `erltf` with owned terms; it writes into a buffer of its own each time.
pub(super) fn erltf(wanted: Term) -> Result<Operation, Error> {
    let bytes = versioned(wanted.subject);
    let term = ::erltf::decode(&bytes).map_err(unreadable)?;
    Ok(match wanted.direction {
        Direction::Encode => Box::new(move |times| {
            for _ in 0..times {
                let out = ::erltf::encode(black_box(&term)).map_err(|error| error.to_string())?;
                black_box(out);
            }
            Ok(())
        }),
        Direction::Decode => Box::new(move |times| {
            for _ in 0..times {
                let term = ::erltf::decode(black_box(&bytes)).map_err(|error| error.to_string())?;
                black_box(term);
            }
            Ok(())
        }),
    })
}

/// `erltf` with terms that borrow.
pub(super) fn erltf_borrowed(wanted: Term) -> Result<Operation, Error> {
    let bytes = versioned(wanted.subject);
    Ok(Box::new(move |times| {
        for _ in 0..times {
            let term = ::erltf::decoder::decode_borrowed(black_box(&bytes))
                .map_err(|error| error.error.to_string())?;
            black_box(term);
        }
        Ok(())
    }))
}
