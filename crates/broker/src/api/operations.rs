//! The bit sets of operations that answers list when a client asks for them (KIP-430): all that apply
//! to the resource, because no authorizer is configured.

/// Bit `n` stands for the ACL operation with code `n`.
const fn bit(operation: u32) -> i32 {
    1 << operation
}

const READ: i32 = bit(3);
const WRITE: i32 = bit(4);
const CREATE: i32 = bit(5);
const DELETE: i32 = bit(6);
const ALTER: i32 = bit(7);
const DESCRIBE: i32 = bit(8);
const CLUSTER_ACTION: i32 = bit(9);
const DESCRIBE_CONFIGS: i32 = bit(10);
const ALTER_CONFIGS: i32 = bit(11);
const IDEMPOTENT_WRITE: i32 = bit(12);

/// What can be done with a group.
pub(super) const GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
/// What can be done with a topic.
pub(super) const TOPIC: i32 =
    READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
/// What can be done with the cluster.
pub(super) const CLUSTER: i32 = CREATE
    | ALTER
    | DESCRIBE
    | CLUSTER_ACTION
    | DESCRIBE_CONFIGS
    | ALTER_CONFIGS
    | IDEMPOTENT_WRITE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_set_is_what_kafka_answers() {
        assert_eq!(CLUSTER, 8096); // Observed: DescribeCluster with all operations.
    }
}
