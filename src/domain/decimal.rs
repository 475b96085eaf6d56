//! Exact decimal numbers, as the vendor writes them: no rounding through binary floating point.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// `mantissa` × 10^−`scale`, without trailing zeros after the point, so that equal values are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

/// Why a text is not a [`Decimal`]: not a number, or one with more than 18 significant digits or a
/// magnitude beyond 10^±18, which no quantity here has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most 18 digits")]
pub struct NotADecimal;

const MAX_DIGITS: usize = 18;

impl Decimal {
    pub fn from_integer(value: i64) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    pub fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Digits after the point, 0 to 18.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The value, when it is a whole number.
    pub fn to_integer(self) -> Option<i64> {
        (self.scale == 0).then_some(self.mantissa)
    }
}

impl FromStr for Decimal {
    type Err = NotADecimal;

    /// Reads JSON's number grammar, and also a leading `+`, a leading `.` and leading zeros.
    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes.first() {
            Some(b'-') => (true, &bytes[1..]),
            Some(b'+') => (false, &bytes[1..]),
            _ => (false, bytes),
        };
        let (digits, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&bytes[..at], parse_exponent(&bytes[at + 1..])?),
            None => (bytes, 0),
        };
        let mut mantissa: i64 = 0;
        let mut significant = 0;
        let mut scale: i32 = -exponent;
        let (mut seen_digit, mut seen_point, mut pending_zeros) = (false, false, 0_u32);
        for &byte in digits {
            match byte {
                b'.' if !seen_point => seen_point = true,
                b'0'..=b'9' => {
                    seen_digit = true;
                    scale += i32::from(seen_point);
                    // Zeros are held back until a digit follows, so that trailing ones cost no digits.
                    if byte == b'0' {
                        pending_zeros += u32::from(mantissa != 0);
                        continue;
                    }
                    significant += pending_zeros as usize + 1;
                    if significant > MAX_DIGITS {
                        return Err(NotADecimal);
                    }
                    mantissa = mantissa * 10_i64.pow(pending_zeros + 1) + i64::from(byte - b'0');
                    pending_zeros = 0;
                }
                _ => return Err(NotADecimal),
            }
        }
        if !seen_digit {
            return Err(NotADecimal);
        }
        if mantissa == 0 {
            return Ok(Self::default());
        }
        scale -= i32::try_from(pending_zeros).map_err(|_| NotADecimal)?;
        if scale < 0 {
            let zeros = scale.unsigned_abs();
            if significant + zeros as usize > MAX_DIGITS {
                return Err(NotADecimal);
            }
            mantissa *= 10_i64.pow(zeros);
            scale = 0;
        }
        let scale = u8::try_from(scale).ok().filter(|s| usize::from(*s) <= MAX_DIGITS).ok_or(NotADecimal)?;
        Ok(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }
}

fn parse_exponent(text: &[u8]) -> Result<i32, NotADecimal> {
    let text = std::str::from_utf8(text).map_err(|_| NotADecimal)?;
    text.parse().ok().filter(|e: &i32| e.abs() <= 400).ok_or(NotADecimal)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        let widen = |d: &Self| i128::from(d.mantissa) * 10_i128.pow(u32::from(scale - d.scale));
        widen(self).cmp(&widen(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_vendor_writes_exactly() {
        for (text, expected) in [
            ("66.67", "66.67"),
            ("77", "77"),
            ("77.0", "77"),
            ("-0.50", "-0.5"),
            ("1.5e3", "1500"),
            ("0", "0"),
            ("-0.0", "0"),
            ("5E-2", "0.05"),
            ("100", "100"),
            ("1e2", "100"),
            ("007", "7"),
            (".5", "0.5"),
            ("+3", "3"),
            ("123456789012345678", "123456789012345678"),
            ("1000000000000000000e-18", "1"),
            ("100.2500", "100.25"),
            ("10e1", "100"),
        ] {
            let read: Decimal = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_hold_exactly() {
        for text in [
            "",
            "-",
            ".",
            "NaN",
            "Infinity",
            "1e400",
            "1.2.3",
            "1e",
            "12a",
            "1234567890123456789",
            "1e18",
            "1e-19",
            "0x1",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(NotADecimal), "{text}");
        }
    }

    #[test]
    fn orders_by_value() {
        let d = |t: &str| t.parse::<Decimal>().expect("a decimal");
        assert!(d("0.9") < d("1"));
        assert!(d("-2") < d("-1.5"));
    }

    #[test]
    fn a_number_is_its_digits_and_where_the_point_stands() {
        for (text, mantissa, scale, whole) in [
            ("66.67", 6_667, 2, None),
            ("-0.50", -5, 1, None),
            ("77.0", 77, 0, Some(77)),
            ("0", 0, 0, Some(0)),
            ("1e17", 100_000_000_000_000_000, 0, Some(100_000_000_000_000_000)),
            ("1e-18", 1, 18, None),
        ] {
            let read: Decimal = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((read.mantissa(), read.scale(), read.to_integer()), (mantissa, scale, whole), "{text}");
        }
        assert_eq!(Decimal::from_integer(-40).to_string(), "-40");
    }
}
