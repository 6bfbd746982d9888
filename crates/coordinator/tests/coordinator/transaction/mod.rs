//! The transaction coordinator.

mod log;
mod scripts;
