//! Hard links to the files that databases name: Odoo's collector can no longer take them away.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, linkat, mkdirat, statat};
use rustix::io::Errno;

use super::beneath::{self, Finder};
use super::named::Named;
use super::walk::Walk;
use super::{FARMS, FILESTORE};
use crate::failure::{Failure, Result};

/// The farms of one run in a volume. They go when this is dropped; [`clear`](Self::clear) says whether
/// they did.
#[derive(Debug)]
pub struct Farms {
    volume: PathBuf,
    top: OwnedFd,
    cleared: bool,
}

impl Farms {
    /// Begins anew in a volume of Odoo's, whose directory on this host this is: what a killed run left
    /// goes first.
    pub fn begin(volume: &Path) -> Result<Farms> {
        Farms::sweep(volume)?;
        let made = make(volume).map_err(|error| cannot("make", volume, &error))?;
        Ok(Farms { volume: volume.to_owned(), top: made, cleared: false })
    }

    /// Removes what a killed run left in this volume. Nothing, or no such volume, is fine.
    pub fn sweep(volume: &Path) -> Result<()> {
        match std::fs::remove_dir_all(volume.join(FARMS)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", volume, &error)),
            _ => Ok(()),
        }
    }

    /// A farm for the filestore of this database. One that has none is an empty filestore.
    pub fn farm(&self, database: &str) -> Result<Farm> {
        self.lay_out(database).map_err(|error| cannot("make", &self.volume, &error))
    }

    fn lay_out(&self, database: &str) -> io::Result<Farm> {
        let filestore = open_filestore(&self.volume, database)?;
        let farm = Arc::new(beneath::directory_made(&self.top, database)?);
        Ok(Farm {
            source: filestore.map(|filestore| Finder::new(Arc::new(filestore))),
            target: Finder::making(farm.clone()),
            top: farm,
            files: 0,
            bytes: 0,
            missing: Vec::new(),
        })
    }

    pub fn clear(mut self) -> Result<()> {
        self.cleared = true;
        Farms::sweep(&self.volume)
    }
}

impl Drop for Farms {
    fn drop(&mut self) {
        if !self.cleared {
            // Something else went wrong, which is told; the next run sweeps.
            let _ = Farms::sweep(&self.volume);
        }
    }
}

fn make(volume: &Path) -> io::Result<OwnedFd> {
    let volume = beneath::trusted(volume)?;
    // A directory of this name that somebody has put there since the sweep is refused.
    mkdirat(&volume, FARMS, Mode::RWXU)?;
    beneath::directory(&volume, FARMS)?.ok_or_else(|| ErrorKind::NotADirectory.into())
}

/// The directory of a database's attachments; `None` when it does not exist.
pub(super) fn open_filestore(volume: &Path, database: &str) -> io::Result<Option<OwnedFd>> {
    let volume = beneath::trusted(volume)?;
    let Some(all) = beneath::directory(volume, FILESTORE)? else { return Ok(None) };
    beneath::directory(all, database)
}

/// Links to the files of one database.
pub struct Farm {
    /// `None` when there is no filestore.
    source: Option<Finder>,
    target: Finder,
    top: Arc<OwnedFd>,
    /// Those that were there.
    pub files: u64,
    pub bytes: u64,
    /// Those that were not.
    pub missing: Vec<String>,
}

impl Farm {
    /// Links one file; one that is not there, is no regular file, or has a name that leads out of the
    /// filestore is [`missing`](Self::missing). Quick when names come sorted.
    pub fn plant(&mut self, named: &Named) -> Result<()> {
        match self.link(&named.name) {
            Ok(Some(size)) => {
                self.files += 1;
                self.bytes += size;
                Ok(())
            }
            Ok(None) => {
                self.missing.push(named.name.clone());
                Ok(())
            }
            Err(error) => Err(not_linked(&named.name, &error)),
        }
    }

