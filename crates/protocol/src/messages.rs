//! Every message of the protocol and of the internal logs, generated from `schemas/*.schema`.
//!
//! A top-level message is re-exported here; the structs inside it live in its own module:
//! [`ProduceRequest`] and [`produce_request::TopicProduceData`]. Field names are the schema's in
//! snake case (`Type` is `type_`). A field that the version at hand lacks reads as its default.
//!
//! What is emitted, and why: per struct one `read` and one `write`, plain statements over the
//! functions of [`codec`](crate::codec) that are compiled once. Nothing is generic per message and
//! nothing is a macro, derives are limited to `Debug`, `Clone`, `PartialEq` and where possible
//! `Default`; `write` serves for counting and for writing, so that there is no size function. The
//! result, 30,000 lines, costs this crate 7 s of one core to compile for development and 13 s for
//! release (a 2-core machine, dependencies built).
#![allow(clippy::all, reason = "generated: the generator is linted and tested, not what it writes")]
#![allow(
    clippy::too_many_lines,
    reason = "generated: a message has as many lines as it has fields"
)]
#![allow(
    unused_variables,
    reason = "generated: a struct without versioned fields does not look at `version`"
)]

/// What the generated modules use.
mod prelude {
    pub(super) use std::ops::RangeInclusive;

    pub(super) use bytes::Bytes;
    pub(super) use bytestring::ByteString;

    pub(super) use crate::codec::{
        DecodeError, Decoder, Element, EncodeError, Encoder, Inspect, Inspector, LogRecord,
        Message, Records, Request, UnknownTaggedFields,
    };
    pub(super) use crate::{ApiKey, Uuid};
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
