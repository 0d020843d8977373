//! Repositories behind a real REST server: rclone's.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use autoodoo::repository::store::http::Limits;
use autoodoo::repository::store::rest::Rest;
use autoodoo::repository::store::{Access, FileKind, Store, Trouble};
use autoodoo::secret::Secret;
use tempfile::TempDir;

use crate::certificate::server_pair;
use crate::contract::{self, content, name, trouble};
use crate::daemon::{Daemon, free_address};
use crate::fault::{Fault, Proxy, cuts_are_survived};
use crate::repository::{self, Restic};

struct Server {
    address: SocketAddr,
    root: String,
    home: TempDir,
    _process: Daemon,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        Server::start_at(tempfile::tempdir().unwrap(), options)
    }

    /// `SERVER` in an option is the directory of the server's certificate.
    fn start_at(home: TempDir, options: &[&str]) -> Server {
        let root = server_pair(home.path());
        let address = free_address();
        let mut command = Command::new("rclone");
        command.args(["serve", "restic", "--config", "/dev/null", "--addr", &address.to_string()]);
        command.args(options.iter().map(|option| option.replace("SERVER", home.path().to_str().unwrap())));
        command.arg(home.path().join("repositories")).env("RCLONE_USER", "site").env("RCLONE_PASS", "secret");
        let mut process = Daemon::logged(&mut command, &home.path().join("log"));
        process.wait_until("rclone", || TcpStream::connect(address).is_ok());
        Server { address, root, home, _process: process }
    }

    fn store(&self, path: &str) -> Rest {
        store(&format!("http://{}/{path}", self.address), Limits::default())
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join("repositories").join(path)
    }
}

fn access(user: &str, password: &str) -> Access {
    Access { credentials: Some((user.to_owned(), Secret::new(password))), ..Access::default() }
}

fn store(url: &str, limits: Limits) -> Rest {
    Rest::new(url, &access("site", "secret"), limits).unwrap()
}

#[test]
fn directories_hold_repositories() {
    let server = Server::start(&[]);
    contract::holds(&server.store("p/"));
    let store = server.store("Kunden & Läden/a b");
    contract::holds(&store);
    assert_eq!(store.location(), format!("rest:http://{}/Kunden & Läden/a b/", server.address));
    assert!(server.file("Kunden & Läden/a b/data/00").join(name(1)).is_file());
    fs::write(server.file("Kunden & Läden/a b/keys/notes.txt"), "not ours").unwrap();
    assert_eq!(store.list(FileKind::Key).unwrap(), [(name(7), 7)]);
}

#[test]
fn a_server_that_only_appends() {
    let server = Server::start(&["--append-only"]);
    let store = server.store("p/");
    store.create().unwrap();
    store.write(FileKind::Pack, &name(1), &[content(1000)]).unwrap();
    store.write(FileKind::Pack, &name(1), &[content(1000)]).unwrap();
    assert_eq!(trouble(store.write(FileKind::Pack, &name(1), &[content(999)])), Trouble::Exists);
    let error = store.remove(FileKind::Pack, &name(1)).unwrap_err();
    assert_eq!(error.trouble, Trouble::Denied);
    let wanted = format!("rest:http://{}/p/ refuses to remove `data/00/{}`: ", server.address, name(1));
    assert!(error.message.starts_with(&wanted), "{error}");
    assert_eq!(store.read(FileKind::Pack, &name(1)).unwrap(), content(1000));
}

#[test]
fn whoever_is_not_let_in_is_told_why() {
    let server = Server::start(&[]);
    let url = format!("http://{}/p/", server.address);
    let said = |access: &Access| {
        let error = Rest::new(&url, access, Limits::default()).unwrap().create().unwrap_err();
        assert_eq!(error.trouble, Trouble::Denied);
        error.message
    };
    let wanted = format!("rest:{url} refuses the user and password in the target's credentials");
    assert_eq!(said(&access("site", "wrong")), wanted);
    let wanted = format!("rest:{url} wants a user and a password: the target has no credentials");
    assert_eq!(said(&Access::default()), wanted);
}

#[test]
fn certificates_are_judged() {
    let server = Server::start(&["--cert", "SERVER/server.pem", "--key", "SERVER/server.key"]);
    let url = format!("https://{}/p/", server.address);
    let error = store(&url, Limits::default()).create().unwrap_err();
    assert_eq!(error.trouble, Trouble::Other);
    assert!(error.message.contains("is not trusted (invalid peer certificate: UnknownIssuer)"), "{error}");

    let access = Access { roots_pem: Some(server.root.clone()), ..access("site", "secret") };
    contract::holds(&Rest::new(&url, &access, Limits::default()).unwrap());
}

