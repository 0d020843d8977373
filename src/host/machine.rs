//! What this machine is: processors, memory, routes, its name.

use std::net::Ipv4Addr;
use std::path::Path;

use super::files;
use crate::failure::Result;
use crate::stack::sizing::Capacity;
use crate::stack::spec::UsedNetwork;

/// Processors and memory of the whole machine, not of whoever runs this program: sizes must not
/// depend on a quota of the shell or the timer that called.
pub fn capacity() -> Result<Capacity> {
    let online = files::read_text(Path::new("/sys/devices/system/cpu/online"))?;
    let cpus = processors(&online).unwrap_or(1);
    let memory_bytes = memory_total(&files::read_text(Path::new("/proc/meminfo"))?).unwrap_or(0);
    Ok(Capacity { cpus, memory_bytes })
}

/// Counts a list such as `0-3,6` (the kernel's cpulist format).
fn processors(cpulist: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (last.parse::<u32>().ok()? + 1).checked_sub(first.parse().ok()?)
    };
    cpulist.trim().split(',').map(count).sum()
}

/// `MemTotal` of /proc/meminfo (proc(5)) in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Every network that the host has a route to, but for the default route.
pub fn routed() -> Result<Vec<UsedNetwork>> {
    Ok(destinations(&files::read_text(Path::new("/proc/net/route"))?))
}

/// /proc/net/route: destination and mask are the second and eighth column, hexadecimal, in the
/// machine's own byte order.
fn destinations(table: &str) -> Vec<UsedNetwork> {
    let destination = |line: &str| {
        let mut fields = line.split_whitespace();
        let base = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
        let mask = u32::from_str_radix(fields.nth(5)?, 16).ok()?;
        let network = UsedNetwork::new(Ipv4Addr::from(base.to_ne_bytes()), mask.count_ones())?;
        (mask != 0).then_some(network)
    };
    table.lines().skip(1).filter_map(destination).collect()
}

/// The host's name, when it is a name with a domain.
#[must_use]
pub fn fqdn() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.contains('.').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted() {
        assert_eq!(processors("0-3,6\n"), Some(5));
        assert_eq!(processors("0"), Some(1));
        assert_eq!(processors(""), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2048 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_name_their_networks() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n\
                     eth0\t0000D00A\t00000000\t0001\t0\t0\t0\t0000F0FF\n";
        assert_eq!(destinations(table), [UsedNetwork::parse("10.208.0.0/12").unwrap()]);
    }
}
