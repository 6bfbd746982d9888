//! Binding a listener and the settings of its connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Settings of a listener and its connections. The defaults are Kafka's where it has the key.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `socket.request.max.bytes`: the largest frame.
    pub frame_bytes_max: u32,
    /// `connections.max.idle.ms`: closes a connection on which nothing moves and nothing waits.
    pub idle: Duration,
    /// Closes a connection whose client accepts no byte of an answer for this long.
    pub write_stall: Duration,
    /// Time to complete a frame once it has begun, on top of [`Settings::frame_bytes_per_s_min`].
    pub frame_stall: Duration,
    /// The slowest client: a frame may take its size divided by this longer.
    pub frame_bytes_per_s_min: u32,
    /// `socket.send.buffer.bytes`; `None` (-1) leaves it to the kernel, which then adapts it.
    pub send_buffer_bytes: Option<u32>,
    /// `socket.receive.buffer.bytes`; `None` (-1) leaves it to the kernel, which then adapts it.
    pub receive_buffer_bytes: Option<u32>,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// Whether the listener accepts beyond the broker-wide `max.connections` and
    /// `max.connection.creation.rate`, as the listener between brokers does.
    pub is_exempt: bool,
}

/// A listener that is bound, and accepts nothing yet: clients wait in the kernel's backlog.
#[derive(Debug)]
pub struct BoundListener {
    socket: std::net::TcpListener,
    local: SocketAddr,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            frame_bytes_max: 100 << 20,
            idle: Duration::from_secs(600),
            write_stall: Duration::from_secs(120),
            frame_stall: Duration::from_secs(30),
            frame_bytes_per_s_min: 64 << 10,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            backlog: 1024,
            is_exempt: false,
        }
    }
}

impl Settings {
    /// Time that a frame of `len` bytes may take.
    pub(crate) fn frame_time(&self, len: usize) -> Duration {
        let seconds = len as u64 / u64::from(self.frame_bytes_per_s_min.max(1));
        self.frame_stall.saturating_add(Duration::from_secs(seconds))
    }
}

impl BoundListener {
    /// Binds `host` (empty: all interfaces, IPv6 and IPv4) and `port` (0: any free one). Of the
    /// addresses of a name the first IPv4 one is taken, else the first.
    ///
    /// # Errors
    /// The name does not resolve, or the address is in use or not ours; the message names both.
    pub fn bind(host: &str, port: u16, settings: &Settings) -> io::Result<Self> {
        Self::bind_any(host, port, settings).map_err(|error| {
            let host = if host.is_empty() { "all interfaces" } else { host };
            io::Error::new(error.kind(), format!("cannot listen on {host}, port {port}: {error}"))
        })
    }

    /// The address bound, with the actual port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket, listening and non-blocking.
    #[must_use]
    pub fn into_std(self) -> std::net::TcpListener {
        self.socket
    }

    fn bind_any(host: &str, port: u16, settings: &Settings) -> io::Result<Self> {
        if host.is_empty() {
            let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            return match Self::bind_one(v6, settings) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    // IPv6 is switched off.
                    Self::bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), settings)
                }
                bound => bound,
            };
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let first = first.ok_or_else(|| io::Error::other("the name has no address"))?;
        Self::bind_one(*first, settings)
    }

    fn bind_one(address: SocketAddr, settings: &Settings) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Accepted sockets inherit all of these. The receive buffer must be set before listening,
        // for the window scale is agreed on during the handshake.
        if let Some(bytes) = settings.send_buffer_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = settings.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
        let socket = std::net::TcpListener::from(socket);
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }
}