#[test]
fn connections_break() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address);
    let store = store(&format!("http://{}/p/", proxy.address), Limits::default());
    store.create().unwrap();
    cuts_are_survived(store, &proxy);
}

/// After a cut upload half of the file is put where it was: what it would be a moment earlier.
fn half_written(options: &[&str]) -> (Server, Rest) {
    let server = Server::start(options);
    let proxy = Proxy::start(server.address);
    let store = store(&format!("http://{}/p/", proxy.address), Limits::default());
    store.create().unwrap();
    proxy.then([Fault::CutSending(1_000_000)]);
    store.write(FileKind::Key, &name(1), &[content(3_000_000)]).unwrap_err();
    let file = server.file("p/keys").join(name(1));
    for _ in 0..500 {
        if !file.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    fs::write(&file, "half").unwrap();
    (server, store)
}

#[test]
fn what_a_cut_upload_leaves_is_no_other_file() {
    let (_server, store) = half_written(&[]);
    store.write(FileKind::Key, &name(1), &[content(3_000_000)]).unwrap();
    assert!(store.read(FileKind::Key, &name(1)).unwrap() == content(3_000_000));
    assert_eq!(trouble(store.write(FileKind::Key, &name(1), &[content(5)])), Trouble::Exists);

    let (_server, store) = half_written(&["--append-only"]);
    let error = store.write(FileKind::Key, &name(1), &[content(3_000_000)]).unwrap_err();
    assert_eq!(error.trouble, Trouble::Connection);
    let wanted = format!("still has 4 of 3000000 bytes of `keys/{}`: its upload was cut", name(1));
    assert!(error.message.ends_with(&wanted), "{error}");
}

#[test]
fn servers_are_slow_or_busy_or_full() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address);
    let limits = Limits { silence: Duration::from_secs(1), ..Limits::default() };
    let store = store(&format!("http://{}/p/", proxy.address), limits);
    let write = || store.write(FileKind::Pack, &name(1), &[content(3_000_000)]);
    let faults = [
        (Fault::Silence, Trouble::Connection, "is too slow: nothing happens for 1 s"),
        (Fault::answer("503 Busy", ""), Trouble::Connection, "HTTP status 503"),
        (Fault::answer("507 Full", ""), Trouble::Full, "has no space left to"),
        (Fault::answer("413 Too Large", "quota"), Trouble::Full, "has no space left to"),
    ];
    for (fault, trouble, words) in faults {
        proxy.then([fault]);
        let error = write().unwrap_err();
        assert_eq!(error.trouble, trouble, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    write().unwrap();
    assert_eq!(store.read(FileKind::Pack, &name(1)).unwrap(), content(3_000_000));
}

#[test]
fn connections_are_kept() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address);
    let store = store(&format!("http://{}/p/", proxy.address), Limits::default());
    store.create().unwrap();
    for number in 1..10 {
        store.write(FileKind::Pack, &name(number), &[content(100_000)]).unwrap();
        store.read(FileKind::Pack, &name(number)).unwrap();
    }
    // Of 28 requests; one that comes before the last connection is seen to be free opens another.
    assert!(proxy.connections() <= 14, "{}", proxy.connections());
}

/// A quota is refused at the head of an upload, whose rest is not read.
#[test]
fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address);
    let store = store(&format!("http://{}/p/", proxy.address), Limits::default());
    proxy.then([Fault::answer("404 Not Found", ""), Fault::answer("413 Too Large", "")]);
    assert_eq!(trouble(store.write(FileKind::Pack, &name(1), &[content(20_000_000)])), Trouble::Full);
}

#[test]
fn a_server_without_version_2_is_told_apart() {
    let proxy = Proxy::start(free_address());
    let store = store(&format!("http://{}/p/", proxy.address), Limits::default());
    proxy.then([Fault::answer("200 OK", r#"["aa"]"#)]);
    let error = store.list(FileKind::Pack).unwrap_err();
    assert_eq!(error.trouble, Trouble::Other);
    assert!(error.message.contains("no list of version 2 of the protocol"), "{error}");
}

#[test]
fn urls_that_are_none_are_refused() {
    let failure = Rest::new("backup.example.com", &Access::default(), Limits::default()).err().unwrap();
    assert_eq!(failure.message, "`backup.example.com/` is no URL of a REST server");
}

#[test]
fn whole_repositories() {
    let server = Server::start(&[]);
    let restic = Restic::at(format!("rest:http://site:secret@{}/p/", server.address));
    repository::works(&(Arc::new(server.store("p/")) as _), &restic);
    let server = Server::start(&["--append-only"]);
    repository::only_grows(&(Arc::new(server.store("p/")) as _));
}
