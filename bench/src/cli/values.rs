//! Values of options: sizes, times, counts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Smallest message: the sequence number and its length word must fit.
const SIZE_MIN: usize = 16;
/// Largest message.
const SIZE_MAX: usize = 256 << 20;

/// A message size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.trim_end_matches("ib").trim_end_matches('b');
        let (digits, unit) = match bare.as_bytes().last() {
            Some(b'k') => (&bare[..bare.len() - 1], 1 << 10),
            Some(b'm') => (&bare[..bare.len() - 1], 1 << 20),
            _ => (bare, 1),
        };
        let bytes =
            digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(
                || format!("a size is a number of bytes such as 16, 8k or 1m, not {text:?}"),
            )?;
        if !(SIZE_MIN..=SIZE_MAX).contains(&bytes) {
            return Err(format!("sizes go from {SIZE_MIN} bytes to 256m, {text} is outside"));
        }
        Ok(Size(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        };
        f.pad(&text)
    }
}

/// A span of time given in seconds with decimals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..=3600.0).contains(seconds))
            .map(|seconds| Seconds(Duration::from_secs_f64(seconds)))
            .ok_or_else(|| format!("a time is a number of seconds from 0 to 3600, not {text:?}"))
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

/// A number of things, or of things per second; k and M stand for thousands and millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let (digits, unit) = match lower.as_bytes().last() {
            Some(b'k') => (&lower[..lower.len() - 1], 1_000.0),
            Some(b'm') => (&lower[..lower.len() - 1], 1_000_000.0),
            _ => (&lower[..], 1.0),
        };
        let number = digits.parse::<f64>().ok().map(|number| number * unit);
        match number {
            Some(number) if (1.0..=1e9).contains(&number) && number.fract() == 0.0 => {
                Ok(Count(number as u32))
            }
            _ => Err(format!(
                "a count is a whole number from 1 to 1000m, such as 64, 10k or 1.5m, not {text:?}"
            )),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_and_refuse_nonsense() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(bytes("16"), Ok(16));
        assert_eq!(bytes("8k"), Ok(8192));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        for wrong in ["", "8", "k", "-1", "1g", "512m", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(Size(16).to_string(), "16 B");
        assert_eq!(Size(1025).to_string(), "1025 B");
        assert_eq!(Size(65536).to_string(), "64 KiB");
        assert_eq!(Size(1 << 20).to_string(), "1 MiB");
    }

    #[test]
    fn counts_take_units_and_print_in_groups() {
        let count = |text: &str| text.parse::<Count>().map(|count| count.0);
        assert_eq!(count("64"), Ok(64));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("1.5M"), Ok(1_500_000));
        for wrong in ["", "0", "-1", "1.5", "k", "2000m", "nan"] {
            assert!(count(wrong).is_err(), "{wrong:?} was accepted");
        }
        assert_eq!(Count(1_234_567).to_string(), "1,234,567");
        assert_eq!(Count(64).to_string(), "64");
    }
}
