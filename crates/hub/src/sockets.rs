//! The sockets that the hub listens on: given by the service manager, or made here.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 512;

/// Listens at an address, also one that the machine does not have yet.
///
/// # Errors
///
/// Somebody else listens there, or this process may not.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    let wrong = |e| Error::with(format!("cannot listen at {address}"), e);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(wrong)?;
    socket.set_reuse_address(true).map_err(wrong)?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true).map_err(wrong)?;
    } else {
        socket.set_freebind_v6(true).map_err(wrong)?;
    }
    socket.bind(&address.into()).map_err(wrong)?;
    socket.listen(BACKLOG).map_err(wrong)?;
    Ok(socket.into())
}

/// Hands a socket to the runtime.
///
/// # Errors
///
/// The system refuses.
pub fn into_tokio(socket: TcpListener) -> Result<tokio::net::TcpListener> {
    let wrong = |e| Error::with("a listening socket", e);
    socket.set_nonblocking(true).map_err(wrong)?;
    tokio::net::TcpListener::from_std(socket).map_err(wrong)
}
