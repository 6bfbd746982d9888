//! The transaction coordinator.

mod data;
mod log;
mod scripts;
mod simulation;
