//! Certificates by ACME, on good days.

use std::fs;
use std::process::Command;

use crate::certified::Certified;
use crate::checks::change;
use crate::http::Browser;
use crate::kept::while_kept;
use crate::load::under_pace;
use crate::process::{Run, run};

/// The site serves by its own CA before it asks the other one.
pub fn comes_up(certified: &Certified) {
    let site = &certified.site;
    site.run(&["up"]).ends(2).says("wants its terms agreed to").says("agree_tos: true");
    assert_eq!(site.things(), [""; 0], "something was made before the terms were agreed to");
    site.edit("agree_tos: false", "agree_tos: true");
    let counts = certified.counts_of(|| {
        let up = site.up();
        let at = |words: &str| up.err.find(words).unwrap_or_else(|| panic!("nothing says {words}: {up}"));
        let placeholder = at("record certificate local-");
        let login = at("for its login page");
        assert!(placeholder < login && login < at("order certificate for e2e-acme.example.com"), "{up}");
    });
    assert_eq!(counts, (1, 1));
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    assert_eq!(certified.show()["sha256"], certified.served());
    certified.nothing_left();
}

pub fn show(certified: &Certified) {
    let text = certified.cert("show").ends(0);
    for line in ["names     e2e-acme.example.com", "issuer    CN=Pebble Intermediate", "89 days left"] {
        assert!(text.out.contains(line), "{line}: {text}");
    }
    let shown = certified.show();
    assert_eq!(shown["mode"], "acme");
    assert_eq!(shown["key"], "EC P-256");
    assert_eq!(shown["problems"], serde_json::json!([]));
    assert_eq!(shown["served"][0]["matches"], true);
    let at = shown["renewal"]["at"].as_str().expect("a date");
    assert!(shown["renewal"]["why"].as_str().is_some_and(|why| why.starts_with("two thirds")), "{at}");
}

pub fn not_due(certified: &Certified) {
    let counts = certified.counts_of(|| {
        certified.untouched_by(|| {
            certified.cert("renew").ends(0).says("is not due").says("next renewal on");
        });
    });
    assert_eq!(counts, (0, 0));
}

/// Nobody notices: neither those who come, nor those who are there.
pub fn issue_under_load(certified: &Certified) {
    let site = &certified.site;
    let before = certified.served();
    let seen = under_pace(site, 25, || {
        while_kept(site, || {
            for _ in 0..3 {
                certified.cert("issue").ends(0).says("serves; it ends on");
            }
        })
        .was_well();
    });
    seen.lost_nothing();
    assert_ne!(certified.served(), before);
    certified.nothing_left();
}

pub fn further_name(certified: &Certified) {
    let site = &certified.site;
    let further = format!("www.{}", site.domain);
    site.edit("\naliases: []\n", &format!("\naliases: [{further}]\n"));
    let counts = certified.counts_of(|| {
        change::keeps_its_word(site);
    });
    assert_eq!(counts, (1, 1));
    let names = serde_json::json!([site.domain, further]);
    assert_eq!(certified.show()["names"], names);
    let url = format!("https://{further}:{}/web/login", site.https);
    assert_eq!(Browser::new(site).ask(&url, &[]).status, 200);
}

/// What openssl says of a handshake with these options.
fn handshake(certified: &Certified, options: &[&str]) -> Run {
    let site = &certified.site;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-connect", &format!("127.0.0.1:{}", site.https)]);
    command.args(["-servername", &site.domain, "-CAfile"]).arg(site.trusted());
    command.arg("-verify_return_error").args(options);
    run(command)
}

/// `up` brings the kind of key that the site file asks for.
pub fn kinds_of_key(certified: &Certified) {
    let site = &certified.site;
    let mut present = "p256";
    for (word, name, shown) in [("p384", "EC P-384", "ECDSA"), ("rsa2048", "RSA 2048 bits", "RSA")] {
        site.edit(&format!("\n    key_type: {present}\n"), &format!("\n    key_type: {word}\n"));
        site.up();
        assert_eq!(certified.show()["key"], name);
        handshake(certified, &[]).ends(0).says(shown).says("Verification: OK");
        present = word;
    }
    site.edit("\n    key_type: rsa2048\n", "\n    key_type: p256\n");
    site.edit("\n  profile: intermediate\n", "\n  profile: modern\n");
    site.up();
    assert_eq!(certified.show()["key"], "EC P-256");
}

