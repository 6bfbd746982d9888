//! Kafka's data directory over a [`Disk`]: the log, its indexes, recovery and checkpoints.

pub mod disk;

pub use disk::{DirEntry, Disk, DiskFile, OpenMode, Space};
