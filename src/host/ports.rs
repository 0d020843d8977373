//! Is a TCP port free, and who has it if not.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

use listeners::{Listener, Protocol, SocketState};

use crate::failure::{Failure, Result};

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    pub pid: u32,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortUse {
    Free,
    /// By whom, where the kernel tells us: processes of other users stay hidden from those who
    /// are not root.
    Taken(Option<PortHolder>),
    /// This user may not try such a low port and nobody was seen listening on it. An engine that
    /// runs as root may still publish it.
    NotPermitted,
}

/// Looks by binding to it, which tells the truth about wildcards and both protocol families, and
/// lets go at once. Connections in `TIME_WAIT` do not count (std sets `SO_REUSEADDR`).
///
/// A port that an engine publishes by firewall rules alone, without a listening process, looks
/// free: the engine's own list of containers has those.
///
/// Fails as bad usage when `address` is not one of this host.
pub fn port_use(address: IpAddr, port: u16) -> Result<PortUse> {
    let Err(error) = TcpListener::bind((address, port)) else { return Ok(PortUse::Free) };
    match error.kind() {
        ErrorKind::AddrInUse => Ok(PortUse::Taken(listener_on(address, port))),
        ErrorKind::PermissionDenied => Ok(match listener_on(address, port) {
            None => PortUse::NotPermitted,
            holder => PortUse::Taken(holder),
        }),
        ErrorKind::AddrNotAvailable => {
            Err(Failure::usage(format!("{address} is not an address of this host"))
                .hint("`ip address` lists the addresses; 0.0.0.0 stands for all of them"))
        }
        _ => Err(Failure::failed(format!("cannot try port {port} of {address}")).because(error)),
    }
}

fn listener_on(address: IpAddr, port: u16) -> Option<PortHolder> {
    // Who it is only helps the message; not to know is no reason to fail.
    let all = listeners::get_all().ok()?;
    let mut found: Vec<_> =
        all.into_iter().filter(|listener| stands_in_the_way(listener, address, port)).collect();
    // Forked servers share a socket: the first process is the one to name.
    found.sort_by_key(|listener| listener.process.pid);
    let process = found.into_iter().next()?.process;
    Some(PortHolder { pid: process.pid, name: process.name })
}

fn stands_in_the_way(listener: &Listener, address: IpAddr, port: u16) -> bool {
    let theirs = listener.socket.ip();
    listener.protocol == Protocol::TCP
        && listener.state == SocketState::Listen
        && listener.socket.port() == port
        && (theirs == address || theirs.is_unspecified() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::failure::Kind;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_names_its_process() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [LOOPBACK, IpAddr::V4(Ipv4Addr::UNSPECIFIED)] {
            match port_use(address, port).unwrap() {
                PortUse::Taken(Some(holder)) => assert_eq!(holder.pid, std::process::id()),
                other => panic!("{other:?}"),
            }
        }
        drop(listener);
        assert_eq!(port_use(LOOPBACK, port).unwrap(), PortUse::Free);
    }

    #[test]
    fn a_connection_that_was_just_closed_does_not_matter() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        drop(listener.accept().unwrap()); // the server closes first: its side goes to TIME_WAIT
        drop(client);
        drop(listener);
        assert_eq!(port_use(LOOPBACK, address.port()).unwrap(), PortUse::Free);
    }

    #[test]
    fn an_address_of_another_host_is_bad_usage() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(port_use(elsewhere, 4443).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn wildcards_are_in_the_way_of_every_address() {
        let listener = |ip: IpAddr| Listener {
            process: listeners::Process { pid: 1, name: "nginx".into(), path: String::new() },
            socket: (ip, 443).into(),
            protocol: Protocol::TCP,
            state: SocketState::Listen,
        };
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let table = [
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), LOOPBACK, true),
            (other, IpAddr::V4(Ipv4Addr::UNSPECIFIED), true),
            (other, LOOPBACK, false),
            (other, other, true),
        ];
        for (theirs, ours, expected) in table {
            assert_eq!(stands_in_the_way(&listener(theirs), ours, 443), expected, "{theirs} {ours}");
        }
        assert!(!stands_in_the_way(&listener(LOOPBACK), LOOPBACK, 80));
    }
}
