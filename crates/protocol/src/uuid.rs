//! Kafka's 128-bit ids: topic ids, directory ids, incarnation ids, member ids.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id, written as 22 characters of URL-safe base64 without padding, as Kafka does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// Text that is not 22 characters of URL-safe base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: 22 characters of URL-safe base64 are expected")]
pub struct InvalidUuid(pub String);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zero: "none" on the wire.
    pub const ZERO: Self = Self([0; 16]);
    /// 0…01: the topic id of `__cluster_metadata`, and as a directory id "unassigned".
    pub const ONE: Self = Self::from_u128(1);
    /// The topic id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Self = Self::ONE;
    /// The directory id of a replica on an offline ("lost") directory (KIP-858).
    pub const LOST_DIRECTORY: Self = Self::from_u128(2);

    /// From its big-endian value.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// Whether this is [`Uuid::ZERO`].
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }

    /// A version 4 UUID made of 16 random bytes. Kafka never uses an id whose text starts with a
    /// dash (it looks like an option); neither do we: the first character is adjusted.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        let [b0, _, _, _, _, _, b6, _, b8, ..] = &mut bytes;
        *b6 = (*b6 & 0x0f) | 0x40;
        *b8 = (*b8 & 0x3f) | 0x80;
        // The text's first character shows the top six bits; 62 is '-'.
        if *b0 >> 2 == 62 {
            *b0 &= 0x7f;
        }
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        // 22 characters carry 132 bits: the value shifted left by four.
        for i in 0..22u32 {
            let shift = 122 - 6 * i as i32;
            let bits = if shift >= 0 { value >> shift } else { value << -shift };
            let letter = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A');
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let invalid = || InvalidUuid(text.chars().take(64).collect());
        if text.len() != 22 {
            return Err(invalid());
        }
        let mut value: u128 = 0;
        for (i, letter) in text.bytes().enumerate() {
            let bits = ALPHABET.iter().position(|&l| l == letter).ok_or_else(invalid)? as u128;
            value = if i < 21 { (value << 6) | bits } else { (value << 2) | (bits >> 4) };
        }
        Ok(Self::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::ONE));
        let id: Uuid = "AiTeuvKeRnmqODwOKfhf8w".parse().unwrap();
        assert_eq!(id.to_string(), "AiTeuvKeRnmqODwOKfhf8w");
        assert!("AiTeuvKeRnmqODwOKfhf8".parse::<Uuid>().is_err());
        assert!("AiTeuvKeRnmqODwOKfhf8=".parse::<Uuid>().is_err());
    }

    #[test]
    fn a_random_id_never_starts_with_a_dash() {
        for first in 0..=255u8 {
            let mut bytes = [0xff; 16];
            bytes[0] = first;
            assert!(!Uuid::from_random(bytes).to_string().starts_with('-'), "first byte {first}");
        }
    }
}
