//! What this machine is: processors, memory, routes, its name.

use std::net::Ipv4Addr;
use std::path::Path;

use super::files;
use crate::failure::Result;
use crate::stack::sizing::Capacity;
use crate::stack::spec::Subnet;

/// Processors and memory of the whole machine, not of whoever runs this program: sizes must not
/// depend on a quota of the shell or the timer that called.
pub fn capacity() -> Result<Capacity> {
    let online = files::read_text(Path::new("/sys/devices/system/cpu/online"))?;
    let cpus = processors(&online).unwrap_or(1);
    let memory_bytes = memory_total(&files::read_text(Path::new("/proc/meminfo"))?).unwrap_or(0);
    Ok(Capacity { cpus, memory_bytes })
}

/// Counts a list such as `0-3,6` (the kernel's cpulist format).
fn processors(list: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (last.parse::<u32>().ok()? + 1).checked_sub(first.parse().ok()?)
    };
    list.trim().split(',').map(count).sum()
}

/// `MemTotal` of /proc/meminfo (proc(5)) in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The /24 networks around every destination that the host has a route to.
pub fn routed() -> Result<Vec<Subnet>> {
    Ok(destinations(&files::read_text(Path::new("/proc/net/route"))?))
}

/// /proc/net/route: the destination is the second column, hexadecimal, in the machine's own byte
/// order.
fn destinations(table: &str) -> Vec<Subnet> {
    let destination = |line: &str| {
        let number = u32::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()?;
        (number != 0).then(|| Subnet::around(Ipv4Addr::from(number.to_ne_bytes())))
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
        let table = "Iface\tDestination\tGateway\neth0\t00000000\t0100A8C0\neth0\t0007D50A\t00000000\n";
        assert_eq!(destinations(table), vec![Subnet::around(Ipv4Addr::new(10, 213, 7, 1))]);
    }
}
