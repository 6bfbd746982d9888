//! What an array can hold: plain values and generated structs.

use bytes::Bytes;
use bytestring::ByteString;

use super::{DecodeError, Decoder, EncodeError, Encoder};
use crate::Uuid;

/// A value with a wire form that depends on the message's version. Implemented by plain values here,
/// by structs in the generated code.
pub trait Element: Sized {
    /// The least number of bytes it takes in any version.
    const MIN_SIZE: usize;

    /// Reads one value.
    ///
    /// # Errors
    /// The bytes are no such value.
    fn read(
        d: &mut Decoder,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Self, DecodeError>;

    /// Writes one value.
    ///
    /// # Errors
    /// The value has no form in this version.
    fn write(
        &self,
        e: &mut Encoder,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<(), EncodeError>;
}

macro_rules! plain {
    ($($type:ty: $size:literal, |$d:ident, $flexible:ident, $field:ident| $read:expr,
       |$e:ident, $value:ident| $write:expr;)*) => {
        $(
            impl Element for $type {
                const MIN_SIZE: usize = $size;

                fn read(
                    $d: &mut Decoder,
                    _: i16,
                    $flexible: bool,
                    $field: &'static str,
                ) -> Result<Self, DecodeError> {
                    let _ = $flexible;
                    $read
                }

                fn write(
                    &self,
                    $e: &mut Encoder,
                    _: i16,
                    $flexible: bool,
                    $field: &'static str,
                ) -> Result<(), EncodeError> {
                    let ($value, _, _) = (self, $flexible, $field);
                    $write
                }
            }
        )*
    };
}

macro_rules! integers {
    ($($type:ident: $size:literal;)*) => {
        plain! {
            $($type: $size, |d, _flexible, field| d.$type(field), |e, v| { e.$type(*v); Ok(()) };)*
        }
    };
}

integers! { i8: 1; i16: 2; u16: 2; i32: 4; u32: 4; i64: 8; f64: 8; }

plain! {
    bool: 1, |d, _flexible, field| d.i8(field).map(|byte| byte != 0), |e, v| { e.i8((*v).into()); Ok(()) };
    Uuid: 16, |d, _flexible, field| d.array(field).map(Uuid), |e, v| { e.raw(&v.0); Ok(()) };
}

impl Element for ByteString {
    const MIN_SIZE: usize = 1;

    fn read(
        d: &mut Decoder,
        _: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        let value = d.string(flexible, field)?;
        d.required(value, field)
    }

    fn write(
        &self,
        e: &mut Encoder,
        _: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        e.string(flexible, self, field)
    }
}

impl Element for Bytes {
    const MIN_SIZE: usize = 1;

    fn read(
        d: &mut Decoder,
        _: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        let value = d.bytes(flexible, field)?;
        d.required(value, field)
    }

    fn write(
        &self,
        e: &mut Encoder,
        _: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        e.bytes(flexible, self, field)
    }
}
