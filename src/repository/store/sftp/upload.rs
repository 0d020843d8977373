//! New files: written aside, durable, and only then named, as far as the server allows.

use std::io::SeekFrom;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use openssh_sftp_client::Error;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::File;
use tokio::io::AsyncSeekExt;

use super::super::{StoreError, StoreResult, Trouble};
use super::session::{Answer, PIECE, Session, UNDER_WAY, all, fault, is_connection, patient, under_way};

impl Session {
    /// A new file, durable, which nothing replaces and which replaces nothing.
    pub async fn write(&self, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        if !self.direct.load(Ordering::Relaxed) {
            let name = path.rsplit('/').next().unwrap_or(path);
            let aside = under_way(name);
            if let Some(file) = self.open_aside(&aside).await? {
                let written = self.write_aside(file, &aside, path, parts).await;
                if written.is_err() {
                    let _ = patient(self.files().remove_file(&aside)).await;
                }
                return written;
            }
        }
        self.write_direct(path, parts).await
    }

    /// `None` where there is no place aside and none can be made.
    async fn open_aside(&self, aside: &str) -> StoreResult<Option<File>> {
        let broken = |error: Error| fault(format!("write `{aside}`"), &error);
        match self.create_new(aside).await {
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => (),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return Err(self.failed_write(aside, 0).await);
            }
            other => return other.map(Some).map_err(broken),
        }
        match patient(self.files().create_dir(UNDER_WAY)).await {
            Err(Error::SftpError(SftpErrorKind::PermDenied, _)) => {
                self.direct.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            // Another thread may have made it.
            Ok(()) | Err(Error::SftpError(SftpErrorKind::Failure, _)) => (),
            Err(error) => return Err(broken(error)),
        }
        self.create_new(aside).await.map(Some).map_err(broken)
    }

    pub async fn create_new(&self, path: &str) -> Answer<File> {
        patient(self.sftp().options().write(true).create_new(true).open(self.path(path))).await
    }

    async fn write_aside(&self, mut file: File, aside: &str, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        let total = length_of(parts);
        self.send(&file, aside, 0, parts).await?;
        self.settle(&mut file, aside, total).await?;
        self.give_name(aside, path, total).await?;
        // The name is part of the file's own transaction in journalling file systems.
        let named = async {
            self.sync(&mut file).await?;
            patient(file.close()).await
        };
        let mut files = self.files();
        let (named, _) = tokio::join!(named, patient(files.remove_file(aside)));
        named.map_err(|error| fault(format!("finish `{path}`"), &error))
    }

    /// By a second name (link(2) never replaces) or, where there are none, by a new name.
    async fn give_name(&self, aside: &str, path: &str, total: u64) -> StoreResult<()> {
        match patient(self.files().hard_link(aside, path)).await {
            Err(error) if is_connection(&error) => return Err(fault(format!("name `{path}`"), &error)),
            Err(_) => (),
            Ok(()) => return Ok(()),
        }
        match self.length(path).await? {
            Some(length) => same_length(path, length, total),
            None => patient(self.files().rename(aside, path)).await.map_err(|error| match error {
                Error::SftpError(SftpErrorKind::NoSuchFile, _) => no_directory(path),
                error => fault(format!("name `{path}`"), &error),
            }),
        }
    }

