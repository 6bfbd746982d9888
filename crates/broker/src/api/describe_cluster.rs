//! DescribeCluster (KIP-700, 919, 1073): the brokers and the active controller.

use ottla_metadata::ControllerRegistration;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::{Handler, Operation, Reply, Rule, operations};
use crate::context::{BrokerEndpoint, Context};
use crate::listener::ListenerKind;

/// The DescribeCluster API.
pub(super) struct DescribeCluster;

/// Endpoint types: what the addresses of an answer are for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// The first version that says what kind of endpoints is wanted (KIP-919).
const ENDPOINT_TYPE: i16 = 1;

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeClusterRequest,
    ) -> Reply<DescribeClusterResponse> {
        let here = match ctx.connection.listener.kind {
            ListenerKind::Broker => BROKERS,
            ListenerKind::Controller => CONTROLLERS,
        };
        if let Some((error, message)) = refused(ctx, request.endpoint_type, here) {
            return Reply::Now(DescribeClusterResponse {
                error_code: error.code(),
                error_message: Some(message.into()),
                ..DescribeClusterResponse::default()
            });
        }
        let nodes = match ctx.connection.listener.kind {
            ListenerKind::Broker => brokers(ctx, request.include_fenced_brokers),
            ListenerKind::Controller => controllers(ctx),
        };
        let mut response = DescribeClusterResponse {
            endpoint_type: here,
            cluster_id: ctx.broker.cluster_id().into(),
            controller_id: ctx.broker.node_id().0,
            brokers: nodes,
            ..DescribeClusterResponse::default()
        };
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = operations::CLUSTER;
        }
        Reply::Now(response)
    }
}

fn refused(ctx: &Context<'_>, wanted: i8, here: i8) -> Option<(ErrorCode, &'static str)> {
    let message = match (wanted, here) {
        (BROKERS, BROKERS) | (CONTROLLERS, CONTROLLERS) => return None,
        (BROKERS, _) => "this is a controller listener; ask a broker listener for brokers",
        (CONTROLLERS, _) => "this is a broker listener; ask a controller listener for controllers",
        _ => "endpoint types are 1 (brokers) and 2 (controllers)",
    };
    let error = match wanted {
        _ if ctx.version() < ENDPOINT_TYPE => ErrorCode::InvalidRequest,
        BROKERS | CONTROLLERS => ErrorCode::MismatchedEndpointType,
        _ => ErrorCode::UnsupportedEndpointType,
    };
    Some((error, message))
}

fn brokers(ctx: &Context<'_>, fenced_too: bool) -> Vec<DescribeClusterBroker> {
    let node = |found: BrokerEndpoint| DescribeClusterBroker {
        broker_id: found.id.0,
        host: found.endpoint.host.into(),
        port: i32::from(found.endpoint.port),
        rack: found.rack,
        is_fenced: found.is_fenced,
        ..DescribeClusterBroker::default()
    };
    ctx.all_endpoints().filter(|found| fenced_too || !found.is_fenced).map(node).collect()
}

/// The registered controllers, as they are reached on this listener.
fn controllers(ctx: &Context<'_>) -> Vec<DescribeClusterBroker> {
    let name = &ctx.connection.listener.name;
    let node = |controller: &ControllerRegistration| {
        let listener = controller.listeners.iter().find(|listener| listener.name == *name)?;
        Some(DescribeClusterBroker {
            broker_id: controller.id.0,
            host: listener.host.as_str().into(),
            port: i32::from(listener.port),
            ..DescribeClusterBroker::default()
        })
    };
    ctx.image.controllers().filter_map(node).collect()
}
