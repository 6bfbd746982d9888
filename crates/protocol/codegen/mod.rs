//! The generator of the wire messages: schema text in, Rust text out.
//!
//! Used by the build script and, for its tests, by `tests/codegen.rs`. It emits straight-line code per
//! struct (no generics, no closures) over the few shared functions of `src/codec`, so that 286
//! messages stay cheap to compile, and one fragment per concern so that each is included where it
//! belongs.

pub(crate) mod emit;
pub(crate) mod enums;
pub(crate) mod names;
pub(crate) mod schema;
