//! Integers that do not fit 64 bits.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::{BigInt, Sign, ToBigInt};

use super::Term;

/// An integer outside the range of `i64`.
///
/// Smaller values are [`Term::Integer`], always, so that equal integers are equal terms;
/// `Term::from(BigInt)` picks the right one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BigInteger(BigInt);

impl BigInteger {
    /// The integer as a number to calculate with.
    #[must_use]
    pub fn as_bigint(&self) -> &BigInt {
        &self.0
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0.sign() == Sign::Minus
    }

    /// The magnitude as little-endian bytes without leading zeros, as on the wire.
    #[must_use]
    pub fn to_digits(&self) -> Vec<u8> {
        self.0.magnitude().to_bytes_le()
    }

    /// Compares with a float by exact value, as Erlang does.
    pub(crate) fn compare_with_float(&self, float: f64) -> Ordering {
        match float.to_bigint() {
            // Beyond i64 on this side: the fraction cut from the float cannot matter.
            Some(integer) => self.0.cmp(&integer),
            // Infinite or NaN, which no Erlang term is: order them at the ends.
            None if float.is_sign_negative() => Ordering::Greater,
            None => Ordering::Less,
        }
    }
}

impl From<BigInteger> for BigInt {
    fn from(integer: BigInteger) -> Self {
        integer.0
    }
}

impl TryFrom<BigInt> for BigInteger {
    /// The value, which fits 64 bits.
    type Error = i64;

    fn try_from(value: BigInt) -> Result<Self, i64> {
        match i64::try_from(&value) {
            Ok(small) => Err(small),
            Err(_) => Ok(Self(value)),
        }
    }
}

impl From<BigInt> for Term {
    fn from(value: BigInt) -> Self {
        match BigInteger::try_from(value) {
            Ok(big) => Self::BigInteger(big),
            Err(small) => Self::Integer(small),
        }
    }
}

impl fmt::Display for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The integer of these little-endian digits; leading zeros and a negative zero are legal.
pub(crate) fn from_digits(negative: bool, digits: &[u8]) -> Term {
    if let Some(magnitude) = super::read::small_magnitude(digits) {
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        if let Ok(value) = i64::try_from(value) {
            return Term::Integer(value);
        }
    }
    let sign = if negative { Sign::Minus } else { Sign::Plus };
    Term::from(BigInt::from_bytes_le(sign, digits))
}

/// Compares a 64-bit integer with a float by exact value.
pub(crate) fn compare_integer_with_float(integer: i64, float: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float >= LIMIT || float.is_nan() {
        return Ordering::Less;
    }
    if float < -LIMIT {
        return Ordering::Greater;
    }
    // Within ±2^63 the whole part converts exactly.
    let whole = float.trunc();
    integer.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly() {
        use Ordering::{Equal, Greater, Less};
        let exact = 1_i64 << 53;
        for (integer, float, order) in [
            (1, 1.0, Equal),
            (1, 1.5, Less),
            (-1, -1.5, Greater),
            (exact + 1, exact as f64, Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Equal),
            (i64::MIN, -1e300, Greater),
            (0, -0.0, Equal),
        ] {
            assert_eq!(compare_integer_with_float(integer, float), order, "{integer} {float}");
        }
        let Term::BigInteger(big) = Term::from(BigInt::from(1_u8) << 64_u8) else { panic!() };
        assert_eq!(big.compare_with_float(18_446_744_073_709_551_616.0), Equal);
        assert_eq!(big.compare_with_float(18_446_744_073_709_555_712.0), Less);
        assert_eq!(big.compare_with_float(1.5), Greater);
    }

    #[test]
    fn digits_find_their_smallest_type() {
        assert_eq!(from_digits(true, &[]), Term::Integer(0));
        assert_eq!(from_digits(false, &[5, 0, 0, 0]), Term::Integer(5));
        assert_eq!(from_digits(true, &[0, 0, 0, 0, 0, 0, 0, 0x80]), Term::Integer(i64::MIN));
        let over = from_digits(false, &[0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0]);
        assert!(matches!(over, Term::BigInteger(_)));
    }
}
