//! Groups of the classic protocol: members elect a leader that assigns (KIP-62, KIP-345, KIP-394).

mod group;
mod join;
mod rebalance;
mod sync;

pub(crate) use group::{ClassicGroup, GroupState, Member};
pub(crate) use join::Join;
pub(crate) use rebalance::{Step, join_error};
pub(crate) use sync::left;
