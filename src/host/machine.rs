//! What this machine is: processors, memory, routes, its name.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files;
use crate::failure::Result;
use crate::observed::EngineKind;
use crate::stack::spec::UsedNetwork;

/// Where each engine keeps its volumes unless it was told otherwise. Asking it would cost a tenth of
/// a second each time, and a wrong answer costs nothing but some speed.
const ENGINE_DATA: [(EngineKind, &str); 2] =
    [(EngineKind::Docker, "/var/lib/docker"), (EngineKind::Podman, "/var/lib/containers/storage")];

/// Processor cores of the whole machine. When the machine is itself a container, its share counts,
/// which shows at the root of the cgroup tree; a quota of the shell or the timer that runs this
/// program does not: sizes must not depend on who called.
pub fn cpus() -> Result<u32> {
    let online = files::read_text(Path::new("/sys/devices/system/cpu/online"))?;
    let online = processors(&online);
    let cores = cores(&online, |cpu| {
        // The second name is that of kernels before 5.3.
        ["core_cpus_list", "thread_siblings_list"]
            .iter()
            .find_map(|file| read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/{file}")))
    });
    Ok(cpu_quota().map_or(cores, |quota| quota.min(cores)).max(1))
}

/// Memory of the whole machine in bytes, or of its share as for [`cpus`].
pub fn memory_bytes() -> Result<u64> {
    let total = memory_total(&files::read_text(Path::new("/proc/meminfo"))?).unwrap_or(0);
    let limit =
        read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    // Version 2 says `max` and version 1 an absurdly high number where there is no limit.
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Ok(limit.map_or(total, |limit: u64| limit.min(total)))
}

/// The engines whose data lies on a disk that rotates. What cannot be found out counts as not
/// rotating, as does what a virtual machine says of its disks: hypervisors report rotation by default.
#[must_use]
pub fn rotating_engines() -> Vec<EngineKind> {
    if read("/proc/cpuinfo").is_some_and(|text| is_virtual(&text)) {
        return Vec::new();
    }
    let rotating = ENGINE_DATA.into_iter().filter(|(_, path)| rotates(Path::new(path)));
    rotating.map(|(engine, _)| engine).collect()
}

fn read(path: &str) -> Option<String> {
    files::read_text_optional(Path::new(path)).ok().flatten()
}

/// cpuid's bit for software that runs under a hypervisor; x86 only.
fn is_virtual(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn rotates(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let device = format!("/sys/dev/block/{major}:{minor}");
    // A partition has no queue of its own; its disk is the directory above.
    let queue = ["queue", "../queue"].iter().find_map(|queue| read(&format!("{device}/{queue}/rotational")));
    let virtual_disk =
        Path::new(&device).canonicalize().is_ok_and(|path| path.to_string_lossy().contains("/virtio"));
    !virtual_disk && queue.is_some_and(|text| text.trim() == "1")
}

/// Whole processors that the root of the cgroup tree allows.
fn cpu_quota() -> Option<u32> {
    let version_2 = read("/sys/fs/cgroup/cpu.max");
    let version_1 = || {
        let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
        Some(format!("{} {}", quota.trim(), read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?))
    };
    whole_cpus(&version_2.or_else(version_1)?)
}

/// Reads `QUOTA PERIOD` in microseconds; `max` or -1 is no quota. Parts of a processor are left out.
fn whole_cpus(text: &str) -> Option<u32> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u32, u32) = (quota.parse().ok()?, period.trim().parse().ok()?);
    quota.checked_div(period).map(|cpus| cpus.max(1))
}

/// Counts cores: threads of one core name the same list of siblings. A processor of which nothing
/// is known is a core.
fn cores(online: &[u32], siblings: impl Fn(u32) -> Option<String>) -> u32 {
    let cores: BTreeSet<String> =
        online.iter().map(|cpu| siblings(*cpu).unwrap_or_else(|| cpu.to_string())).collect();
    u32::try_from(cores.len()).unwrap_or(u32::MAX)
}

/// Reads a list such as `0-3,6` (the kernel's cpulist format).
fn processors(cpulist: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    };
    cpulist.trim().split(',').filter_map(range).flatten().collect()
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

/// Interfaces that engines and hypervisors make for their own guests.
const OF_GUESTS: [&str; 7] = ["docker", "br-", "veth", "podman", "cni", "virbr", "vnet"];

/// The addresses at which others may know this machine, and loopback; none where they cannot be had.
/// Addresses that hold on one link alone are left out, as are those towards containers.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let outward = |found: &&if_addrs::Interface| {
        !found.is_link_local() && !OF_GUESTS.iter().any(|kind| found.name.starts_with(kind))
    };
    interfaces.iter().filter(outward).map(if_addrs::Interface::ip).collect()
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
        assert_eq!(processors("0-3,6\n"), [0, 1, 2, 3, 6]);
        assert_eq!(processors("0"), [0]);
        assert!(processors("").is_empty());
    }

    #[test]
    fn threads_of_one_core_count_once() {
        let siblings = |cpu: u32| Some(format!("{},{}\n", cpu % 4, cpu % 4 + 4));
        assert_eq!(cores(&[0, 1, 2, 3, 4, 5, 6, 7], siblings), 4);
        assert_eq!(cores(&[0, 2, 4], siblings), 2);
        assert_eq!(cores(&[0, 1], |_| None), 2);
    }

    #[test]
    fn a_quota_counts_whole_processors() {
        for (text, cpus) in [
            ("max 100000\n", None),
            ("-1 100000\n", None),
            ("400000 100000\n", Some(4)),
            ("350000 100000\n", Some(3)),
            ("50000 100000\n", Some(1)),
            ("100000 0", None),
            ("", None),
        ] {
            assert_eq!(whole_cpus(text), cpus, "{text:?}");
        }
    }

    #[test]
    fn a_virtual_machine_shows_in_its_flags() {
        assert!(is_virtual("processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"));
        assert!(!is_virtual("processor\t: 0\nflags\t\t: fpu vme\n"));
        assert!(!is_virtual("Features : fp asimd\n"));
    }

    #[test]
    fn a_path_without_a_disk_does_not_rotate() {
        assert!(!rotates(Path::new("/proc")));
        assert!(!rotates(Path::new("/nowhere")));
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        assert!(cpus().unwrap() >= 1);
        assert!(memory_bytes().unwrap() > 64 << 20);
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
