//! DescribeCluster (KIP-700, 919, 1073): the brokers and the active controller.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::{Handler, Operation, Reply, Rule, operations};
use crate::context::Context;

/// The DescribeCluster API.
pub(super) struct DescribeCluster;

/// Endpoint types: what the addresses of an answer are for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeClusterRequest,
    ) -> Reply<DescribeClusterResponse> {
        let refuse = |error: ErrorCode, message: &str| {
            Reply::Now(DescribeClusterResponse {
                error_code: error.code(),
                error_message: Some(message.into()),
                ..DescribeClusterResponse::default()
            })
        };
        match request.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let message =
                    "this is a broker listener; ask a controller listener for controllers";
                return refuse(ErrorCode::MismatchedEndpointType, message);
            }
            _ => {
                let message = "endpoint types are 1 (brokers) and 2 (controllers)";
                return refuse(ErrorCode::UnsupportedEndpointType, message);
            }
        }
        let brokers = ctx.endpoints().map(|(id, endpoint, rack)| DescribeClusterBroker {
            broker_id: id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            rack,
            ..DescribeClusterBroker::default()
        });
        let mut response = DescribeClusterResponse {
            endpoint_type: BROKERS,
            cluster_id: ctx.broker.cluster_id().into(),
            controller_id: ctx.broker.node_id().0,
            brokers: brokers.collect(),
            ..DescribeClusterResponse::default()
        };
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = operations::CLUSTER;
        }
        Reply::Now(response)
    }
}