pub fn modern(certified: &Certified) {
    handshake(certified, &["-tls1_3"]).ends(0).says("TLSv1.3");
    let old = handshake(certified, &["-tls1_2"]);
    assert_ne!(old.code, Some(0), "TLS 1.2 is taken: {old}");
    certified.site.edit("\n  profile: modern\n", "\n  profile: intermediate\n");
    certified.site.up();
    handshake(certified, &["-tls1_2"]).ends(0).says("TLSv1.2");
}

/// The owner's program writes into the DNS.
const HOOK: &str = r#"#!/bin/sh
set -eu
case $1 in present) verb=set-txt ;; cleanup) verb=clear-txt ;; esac
echo "$1 $2" >>"$SITE_DIR/hook.log"
curl --silent --show-error --fail --data "{\"host\":\"$2.\",\"value\":\"$3\"}" "MANAGEMENT/$verb"
"#;

pub fn wildcard(certified: &Certified) {
    let site = &certified.site;
    certified.write_program("hook", &HOOK.replace("MANAGEMENT/", &certified.names.management("")));
    let http = "\n    challenge: http-01\n";
    let dns = format!(
        "\n    challenge: dns-01\n    dns_hook: hook\n    names: [\"{0}\", \"*.{0}\"]\n",
        site.domain
    );
    site.edit(http, &dns);
    site.up();
    let wildcard = format!("*.{}", site.domain);
    assert_eq!(certified.show()["names"], serde_json::json!([site.domain, wildcard]));
    let record = format!("_acme-challenge.{}", site.domain);
    let log = site.read("hook.log");
    for change in ["present", "cleanup"] {
        assert_eq!(log.matches(&format!("{change} {record}\n")).count(), 2, "{log}");
    }
    site.edit(&dns, http);
    site.up();
    certified.nothing_left();
}

/// To the site's own CA, to the owner's files and back: each a plan like any other, and nobody is
/// sent away.
pub fn other_modes(certified: &Certified) {
    let site = &certified.site;
    let before = site.read("autoodoo.yaml");
    certified.trust_own_ca();
    certified.write_tls("self-signed");
    change::keeps_its_word(site);
    assert_eq!(certified.show()["mode"], "self-signed");
    certified.write_tls("files");
    site.run(&["up"]).ends(2).says("cert import");
    import_pfx(certified);
    fs::write(site.path("autoodoo.yaml"), before).expect("a writable site file");
    change::keeps_its_word(site);
    assert_eq!(certified.show()["mode"], "acme");
    let issuer = certified.show()["issuer"].clone();
    assert!(issuer.as_str().is_some_and(|name| name.starts_with("CN=Pebble")), "{issuer}");
}

/// A container of the sort that shops sell, with a passphrase.
fn import_pfx(certified: &Certified) {
    let site = &certified.site;
    let script = format!(
        "set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj '/CN=a shop' -days 90
openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj '/CN={0}'
printf 'subjectAltName=DNS:{0},DNS:www.{0}\nextendedKeyUsage=serverAuth\n' >ext
openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 60 -extfile ext -out leaf.pem
openssl pkcs12 -export -in leaf.pem -inkey leaf.key -certfile root.pem -passout pass:sesame -out bought.pfx
echo sesame >passphrase; echo wrong >wrong",
        site.domain
    );
    let room = tempfile::tempdir().expect("a directory");
    let mut shop = Command::new("sh");
    run({
        shop.args(["-c", &script]).current_dir(room.path());
        shop
    })
    .ends(0);
    let path = |name: &str| room.path().join(name).display().to_string();
    let import = |passphrase: &str| {
        site.run(&["cert", "import", &path("bought.pfx"), "--passphrase-file", &path(passphrase)])
    };
    certified.untouched_by(|| drop(import("wrong").ends(2).says("passphrase")));
    let shop = fs::read_to_string(room.path().join("root.pem")).expect("the shop's root");
    site.trust(&format!("{}{shop}", site.roots()));
    import("passphrase").ends(0).says("serves; it ends on");
    assert_eq!(certified.show()["mode"], "files");
    assert_eq!(certified.show()["sha256"], certified.served());
    handshake(certified, &[]).ends(0).says("Verification: OK");
}
