//! One connection between a client and the broker: two directions, each in order, each slow.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::{Broker, Connection, ConnectionInfo, Listener, Part, Response};
use ottla_protocol::records::{BatchView, crc32c};

use crate::env::{ConnectionWake, SimEnv};

/// Where a batch's CRC is, and where what it covers begins.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// A connection.
pub(crate) struct Wire {
    pub(crate) client: usize,
    /// The broker's side, until it is closed.
    pub(crate) server: Option<Connection>,
    /// Frames that arrived and that the broker does not read yet.
    pub(crate) inbox: VecDeque<Bytes>,
    /// Answers that are not written yet.
    pub(crate) outbox: VecDeque<Response>,
    /// The client still listens.
    pub(crate) heard: bool,
    /// Requests that must be answered: correlation id and when they were sent.
    pub(crate) outstanding: BTreeMap<i32, u64>,
    /// The last frame of each direction is on the way until then.
    pub(crate) to_server_at: u64,
    pub(crate) write_at: u64,
    pub(crate) to_client_at: u64,
}

/// What was written cannot be read.
pub(crate) enum WriteError {
    /// The log was truncated below it.
    Truncated,
    /// The disk said this.
    Io(std::io::Error),
}

impl Wire {
    pub(crate) fn new(client: usize, server: Option<Connection>, now: u64) -> Self {
        Self {
            client,
            server,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            heard: true,
            outstanding: BTreeMap::new(),
            to_server_at: now,
            write_at: now,
            to_client_at: now,
        }
    }
}

/// The broker's side of a new connection.
pub(crate) fn accept(broker: &Arc<Broker>, env: &Arc<SimEnv>, id: u64) -> Connection {
    let listener = Listener {
        name: "PLAINTEXT".to_owned(),
        kind: ottla_broker::ListenerKind::Broker,
        advertised: None,
        port: 9092,
    };
    let address = |last, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port);
    let info = ConnectionInfo {
        id,
        peer: address(2, 10_000),
        local: address(1, 9092),
        listener: Arc::new(listener),
        principal: ottla_broker::ANONYMOUS.into(),
        software: Default::default(),
    };
    let wake = ConnectionWake { env: Arc::clone(env), connection: id };
    Connection::new(Arc::clone(broker), info, Arc::new(wake))
}

/// The bytes of an answer without its size, read from memory and from the log. With `spoil`, the
/// last byte of the first batch is another one, under a correct CRC.
pub(crate) fn flatten(response: Response, spoil: bool) -> Result<Bytes, WriteError> {
    let mut frame = Vec::new();
    for part in response.parts {
        match part {
            Part::Bytes(bytes) => frame.extend_from_slice(&bytes),
            Part::Slice(slice) => {
                let read = slice.read();
                if !slice.is_intact() {
                    return Err(WriteError::Truncated);
                }
                let mut bytes = read.map_err(WriteError::Io)?;
                if spoil {
                    spoil_batch(&mut bytes);
                }
                frame.extend_from_slice(&bytes);
            }
        }
    }
    let frame = Bytes::from(frame);
    let size = frame.get(..4).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
    assert_eq!(size, u32::try_from(frame.len() - 4).ok(), "the size of the frame");
    Ok(frame.slice(4..))
}

fn spoil_batch(bytes: &mut [u8]) {
    let Ok(size) = BatchView::parse(bytes).map(|batch| batch.size()) else { return };
    let batch = &mut bytes[..size];
    // The last byte of all is the record's number of headers; before it the value ends.
    batch[size - 2] ^= 0x40;
    let crc = crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}
