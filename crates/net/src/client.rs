//! A small client: frames out, frames in. What they mean is the caller's business.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bounds of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time for the connection to be made.
    pub connect_timeout: Duration,
    /// Time for one send, and for one answer.
    pub request_timeout: Duration,
    /// The largest answer accepted, in bytes.
    pub response_bytes_max: u32,
}

/// Why a client failed. After an error the connection is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// What happened.
        error: io::Error,
    },
    /// The request could not be sent or the answer not received.
    #[error("connection to {address}: {error}")]
    Io {
        /// `host:port` as given.
        address: String,
        /// What happened; `UnexpectedEof` if the peer closed the connection.
        error: io::Error,
    },
    /// No answer in time.
    #[error("no answer from {address} within {after:?}")]
    Timeout {
        /// `host:port` as given.
        address: String,
        /// The time allowed.
        after: Duration,
    },
    /// The request or answer is larger than allowed, or its size is negative.
    #[error("a frame of {size} bytes to or from {address}, allowed are 0 to {max}")]
    FrameSize {
        /// `host:port` as given.
        address: String,
        /// The size.
        size: i64,
        /// The largest allowed.
        max: u32,
    },
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    address: String,
    options: ClientOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            response_bytes_max: 100 << 20,
        }
    }
}

impl Client {
    /// Connects; all addresses of `host` are tried.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(
        host: &str,
        port: u16,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let address =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let connected = timeout(options.connect_timeout, TcpStream::connect((host, port))).await;
        let result = connected.unwrap_or_else(|_| {
            let message = format!("no connection within {:?}", options.connect_timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        });
        let result = result.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        match result {
            Ok(stream) => Ok(Self { stream, address, options }),
            Err(error) => Err(ClientError::Connect { address, error }),
        }
    }

    /// Sends one request, given without its size, and waits for one answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn request(&mut self, frame: &[u8]) -> Result<Bytes, ClientError> {
        self.send(frame).await?;
        self.receive().await
    }

    /// Sends one request, given without its size. Answers come in the order of the requests.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), ClientError> {
        let max = i32::MAX as u32;
        let Ok(size) = i32::try_from(frame.len()) else {
            return Err(self.bad_size(frame.len() as i64, max));
        };
        let size = size.to_be_bytes();
        let after = self.options.request_timeout;
        let sent = timeout(after, write_all(&mut self.stream, &size, frame)).await;
        self.checked(sent, after)
    }

    /// Waits for one answer and returns it without its size.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn receive(&mut self) -> Result<Bytes, ClientError> {
        let after = self.options.request_timeout;
        let max = self.options.response_bytes_max;
        let read = timeout(after, read_frame(&mut self.stream, max)).await;
        self.checked(read, after)?.map_err(|size| self.bad_size(size.into(), max))
    }

    fn bad_size(&self, size: i64, max: u32) -> ClientError {
        ClientError::FrameSize { address: self.address.clone(), size, max }
    }

    fn checked<T>(
        &self,
        result: Result<io::Result<T>, tokio::time::error::Elapsed>,
        after: Duration,
    ) -> Result<T, ClientError> {
        let address = || self.address.clone();
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ClientError::Io { address: address(), error }),
            Err(_) => Err(ClientError::Timeout { address: address(), after }),
        }
    }
}

async fn write_all(stream: &mut TcpStream, size: &[u8], frame: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(size), IoSlice::new(frame)];
    let mut rest = slices.as_mut_slice();
    while rest.iter().any(|slice| !slice.is_empty()) {
        let sent = stream.write_vectored(rest).await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, sent);
    }
    Ok(())
}

/// Reads one frame; the inner error is a size that is not allowed. Memory grows as bytes arrive.
async fn read_frame(stream: &mut TcpStream, max: u32) -> io::Result<Result<Bytes, i32>> {
    let size = stream.read_i32().await?;
    let len = match u32::try_from(size) {
        Ok(len) if len <= max => len as usize,
        _ => return Ok(Err(size)),
    };
    let mut frame = BytesMut::with_capacity(len.min(1 << 20));
    while frame.len() < len {
        let rest = (len - frame.len()) as u64;
        if stream.take(rest).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Ok(frame.freeze()))
}
