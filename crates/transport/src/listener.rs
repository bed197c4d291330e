//! Sockets that wait for connections.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::stream::Stream;

/// Connections that the kernel holds for us before we accept them.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port, on one host's addresses or on all of ours.
    Tcp {
        /// A name or an address; `None` for all interfaces.
        host: Option<String>,
        /// 0 for any free one.
        port: u16,
    },
    /// A unix socket at this path.
    Unix(PathBuf),
}

/// A bound socket outside of any runtime. Clones share the socket, so that several runtimes can accept
/// from it.
#[derive(Debug)]
pub struct Bound {
    socket: Kind,
    place: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(StdTcpListener),
    Unix(StdUnixListener, Arc<UnixPath>),
}

/// Removes the socket's file at the end.
#[derive(Debug)]
struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // It may be gone already; nothing depends on it any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    /// Binds all sockets of an address: one per IP address that a name has, IPv4 and IPv6 for all interfaces.
    ///
    /// # Errors
    /// When a name has no address, or no socket at all can be bound; says which.
    pub fn bind(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Unix(path) => Ok(vec![bind_unix(path)?]),
            Address::Tcp {
                host: Some(host),
                port,
            } => {
                let addresses: Vec<SocketAddr> =
                    (host.as_str(), *port).to_socket_addrs()?.collect();
                addresses.into_iter().map(bind_tcp).collect()
            }
            Address::Tcp { host: None, port } => bind_everywhere(*port),
        }
    }

    /// The local port; `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Kind::Tcp(socket) => socket.local_addr().ok().map(|address| address.port()),
            Kind::Unix(..) => None,
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// For want of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Kind::Tcp(socket) => Kind::Tcp(socket.try_clone()?),
            Kind::Unix(socket, path) => Kind::Unix(socket.try_clone()?, Arc::clone(path)),
        };
        Ok(Self {
            socket,
            place: self.place.clone(),
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

fn bind_everywhere(port: u16) -> io::Result<Vec<Bound>> {
    let v4 = bind_tcp(SocketAddr::from(([0, 0, 0, 0], port)))?;
    let port = v4.port().unwrap_or(port);
    let mut bound = vec![v4];
    // Hosts without IPv6 are common; IPv4 alone is fine there.
    bound.extend(bind_tcp(SocketAddr::from(([0u16; 8], port))).ok());
    Ok(bound)
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(explain)?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(explain)?;
    }
    socket.set_reuse_address(true).map_err(explain)?;
    socket.set_nonblocking(true).map_err(explain)?;
    // Accepted sockets have it from here, which saves a system call for each.
    socket.set_tcp_nodelay(true).map_err(explain)?;
    socket.bind(&address.into()).map_err(explain)?;
    socket.listen(BACKLOG).map_err(explain)?;
    let family = if address.is_ipv6() { "ipv6" } else { "ipv4" };
    let socket = StdTcpListener::from(socket);
    let port = socket.local_addr()?.port();
    Ok(Bound {
        socket: Kind::Tcp(socket),
        place: format!("{family} listen socket on port {port}"),
    })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let explain =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    // A socket that a killed broker left behind; never any other kind of file.
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path).map_err(explain)?;
    }
    let socket = StdUnixListener::bind(path).map_err(explain)?;
    socket.set_nonblocking(true).map_err(explain)?;
    let place = format!("unix listen socket on path {}", path.display());
    Ok(Bound {
        socket: Kind::Unix(socket, Arc::new(UnixPath(path.to_owned()))),
        place,
    })
}

/// A bound socket in a runtime.
#[derive(Debug)]
pub struct Listener {
    socket: Attached,
}

#[derive(Debug)]
enum Attached {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(
            dead_code,
            reason = "removes the socket's file when the last listener goes"
        )]
        Arc<UnixPath>,
    ),
}

impl Listener {
    /// Puts a bound socket into the present runtime.
    ///
    /// # Errors
    /// When it cannot be registered there.
    pub fn attach(bound: Bound) -> io::Result<Self> {
        let socket = match bound.socket {
            Kind::Tcp(socket) => Attached::Tcp(TcpListener::from_std(socket)?),
            Kind::Unix(socket, path) => Attached::Unix(UnixListener::from_std(socket)?, path),
        };
        Ok(Self { socket })
    }

    /// The next connection, and its peer's address as text.
    ///
    /// # Errors
    /// As accept(2): the caller waits and tries again when descriptors have run out.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.socket {
            Attached::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Stream::Tcp(stream), peer.to_string()))
            }
            Attached::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                Ok((Stream::Unix(stream), "unix".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_stream_goes_on_in_another_runtime() {
        let bound = Bound::bind(&Address::Tcp {
            host: Some("127.0.0.1".into()),
            port: 0,
        })
        .unwrap()
        .remove(0);
        let port = bound.port().unwrap();
        let (accepted, mut client) = block_on(async {
            let listener = Listener::attach(bound).unwrap();
            let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (stream, peer) = listener.accept().await.unwrap();
            assert!(peer.starts_with("127.0.0.1:"));
            assert!(stream.is_nodelay().unwrap());
            stream.set_nodelay(false).unwrap();
            assert!(!stream.is_nodelay().unwrap());
            std::io::Write::write_all(&mut client, b"before").unwrap();
            (stream.detach().unwrap(), client)
        });
        block_on(async {
            let mut stream = Stream::attach(accepted).unwrap();
            let mut seen = [0; 6];
            stream.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"before");
            stream.write_all(b"after").await.unwrap();
        });
        let mut answer = [0; 5];
        std::io::Read::read_exact(&mut client, &mut answer).unwrap();
        assert_eq!(&answer, b"after");
    }

    #[test]
    fn a_unix_socket_is_removed_at_the_end_and_a_stale_one_replaced() {
        let path =
            std::env::temp_dir().join(format!("dunlin-transport-{}.sock", std::process::id()));
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let bound = Bound::bind(&Address::Unix(path.clone())).unwrap();
        assert!(Bound::bind(&Address::Unix(path.clone())).is_err(), "in use");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn errors_name_the_address() {
        let first = Bound::bind(&Address::Tcp {
            host: Some("127.0.0.1".into()),
            port: 0,
        })
        .unwrap()
        .remove(0);
        let port = first.port().unwrap();
        let error = Bound::bind(&Address::Tcp {
            host: Some("127.0.0.1".into()),
            port,
        })
        .unwrap_err();
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
    }
}
