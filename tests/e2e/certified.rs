//! A site whose certificate comes from Debian's `pebble`, which asks our nginx for the answers: its
//! validation port is the site's port for plain HTTP.

use std::cell::{RefCell, RefMut};
use std::fs;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use autoodoo::host::probe::{Get, HttpProbe, Probe, TlsTrust};
use serde_json::Value;

use crate::challtestsrv::ChallTestSrv;
use crate::pebble::{Options, Pebble};
use crate::process::Run;
use crate::proxy::Proxy;
use crate::site::{Recipe, Site};

/// Where the CA's answers lie, in the site directory.
pub const ANSWERS: &str = "generated/nginx/challenge";

pub struct Certified {
    pub site: Site,
    pub names: ChallTestSrv,
    /// In front of the CA, to say other things than it would.
    pub proxy: Proxy,
    pebble: RefCell<Pebble>,
}

impl Certified {
    pub fn begin() -> Certified {
        let recipe = Recipe::certified();
        let names = ChallTestSrv::leading_here();
        let pebble = Pebble::start(Options::new(recipe.http(), names.dns));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let proxy = runtime.block_on(Proxy::start(&pebble));
        thread::spawn(move || runtime.block_on(pending::<()>()));
        let (resolver, directory) = (names.dns.to_string(), proxy.directory.clone());
        let site = Site::init_with(
            &recipe,
            &[
                "--tls",
                "acme",
                "--acme-directory",
                &directory,
                "--acme-ca",
                "ca-server.pem",
                "--acme-email",
                "owner@example.com",
                "--acme-resolver",
                &resolver,
            ],
        );
        fs::write(site.path("ca-server.pem"), &pebble.server_root).expect("a site directory");
        site.trust(&pebble.issuing_root());
        Certified { site, names, proxy, pebble: RefCell::new(pebble) }
    }

    pub fn pebble(&self) -> RefMut<'_, Pebble> {
        self.pebble.borrow_mut()
    }

    /// Another origin in the site file, of which nothing more needs to be said.
    pub fn write_tls(&self, mode: &str) {
        let text = self.site.read("autoodoo.yaml");
        let (before, group) = text.split_once("\ntls:\n").expect("the site file has `tls:`");
        let of_group = |line: &&str| line.is_empty() || line.starts_with([' ', '#']);
        let after: Vec<_> = group.lines().skip_while(of_group).collect();
        let text = format!("{before}\ntls:\n  mode: {mode}\n{}\n", after.join("\n"));
        fs::write(self.site.path("autoodoo.yaml"), text).expect("a writable site file");
    }

    /// The CA begins anew, with other keys, and visitors believe these too.
    pub fn new_ca(&self, change: impl FnOnce(&mut Options)) {
        self.pebble().restart_with(change);
        let both = format!("{}{}", self.site.roots(), self.pebble().issuing_root());
        self.site.trust(&both);
    }

    /// Visitors believe the site's own CA too.
    pub fn trust_own_ca(&self) {
        self.site.trust(&format!("{}{}", self.site.roots(), self.site.read("ca.crt")));
    }

    /// Orders that the CA took and certificates that it issued during `act`.
    pub fn counts_of(&self, act: impl FnOnce()) -> (usize, usize) {
        let before = self.pebble().counts();
        act();
        let after = self.pebble().counts();
        (after.0 - before.0, after.1 - before.1)
    }

    #[track_caller]
    pub fn cert(&self, what: &str) -> Run {
        self.site.run(&["cert", what])
    }

    /// What `cert show` says, however it ends.
    #[track_caller]
    pub fn show(&self) -> Value {
        let shown = self.site.run(&["--json", "cert", "show"]);
        serde_json::from_str(shown.out.lines().next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{error}: {shown}"))
    }

    /// SHA-256 of the certificate that a visitor is shown.
    #[track_caller]
    pub fn served(&self) -> String {
        let get = Get {
            connect: SocketAddr::from((Ipv4Addr::LOCALHOST, self.site.https)),
            tls: Some(TlsTrust::Roots(self.site.roots())),
            host: self.site.domain.clone(),
            path: "/web/health".to_owned(),
            headers: vec![("User-Agent".to_owned(), "e2e".to_owned())],
            deadline: Duration::from_secs(30),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(HttpProbe.get(&get)).expect("an answer that visitors believe");
        answer.certificate.expect("TLS has a certificate")
    }

    /// `act` leaves the certificate that serves alone.
    #[track_caller]
    pub fn untouched_by(&self, act: impl FnOnce()) {
        let before = self.served();
        act();
        assert_eq!(self.served(), before, "another certificate serves");
        assert_eq!(self.show()["sha256"], before, "another certificate is recorded");
        self.nothing_left();
    }

    /// No answers for the CA lie about.
    #[track_caller]
    pub fn nothing_left(&self) {
        let answers = self.site.path(ANSWERS);
        let left: Vec<_> = fs::read_dir(answers).expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The directory of the pair in use.
    pub fn pair(&self) -> String {
        let state: Value = serde_json::from_str(&self.site.read("state/state.json")).expect("JSON");
        format!("secrets/tls/{}", state["certificate"].as_str().expect("a certificate is in use"))
    }

    /// A program of the owner's in the site directory.
    pub fn write_program(&self, path: &str, text: &str) {
        let path = self.site.path(path);
        fs::write(&path, text).expect("a site directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    }
}
