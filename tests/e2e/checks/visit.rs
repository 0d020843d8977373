//! What a visitor's browser sees.

use std::process::Command;

use serde_json::json;

use crate::engine::Engine;
use crate::http::Browser;
use crate::process::run;
use crate::site::Site;

/// The status of an answer without a body, by curl's own codes for having none.
const NO_ANSWER: i32 = 52;
const TLS_REFUSED: i32 = 35;

pub fn login_page(site: &Site) {
    let browser = Browser::new(site);
    let page = browser.get("/web/login");
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("name=\"login\"") && page.body.contains("name=\"password\""));
    let assets = assets(&page.body);
    assert!(assets.iter().any(|path| path.contains(".css")), "no style sheet in {assets:?}");
    assert!(assets.iter().any(|path| path.contains(".js")), "no script in {assets:?}");
    for path in assets {
        let asset = browser.get(&path);
        assert_eq!(asset.status, 200, "{path}");
        assert!(!asset.body.is_empty(), "{path} is empty");
    }
}

/// Style sheets and scripts of a page.
pub fn assets(page: &str) -> Vec<String> {
    let attribute = |text: &str| Some(text.split_once('"')?.0.to_owned());
    let links = page.split("href=\"/").skip(1).chain(page.split("src=\"/").skip(1));
    links
        .filter_map(attribute)
        .filter(|path| path.contains(".css") || path.contains(".js"))
        .map(|path| format!("/{path}"))
        .collect()
}

pub fn other_doors(site: &Site) {
    let browser = Browser::new(site);
    let plain = browser.ask(&format!("http://{}:{}/web/login?x=1", site.domain, site.http), &[]);
    assert_eq!((plain.status, plain.location.as_str()), (301, browser.url("/web/login?x=1").as_str()));
    for path in ["/web/database/manager", "/web/database/selector", "/web/database/backup"] {
        assert_eq!(browser.get(path).status, 403, "{path}");
    }
    let stranger = format!("http://stranger.example.com:{}/", site.http);
    browser.attempt(&stranger, &[]).ends(NO_ANSWER);
    let stranger = format!("https://stranger.example.com:{}/", site.https);
    browser.attempt(&stranger, &["--insecure"]).ends(TLS_REFUSED);
}

pub fn logs_in(site: &Site) {
    let password = site.secret("admin-password");
    assert!(Browser::new(site).log_in("owner", &password).is_some(), "the owner's login is refused");
    for (login, password) in [("admin", "admin"), ("owner", "admin"), ("admin", &password), ("demo", "demo")]
    {
        assert_eq!(Browser::new(site).log_in(login, password), None, "{login} is let in");
    }
}

pub fn websocket(site: &Site) {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let answer = browser.websocket("/websocket");
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 101, "{body}");
    assert_eq!(answer.header("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
}

/// Only the evented server answers this: the others have no bus to poll. In 14 the bus must be
/// installed first; servers under way notice by themselves.
pub fn longpolling(site: &Site) {
    site.run(&["odoo", "-i", "bus", "--stop-after-init"]).ends(0);
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let peek = json!({"channels": [], "last": 0, "options": {"peek": true}});
    let answer = browser.call("/longpolling/poll", &peek);
    assert!(answer["result"]["notifications"].is_array(), "{answer}");
}

/// No finding above LOW that the script does not name with a reason. Takes minutes: on one engine.
pub fn tls_audit(site: &Site) {
    if site.engine != Engine::Docker {
        eprintln!("           on Docker only: the same nginx answers");
        return;
    }
    let mut audit = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/audit-tls"));
    audit.args([&format!("{}:{}", site.domain, site.https), "127.0.0.1"]);
    run(audit).ends(0);
}
