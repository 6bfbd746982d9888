//! Kafka's data directory over a [`Disk`]: the log, its indexes, recovery and checkpoints.

pub mod checkpoint;
pub mod dirs;
pub mod disk;

pub use disk::{DirEntry, Disk, DiskFile, OpenMode, Space};
