//! The sockets that the hub listens on: given by the service manager, or made here.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::config;
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

/// Makes sure that a socket that somebody else opened listens where the configuration could say, too.
///
/// # Errors
///
/// It can be reached from elsewhere.
pub fn is_of_this_node(socket: &TcpListener) -> Result<()> {
    let address = socket.local_addr().map_err(|e| Error::with("a listening socket", e))?;
    if config::is_of_this_node(address.ip()) {
        return Ok(());
    }
    Err(Error::new(format!(
        "the service manager gives a socket at {address}: only loopback and link-local addresses are served, the hub is for \
         this node alone; correct ListenStream of the socket unit"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_a_given_socket_that_others_reach_is_refused() {
        let open = TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(is_of_this_node(&open).unwrap_err().to_string().contains("ListenStream"));
        assert!(is_of_this_node(&TcpListener::bind("127.0.0.1:0").unwrap()).is_ok());
    }
}
