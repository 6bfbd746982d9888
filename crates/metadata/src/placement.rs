//! Where replicas go.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

use crate::image::{BrokerRegistration, Image};
use crate::random::Random;

/// The directory of a replica whose broker has not said where it is (KIP-858).
pub const UNASSIGNED_DIRECTORY: Uuid = Uuid::ONE;
/// The directory of a replica that was placed before directories had ids.
pub const MIGRATING_DIRECTORY: Uuid = Uuid::ZERO;
/// Directory ids below this number are reserved.
pub const RESERVED_DIRECTORIES: u128 = 100;

/// Why replicas cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// More replicas than brokers.
    #[error("replication factor {wanted} needs as many brokers, {registered} are registered")]
    TooFewBrokers {
        /// The replication factor.
        wanted: usize,
        /// Usable and fenced brokers.
        registered: usize,
    },
    /// All brokers are fenced: nobody could lead.
    #[error("all {0} brokers are fenced or cordoned, at least one must be ready")]
    AllFenced(usize),
    /// None at all.
    #[error("no broker is registered")]
    NoBrokers,
}

/// The brokers of one rack, each list starting at a random place.
#[derive(Debug)]
struct Rack {
    active: Vec<BrokerId>,
    fenced: Vec<BrokerId>,
}

/// Assigns `replicas` brokers to each of `partitions` partitions: stripes over the racks, the first
/// replica on an unfenced broker, fenced brokers only when unfenced ones are too few. Racks and
/// brokers start at random places, so that topics do not pile up on the first.
///
/// # Errors
/// Fewer brokers than replicas, or nobody to lead.
pub fn place(
    image: &Image,
    random: &mut dyn Random,
    partitions: usize,
    replicas: usize,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let usable: Vec<_> = image.brokers().filter(|broker| !is_cordoned(broker)).collect();
    let active = usable.iter().filter(|broker| broker.is_active()).count();
    match (usable.len(), active) {
        (0, _) => return Err(PlacementError::NoBrokers),
        (registered, _) if registered < replicas => {
            return Err(PlacementError::TooFewBrokers { wanted: replicas, registered });
        }
        (registered, 0) => return Err(PlacementError::AllFenced(registered)),
        _ => {}
    }
    let mut racks = racks(&usable, random);
    let start = random.below(racks.len());
    racks.rotate_left(start);
    Ok((0..partitions).map(|partition| one(&racks, partition, replicas)).collect())
}

/// A new replica's directory: the broker's only one that takes replicas, else unassigned until the
/// broker tells (KIP-858).
#[must_use]
pub fn default_directory(broker: Option<&BrokerRegistration>) -> Uuid {
    let Some(broker) = broker else { return UNASSIGNED_DIRECTORY };
    let cordoned = broker.cordoned_dirs.as_deref().unwrap_or_default();
    let mut open = broker.log_dirs.iter().filter(|dir| !cordoned.contains(dir));
    match (open.next(), open.next()) {
        (Some(only), None) => *only,
        _ => UNASSIGNED_DIRECTORY,
    }
}

/// Whether none of a broker's log directories takes new replicas (KIP-1066).
pub(crate) fn is_cordoned(broker: &BrokerRegistration) -> bool {
    let cordoned = broker.cordoned_dirs.as_deref().unwrap_or_default();
    !broker.log_dirs.is_empty() && broker.log_dirs.iter().all(|dir| cordoned.contains(dir))
}

fn racks(brokers: &[&BrokerRegistration], random: &mut dyn Random) -> Vec<Rack> {
    let mut by_rack: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    for broker in brokers {
        let empty = || Rack { active: Vec::new(), fenced: Vec::new() };
        let rack = by_rack.entry(broker.rack.as_deref()).or_insert_with(empty);
        let list = if broker.is_active() { &mut rack.active } else { &mut rack.fenced };
        list.push(broker.id);
    }
    let mut racks: Vec<Rack> = by_rack.into_values().collect();
    for list in racks.iter_mut().flat_map(|rack| [&mut rack.active, &mut rack.fenced]) {
        let start = random.below(list.len());
        list.rotate_left(start);
    }
    racks
}

/// Partition `partition` takes its leader from the rack after that of its predecessor, and the other
/// replicas from the racks that follow. Each full round over the racks moves one broker further
/// within them, and each full round over those spreads the followers differently.
fn one(racks: &[Rack], partition: usize, replicas: usize) -> Vec<BrokerId> {
    let leaders: Vec<&Rack> = racks.iter().filter(|rack| !rack.active.is_empty()).collect();
    let Some(lead_rack) = pick(&leaders, partition) else { return Vec::new() };
    let round = partition / leaders.len().max(1);
    let mut chosen: Vec<BrokerId> = Vec::with_capacity(replicas);
    chosen.extend(pick(&lead_rack.active, round));
    let first = racks.iter().position(|rack| std::ptr::eq(rack, *lead_rack)).unwrap_or(0);
    for fenced_too in [false, true] {
        let mut step = 1;
        let mut misses = 0;
        while chosen.len() < replicas && misses < racks.len() {
            let found = pick(racks, first + step)
                .and_then(|rack| next_in(rack, &chosen, round, fenced_too));
            misses = if found.is_some() { 0 } else { misses + 1 };
            chosen.extend(found);
            step += 1;
        }
    }
    chosen
}

fn next_in(rack: &Rack, chosen: &[BrokerId], round: usize, fenced_too: bool) -> Option<BrokerId> {
    let taken: BTreeSet<BrokerId> = chosen.iter().copied().collect();
    let from = |list: &[BrokerId]| {
        let shift = round + round / list.len().max(1) + chosen.len();
        (0..list.len())
            .filter_map(|at| pick(list, at + shift))
            .copied()
            .find(|id| !taken.contains(id))
    };
    from(&rack.active).or_else(|| if fenced_too { from(&rack.fenced) } else { None })
}

fn pick<T>(list: &[T], index: usize) -> Option<&T> {
    list.get(index.checked_rem(list.len())?)
}
