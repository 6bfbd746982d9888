//! What `wake.rs` is made of. `tests/wake_model.rs` compiles that file with a model checker's versions
//! in their place.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use parking_lot::Mutex;
