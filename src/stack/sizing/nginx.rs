//! nginx's sizes. A new value costs a reload and no interruption.

use serde::Serialize;

use super::Demand;

/// Connections of one user: a browser's requests and its websocket, and the same again from nginx
/// to Odoo, in a second tab, too, and not spread evenly over the workers.
const CONNECTIONS_PER_USER: u32 = 16;

/// With a file for each they are the files that a container's process may open.
const MOST_CONNECTIONS: u32 = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NginxSizes {
    /// `worker_processes` (ngx_core_module).
    pub worker_processes: u32,
    /// `worker_connections` of each (ngx_core_module): to clients and to Odoo together.
    pub worker_connections: u32,
    /// `worker_rlimit_nofile` of each: a connection may have a file besides its socket. The
    /// container's limit of open files must not be lower.
    pub open_files: u32,
    /// `max_size` of the cache of static files (ngx_http_proxy_module), MiB on disk.
    pub cache_mib: u32,
    /// `keys_zone` of that cache, MiB of memory; "one megabyte zone can store about 8 thousand keys".
    pub cache_keys_mib: u32,
}

pub(super) fn size(cpus: u32, demand: Demand) -> NginxSizes {
    let worker_processes = worker_processes(cpus);
    let connections = demand.users.saturating_mul(CONNECTIONS_PER_USER) / worker_processes;
    let worker_connections = connections.clamp(1024, MOST_CONNECTIONS).next_power_of_two();
    NginxSizes {
        worker_processes,
        worker_connections,
        open_files: 2 * worker_connections,
        cache_mib: demand.databases.saturating_mul(256).clamp(256, 2048),
        cache_keys_mib: demand.databases.saturating_mul(4).clamp(8, 32),
    }
}

/// One a core; more than sixteen have nothing to do before a network is full.
pub(super) fn worker_processes(cpus: u32) -> u32 {
    cpus.clamp(1, 16)
}
