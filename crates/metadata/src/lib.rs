//! Cluster metadata as pure functions: no I/O, clock or randomness of its own.
//!
//! - [`Image`]: the immutable picture that every node holds; [`Loader`] applies the log to it.
//! - [`batch`]: records in batches.
//! - [`snapshot`]: an image as records, and back.
//! - [`Controller`]: [`Command`] in, [`Outcome`] out; its state changes only by replay.
//! - [`bootstrap`]: the first records of a cluster.
//! - [`names`], [`features`], [`placement`]: the rules.

pub mod batch;
pub mod bootstrap;
mod command;
mod commands;
mod controller;
mod election;
pub mod features;
mod heartbeats;
mod image;
mod loader;
pub mod names;
pub mod placement;
mod random;
mod record;
mod rules;
pub mod snapshot;

pub use command::{
    ApiError, Command, CommandContext, ControllerError, MutationQuota, Outcome, QuotaExceeded,
    Response,
};
pub use controller::{Controller, ControllerConfig};
pub use image::{
    Acl, BrokerRegistration, ConfigMap, ConfigResource, ControllerRegistration, DelegationToken,
    Image, LeaderRecovery, Listener, PartitionImage, ProducerIdBlock, Provenance, QuotaEntity,
    ReplayError, ScramCredential, TopicImage, VersionRange,
};
pub use loader::Loader;
pub use random::{Random, SplitMix64};
pub use record::{VersionedRecord, record_name};
pub use rules::effective_broker;
