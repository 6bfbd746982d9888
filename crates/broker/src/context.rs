//! What a handler sees of the request, the connection and the broker.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;

use bytestring::ByteString;
use ottla_metadata::Image;
use ottla_protocol::ids::{BrokerId, Monotonic, Now};
use ottla_protocol::messages::RequestHeader;
use ottla_protocol::{ErrorCode, Records};
use ottla_storage::LogSlice;

use crate::Broker;
use crate::api::Row;
use crate::connection::ConnectionInfo;
use crate::listener::Endpoint;
use crate::partition::Partition;
use crate::telemetry::ClientFacts;
use crate::throttle::Usage;
use crate::wait::Waiter;

/// One request's header, resolved to its row of the API table.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The API.
    pub row: &'static Row,
    /// The version the client chose, within the row's range.
    pub version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// `client.id`; empty when the client gave none.
    pub client_id: ByteString,
    /// Length of the request's frame in bytes.
    pub size: usize,
}

impl RequestInfo {
    /// From the wire header of a frame of `size` bytes.
    #[must_use]
    pub fn new(row: &'static Row, header: RequestHeader, size: usize) -> Self {
        Self {
            row,
            version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.unwrap_or_default(),
            size,
        }
    }
}

/// A broker as clients of a listener see it.
#[derive(Debug, Clone)]
pub struct BrokerEndpoint {
    /// Its id.
    pub id: BrokerId,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// `broker.rack`.
    pub rack: Option<ByteString>,
    /// Not ready, or not heard from.
    pub is_fenced: bool,
}

/// Lent to a handler, and to a parked request each time it is polled.
pub struct Context<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// The connection.
    pub connection: &'a ConnectionInfo,
    /// The request's header.
    pub request: &'a RequestInfo,
    /// Both clocks, read once for this call.
    pub now: Now,
    /// The metadata image of this call: one consistent state.
    pub image: Arc<Image>,
    /// Registered where the request waits. Valid for this poll only.
    pub waiter: &'a Arc<Waiter>,
    slices: RefCell<Vec<LogSlice>>,
    /// When this call began, by a clock read for it alone: `now` may be that of a whole round.
    pub(crate) began: Monotonic,
    pub(crate) usage: Cell<Usage>,
}

impl<'a> Context<'a> {
    /// A context for one call.
    #[must_use]
    pub fn new(
        broker: &'a Broker,
        connection: &'a ConnectionInfo,
        request: &'a RequestInfo,
        now: Now,
        waiter: &'a Arc<Waiter>,
    ) -> Self {
        let image = broker.image();
        let (slices, usage) = (RefCell::default(), Cell::default());
        let began = broker.env().monotonic();
        Self { broker, connection, request, now, image, waiter, slices, began, usage }
    }

    /// Time since this call began, in microseconds.
    pub(crate) fn elapsed_us(&self) -> u64 {
        let elapsed = self.broker.env().monotonic().since(self.began);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }

    /// The API version of the request.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.request.version
    }

    /// The point on the monotonic clock `millis` from now; negative counts as 0.
    #[must_use]
    pub fn deadline(&self, millis: i32) -> Monotonic {
        self.now.monotonic.plus_millis(i64::from(millis))
    }

    /// A partition of this broker, by topic name.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.
    pub fn partition(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let topic = self.image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.broker.partitions.find(topic, index)
    }

    /// The brokers that are not fenced, with the address of each that a client of this listener is
    /// told, and its rack.
    pub fn endpoints(&self) -> impl Iterator<Item = (BrokerId, Endpoint, Option<ByteString>)> {
        let live = self.all_endpoints().filter(|broker| !broker.is_fenced);
        live.map(|broker| (broker.id, broker.endpoint, broker.rack))
    }

    /// All registered brokers that have this listener.
    pub fn all_endpoints(&self) -> impl Iterator<Item = BrokerEndpoint> {
        let listener = &self.connection.listener;
        let me = self.broker.node_id();
        self.image.brokers().filter_map(move |broker| {
            let endpoint = if broker.id == me {
                listener.endpoint_for(self.connection.local.ip())
            } else {
                let registered = broker.listener(&listener.name)?;
                Endpoint { host: registered.host.clone(), port: registered.port }
            };
            Some(BrokerEndpoint {
                id: broker.id,
                endpoint,
                rack: broker.rack.as_deref().map(ByteString::from),
                is_fenced: broker.fenced,
            })
        })
    }

    /// What is known of the client.
    pub(crate) fn client_facts(&self) -> ClientFacts {
        let (software_name, software_version) = self.connection.software.get();
        let peer = self.connection.peer;
        ClientFacts {
            client_id: self.request.client_id.to_string(),
            software_name: software_name.to_owned(),
            software_version: software_version.to_owned(),
            address: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        }
    }

    /// Puts a log slice into the response: the value stands for it in a `records` field, and its
    /// bytes follow from the file when the response is written.
    #[must_use]
    pub fn attach(&self, slice: LogSlice) -> Records {
        let mut slices = self.slices.borrow_mut();
        let token = slices.len() as u64;
        let len = slice.len;
        self.broker.metrics.bytes_out.add(len.into());
        slices.push(slice);
        Records::External { token, len }
    }

    /// The slices attached so far, by token.
    pub(crate) fn take_slices(&self) -> Vec<LogSlice> {
        self.slices.take()
    }
}
