//! One byte stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// An open byte stream, bound to the runtime that it was made or attached in.
#[derive(Debug)]
pub enum Stream {
    /// TCP, IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// A stream on its way from one runtime to another.
#[derive(Debug)]
pub enum Detached {
    /// TCP, IPv4 or IPv6.
    Tcp(std::net::TcpStream),
    /// A unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Connects by TCP to the first address of `host` that answers.
    ///
    /// # Errors
    /// As resolving and connecting do.
    pub async fn connect_tcp(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self::Tcp(TcpStream::connect((host, port)).await?))
    }

    /// Takes the stream out of its runtime.
    ///
    /// # Errors
    /// When the operating system refuses; the stream is closed then.
    pub fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => Ok(Detached::Tcp(stream.into_std()?)),
            Self::Unix(stream) => Ok(Detached::Unix(stream.into_std()?)),
        }
    }

    /// Puts a stream into the present runtime.
    ///
    /// # Errors
    /// When it cannot be registered there, for want of file descriptors or memory.
    pub fn attach(detached: Detached) -> io::Result<Self> {
        match detached {
            Detached::Tcp(stream) => Ok(Self::Tcp(TcpStream::from_std(stream)?)),
            Detached::Unix(stream) => Ok(Self::Unix(UnixStream::from_std(stream)?)),
        }
    }

    /// Switches Nagle's algorithm off (or on); nothing on a unix socket.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(nodelay),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Whether Nagle's algorithm is off, as it is on every accepted socket; always on a unix socket.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn is_nodelay(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => stream.nodelay(),
            Self::Unix(_) => Ok(true),
        }
    }

    /// Writes what is there to be written from `slices` in one system call.
    pub fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Self::Tcp(stream), many) => Pin::new(stream).poll_write_vectored(cx, many),
            (Self::Unix(stream), many) => Pin::new(stream).poll_write_vectored(cx, many),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