    /// Where nothing may be renamed, a cut leaves a part under the name itself.
    pub async fn write_direct(&self, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        let total = length_of(parts);
        let file = match self.create_new(path).await {
            Ok(file) => file,
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => return Err(no_directory(path)),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return match self.length(path).await? {
                    Some(length) => same_length(path, length, total),
                    None => Err(self.failed_write(path, total).await),
                };
            }
            Err(error) => return Err(fault(format!("write `{path}`"), &error)),
        };
        self.send(&file, path, 0, parts).await?;
        self.finish(file, path, total).await
    }

    /// Writes the parts one after the other from an offset on.
    pub async fn send(&self, file: &File, path: &str, start: u64, parts: &[Bytes]) -> StoreResult<()> {
        let writes = pieces(parts).map(|(at, piece)| self.send_piece(file.clone(), start + at, piece));
        match all(writes).await {
            Ok(_) => Ok(()),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                Err(self.failed_write(path, length_of(parts)).await)
            }
            Err(error) => Err(fault(format!("write `{path}`"), &error)),
        }
    }

    async fn send_piece(&self, mut file: File, offset: u64, mut piece: Vec<Bytes>) -> Answer<()> {
        let _turn = self.window.acquire().await;
        file.seek(SeekFrom::Start(offset)).await?;
        patient(file.write_all_zero_copy(&mut piece)).await
    }

    /// The file is whole and durable when this returns.
    pub async fn finish(&self, mut file: File, path: &str, total: u64) -> StoreResult<()> {
        self.settle(&mut file, path, total).await?;
        patient(file.close()).await.map_err(|error| fault(format!("finish `{path}`"), &error))
    }

    /// The content is on the disk, and is all of it.
    async fn settle(&self, file: &mut File, path: &str, total: u64) -> StoreResult<()> {
        let (synced, length) = tokio::join!(self.sync(file), self.length(path));
        match synced {
            // A quota of a network file system may speak only now.
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return Err(self.failed_write(path, total).await);
            }
            other => other.map_err(|error| fault(format!("write `{path}`"), &error))?,
        }
        same_length(path, length?.unwrap_or(0), total)
    }

    /// fsync(2). Servers that are not OpenSSH may not offer it.
    async fn sync(&self, file: &mut File) -> Answer<()> {
        if self.sftp().support_fsync() { patient(file.sync_all()).await } else { Ok(()) }
    }

    /// The protocol has one word for all failures: whether the disk is full is asked for.
    async fn failed_write(&self, path: &str, wanted: u64) -> StoreError {
        match self.free().await {
            Ok(Some(free)) if free <= wanted => StoreError::new(
                Trouble::Full,
                format!("the server is full: {free} bytes are free, `{path}` needs {wanted}"),
            ),
            Err(error) if error.trouble == Trouble::Connection => error,
            _ => StoreError::new(
                Trouble::Full,
                format!(
                    "the server could not write `{path}` although its disk has space: \
                     a quota may be used up, or the disk may fail"
                ),
            ),
        }
    }
}

fn length_of(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// The parts in requests of at most [`PIECE`] bytes, with their offsets.
fn pieces(parts: &[Bytes]) -> impl Iterator<Item = (u64, Vec<Bytes>)> {
    let mut offset = 0;
    parts.iter().flat_map(move |part| {
        let start = offset;
        offset += part.len() as u64;
        (0..part.len())
            .step_by(PIECE)
            .map(move |at| (start + at as u64, vec![part.slice(at..part.len().min(at + PIECE))]))
    })
}

fn no_directory(path: &str) -> StoreError {
    StoreError::new(Trouble::Absent, format!("cannot write `{path}`: its directory does not exist"))
}

fn same_length(path: &str, there: u64, wanted: u64) -> StoreResult<()> {
    if there == wanted {
        return Ok(());
    }
    let message = format!(
        "`{path}` is there with {there} bytes instead of {wanted}: an upload was cut off, or somebody else \
         wrote it"
    );
    Err(StoreError::new(Trouble::Exists, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_parts_in_order() {
        let whole: Bytes = (0..3 * PIECE + 7).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
        let parts = [whole.slice(..5), Bytes::new(), whole.slice(5..2 * PIECE), whole.slice(2 * PIECE..)];
        let mut joined = Vec::new();
        for (offset, piece) in pieces(&parts) {
            assert_eq!(offset, joined.len() as u64);
            assert!(piece.iter().map(Bytes::len).sum::<usize>() <= PIECE);
            joined.extend(piece.iter().flatten());
        }
        assert!(joined == whole);
    }
}