    /// Its length; `None` when it is missing.
    fn link(&mut self, name: &str) -> io::Result<Option<u64>> {
        let (Some((above, file)), Some(source)) = (beneath::parts(name), &mut self.source) else {
            return Ok(None);
        };
        let Some(from) = source.find(above)? else { return Ok(None) };
        let stat = match statat(&*from, file, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let Some(to) = self.target.find(above)? else { return Ok(None) };
        linkat(&*from, file, &*to, file, AtFlags::empty())?;
        Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// The files that were linked, in the order of their paths. They stay readable until the farms are
    /// cleared, whatever happens in the filestore.
    pub fn walk(&self) -> io::Result<Walk> {
        Walk::new(self.top.clone())
    }
}

fn cannot(doing: &str, volume: &Path, error: &io::Error) -> Failure {
    let place = volume.join(FARMS);
    let failure = Failure::failed(format!("cannot {doing} {}", place.display())).because(error);
    match error.kind() {
        ErrorKind::PermissionDenied => failure
            .hint("run the command as the user whose engine this is; attachments are read from its volume"),
        _ => failure,
    }
}

fn not_linked(name: &str, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("cannot link the attachment {name}")).because(error);
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => failure
            .hint("a backup keeps attachments by hard links: it needs root, or a file system that has them"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    struct Volume(tempfile::TempDir);

    impl Volume {
        fn with(files: &[(&str, &str)]) -> Volume {
            let volume = Volume(tempfile::tempdir().unwrap());
            for (path, text) in files {
                volume.write(path, text);
            }
            volume
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn planted(farms: &Farms, names: &[&str]) -> Farm {
        let mut farm = farms.farm("acme").unwrap();
        for name in names {
            farm.plant(&Named { name: (*name).to_owned(), size: None }).unwrap();
        }
        farm
    }

    fn paths(farm: &Farm) -> Vec<String> {
        farm.walk().unwrap().map(|found| found.unwrap().path).collect()
    }

    #[test]
    fn exactly_what_is_named_is_linked() {
        let volume = Volume::with(&[
            ("filestore/acme/aa/a1", "one"),
            ("filestore/acme/aa/a2", "unnamed"),
            ("filestore/acme/bb/b1", "three"),
            ("filestore/other/bb/b2", "a neighbour's"),
        ]);
        let farms = Farms::begin(volume.path()).unwrap();
        let farm = planted(&farms, &["aa/a1", "aa/a3", "bb/b1", "bb/b2", "cc/c1"]);
        assert_eq!((farm.files, farm.bytes), (2, 8));
        assert_eq!(farm.missing, ["aa/a3", "bb/b2", "cc/c1"]);
        assert_eq!(paths(&farm), ["aa/a1", "bb/b1"]);
    }

    #[test]
    fn the_collector_takes_nothing_away_any_more() {
        let volume = Volume::with(&[("filestore/acme/aa/a1", "one")]);
        let farms = Farms::begin(volume.path()).unwrap();
        let farm = planted(&farms, &["aa/a1"]);
        let before = farm.walk().unwrap().next().unwrap().unwrap();
        std::fs::remove_dir_all(volume.path().join("filestore")).unwrap();
        let mut text = String::new();
        before.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        farms.clear().unwrap();
        assert!(!volume.path().join(FARMS).exists());
    }

    #[test]
    fn nothing_outside_the_filestore_is_reached() {
        let volume = Volume::with(&[("filestore/acme/aa/a1", "one"), ("secret", "key")]);
        let inside = volume.path().join("filestore/acme");
        std::os::unix::fs::symlink("../..", inside.join("out")).unwrap();
        std::os::unix::fs::symlink("../../../secret", inside.join("aa/link")).unwrap();
        let farms = Farms::begin(volume.path()).unwrap();
        let absolute = volume.path().join("secret").display().to_string();
        let names = ["../../secret", "out/secret", "aa/link", "aa", "", &absolute];
        let farm = planted(&farms, &names);
        assert_eq!((farm.files, farm.missing.len()), (0, names.len()));
        assert!(paths(&farm).is_empty());
    }

    #[test]
    fn a_filestore_that_is_a_link_is_none() {
        let volume = Volume::with(&[("elsewhere/aa/a1", "one")]);
        std::fs::create_dir(volume.path().join("filestore")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", volume.path().join("filestore/acme")).unwrap();
        let farms = Farms::begin(volume.path()).unwrap();
        assert_eq!(planted(&farms, &["aa/a1"]).missing, ["aa/a1"]);
    }

    #[test]
    fn what_a_killed_run_left_goes_first() {
        let volume = Volume::with(&[("filestore/acme/aa/a1", "one"), (".autoodoo-backup/acme/bb/b1", "old")]);
        let farms = Farms::begin(volume.path()).unwrap();
        assert_eq!(paths(&planted(&farms, &["aa/a1"])), ["aa/a1"]);
        drop(farms);
        assert!(!volume.path().join(FARMS).exists());
        Farms::sweep(volume.path()).unwrap();
    }

    #[test]
    fn links_go_when_the_run_fails() {
        let volume = Volume::with(&[("filestore/acme/aa/a1", "one")]);
        let farms = Farms::begin(volume.path()).unwrap();
        let _farm = planted(&farms, &["aa/a1"]);
        drop(farms);
        assert!(!volume.path().join(FARMS).exists());
        assert!(volume.path().join("filestore/acme/aa/a1").exists());
    }
}
