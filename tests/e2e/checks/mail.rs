//! Mail that Odoo hands to the mail server of the site file, which is a small one of ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::checks::change::keeps_its_word;
use crate::checks::design;
use crate::checks::tools::no_sessions;
use crate::site::Site;

const USER: &str = "e2e@mail.example.com";
const PASSWORD: &str = "e2e-mail-password-of-24";

/// What came with one mail.
#[derive(Debug)]
struct Mail {
    user: String,
    password: String,
    from: String,
    to: Vec<String>,
    text: String,
}

/// The site's network, as a mail server on this machine sees it.
fn gateway(site: &Site) -> String {
    let front = site.engine.inspect("container", &site.container("front"));
    let network = &front["NetworkSettings"]["Networks"][site.container("net")];
    network["Gateway"].as_str().expect("an address").to_owned()
}

pub fn sends(site: &Site) {
    let listener = TcpListener::bind((gateway(site), 0)).expect("an address of this machine");
    let port = listener.local_addr().expect("an address").port();
    let (sender, mails) = channel();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(&stream, &sender)));

    site.add(&format!(
        "smtp: {{ host: {}, port: {port}, encryption: none, user: {USER}, from: site@mail.example.com }}\n",
        gateway(site)
    ));
    let mut secret = std::fs::OpenOptions::new();
    let secret =
        secret.create(true).write(true).truncate(true).mode(0o600).open(site.path("secrets/smtp-password"));
    writeln!(secret.expect("our own file"), "{PASSWORD}").expect("our own file");
    assert_eq!(keeps_its_word(site), Duration::ZERO, "the plan announces an interruption");

    // Renamed in release 19.
    let script = "\
server = env['ir.mail_server']
build = getattr(server, 'build_email', None) or server._build_email__
server.send_email(build('author@mail.example.com', ['reader@example.org'], 'e2e subject', 'e2e body'))
";
    site.run_with(&["shell"], script).ends(0);
    check(&mails);
    no_sessions(site);
    design::no_secret_told(site);
}

#[track_caller]
fn check(mails: &Receiver<Mail>) {
    let mail = mails.recv_timeout(Duration::from_secs(30)).expect("a mail");
    assert_eq!((mail.user.as_str(), mail.password.as_str()), (USER, PASSWORD));
    assert!(mail.from.contains("@mail.example.com"), "{mail:?}");
    assert_eq!(mail.to, ["reader@example.org"]);
    assert!(mail.text.contains("Subject: e2e subject") && mail.text.contains("e2e body"), "{mail:?}");
}

/// One session of SMTP (RFC 5321) with AUTH PLAIN (RFC 4954), the least that a client needs.
fn serve(stream: &TcpStream, mails: &Sender<Mail>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let answer = |text: &str| drop((&mut &*stream).write_all(format!("{text}\r\n").as_bytes()));
    let mut mail = Mail {
        user: String::new(),
        password: String::new(),
        from: String::new(),
        to: Vec::new(),
        text: String::new(),
    };
    answer("220 e2e.example.com ESMTP");
    while let Some(line) = lines.next() {
        let (verb, rest) = line.split_once([' ', ':']).unwrap_or((&line, ""));
        match verb.to_uppercase().as_str() {
            "EHLO" => answer("250-e2e.example.com\r\n250 AUTH PLAIN"),
            "AUTH" => {
                (mail.user, mail.password) = credentials(rest);
                answer("235 welcome");
            }
            "MAIL" => {
                mail.from = address(rest);
                answer("250 ok");
            }
            "RCPT" => {
                mail.to.push(address(rest));
                answer("250 ok");
            }
            "DATA" => {
                answer("354 go on");
                let text: Vec<_> = lines.by_ref().take_while(|line| line != ".").collect();
                mail.text = text.join("\n");
                answer("250 kept");
            }
            "QUIT" => {
                answer("221 bye");
                break;
            }
            _ => answer("250 ok"),
        }
    }
    if !mail.text.is_empty() {
        let _ = mails.send(mail);
    }
}

/// RFC 4616: nobody, the user and the password, apart by a zero byte.
fn credentials(rest: &str) -> (String, String) {
    let encoded = rest.split(' ').nth(1).unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    let mut parts =
        decoded.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).skip(1);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn address(rest: &str) -> String {
    let inside = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}
