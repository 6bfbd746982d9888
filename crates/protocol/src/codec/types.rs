//! Values on the wire that are no plain integers, strings or bytes.

use bytes::Bytes;

/// The `records` of a message: record batches, opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// The bytes themselves. Decoding always gives this form.
    Bytes(Bytes),
    /// Bytes kept elsewhere, such as a slice of a segment file, that the network layer sends in their
    /// place (see [`Splice`]).
    External {
        /// What to send: means something only to the one who made it.
        token: u64,
        /// How many bytes.
        len: u32,
    },
}

impl Records {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, unless they are external.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// Encoded bytes, with places where external bytes belong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Everything but the external bytes. Sizes and lengths in it count them.
    pub bytes: Bytes,
    /// External bytes, by ascending position.
    pub splices: Vec<Splice>,
}

/// External bytes to send in the middle of [`Encoded::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splice {
    /// Send that many of [`Encoded::bytes`] first. Splices before this one do not count.
    pub position: usize,
    /// From [`Records::External`].
    pub token: u64,
    /// From [`Records::External`].
    pub len: u32,
}

impl Encoded {
    /// Bytes on the wire, external ones included.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.bytes.len() + self.splices.iter().map(|splice| splice.len as usize).sum::<usize>()
    }
}

/// Tagged fields that this version does not know (KIP-482), kept as they came. One word if empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownTaggedFields(
    #[expect(
        clippy::box_collection,
        reason = "one word in each of hundreds of structs, almost always empty"
    )]
    Option<Box<Vec<UnknownTaggedField>>>,
);

/// One field of [`UnknownTaggedFields`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTaggedField {
    /// The tag number.
    pub tag: u32,
    /// The content.
    pub data: Bytes,
}

impl UnknownTaggedFields {
    /// The fields, in the order in which they came.
    #[must_use]
    pub fn as_slice(&self) -> &[UnknownTaggedField] {
        self.0.as_ref().map_or(&[], |fields| fields.as_slice())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Adds a field.
    pub fn push(&mut self, field: UnknownTaggedField) {
        let fields = self.0.get_or_insert_default();
        if fields.len() == fields.capacity() {
            // From one upwards: most structs that have any have one.
            fields.reserve_exact(fields.len().max(1));
        }
        fields.push(field);
    }
}
