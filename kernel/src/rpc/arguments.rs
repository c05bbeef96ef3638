//! Argument lists as Rust values.

use krarup_transport::term::{self, ConvertError, Term, from_term, write_list_header, write_nil};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Raise;
use crate::node::Encoded;

/// Arguments of a call: a tuple of up to eight values, or the terms themselves.
pub trait Arguments {
    /// How many there are.
    fn arity(&self) -> usize;

    /// Appends the list of them in external form.
    ///
    /// # Errors
    /// When a value has no external form.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError>;

    /// The list of them.
    ///
    /// # Errors
    /// As [`Arguments::encode`].
    fn to_encoded(&self) -> Result<Encoded, ConvertError> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(Encoded::of_bytes(out))
    }
}

/// What a function takes: a tuple of up to eight values, or any number of terms.
pub trait FromArguments: Sized {
    /// How many; nothing for any number.
    const ARITY: Option<usize>;

    /// The arguments as Rust values.
    ///
    /// # Errors
    /// `function_clause` when they have another shape.
    fn from_arguments(arguments: Vec<Term>) -> Result<Self, Raise>;
}

impl Arguments for [Term] {
    fn arity(&self) -> usize {
        self.len()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        if !self.is_empty() {
            write_list_header(out, self.len());
            self.iter().for_each(|argument| argument.encode(out));
        }
        write_nil(out);
        Ok(())
    }

    fn to_encoded(&self) -> Result<Encoded, ConvertError> {
        // Large binaries go by reference.
        Ok(Encoded::term(&Term::List(self.to_vec())))
    }
}

impl Arguments for Vec<Term> {
    fn arity(&self) -> usize {
        self.len()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        self.as_slice().encode(out)
    }

    fn to_encoded(&self) -> Result<Encoded, ConvertError> {
        self.as_slice().to_encoded()
    }
}

impl<T: Arguments + ?Sized> Arguments for &T {
    fn arity(&self) -> usize {
        (**self).arity()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        (**self).encode(out)
    }

    fn to_encoded(&self) -> Result<Encoded, ConvertError> {
        (**self).to_encoded()
    }
}

impl FromArguments for Vec<Term> {
    const ARITY: Option<usize> = None;

    fn from_arguments(arguments: Vec<Term>) -> Result<Self, Raise> {
        Ok(arguments)
    }
}

impl Arguments for () {
    fn arity(&self) -> usize {
        0
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        write_nil(out);
        Ok(())
    }
}

impl FromArguments for () {
    const ARITY: Option<usize> = Some(0);

    fn from_arguments(_: Vec<Term>) -> Result<Self, Raise> {
        Ok(())
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $index:tt),+;)+) => {$(
        impl<$($name: Serialize),+> Arguments for ($($name,)+) {
            fn arity(&self) -> usize {
                $count
            }

            fn encode(&self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
                write_list_header(out, $count);
                $(term::to_bytes(&self.$index, out)?;)+
                write_nil(out);
                Ok(())
            }
        }

        impl<$($name: DeserializeOwned),+> FromArguments for ($($name,)+) {
            const ARITY: Option<usize> = Some($count);

            fn from_arguments(arguments: Vec<Term>) -> Result<Self, Raise> {
                let no_clause = || Raise::error("function_clause");
                let mut arguments = arguments.iter();
                Ok(($(
                    arguments
                        .next()
                        .and_then(|argument| from_term::<$name>(argument).ok())
                        .ok_or_else(no_clause)?,
                )+))
            }
        }
    )+};
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
