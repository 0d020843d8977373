//! Files that people keep in Odoo.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::http::Browser;
use crate::site::Site;

/// From 16 on Odoo leaves the sending of files to nginx (X-Accel).
const FIRST_WITH_X_ACCEL: u32 = 16;

/// Uploads as the owner; returns the attachment's number.
fn upload(browser: &Browser<'_>, name: &str, mimetype: &str, content: &[u8]) -> u64 {
    let content = BASE64_STANDARD.encode(content);
    let values = json!([{"name": name, "mimetype": mimetype, "datas": content}]);
    let created = browser.model("ir.attachment", "create", &json!([values]), &json!({}));
    created[0].as_u64().or(created.as_u64()).unwrap_or_else(|| panic!("no attachment: {created}"))
}

pub fn downloads(site: &Site) {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let content: Vec<u8> =
        (0..300_000_u32).flat_map(|number| format!("{number:07}\n").into_bytes()).collect();
    let id = upload(&browser, "e2e.csv", "text/csv", &content);
    let path = format!("/web/content/{id}?download=true");
    let whole = browser.get(&path);
    assert_eq!(whole.status, 200);
    assert!(whole.body.as_bytes() == content, "{} of {} bytes", whole.body.len(), content.len());
    assert!(whole.header("content-disposition").contains("e2e.csv"));
    assert_eq!(whole.all("x-accel-redirect"), Vec::<&str>::new(), "the place of the file is told");
    if site.release >= FIRST_WITH_X_ACCEL {
        let part = browser.ask(&browser.url(&path), &["--range", "800-815"]);
        assert_eq!((part.status, part.body.as_str()), (206, "0000100\n0000101\n"));
        assert_eq!(part.header("content-range"), format!("bytes 800-815/{}", content.len()));
    }
    let stranger = Browser::new(site).get(&path);
    assert!(!stranger.body.contains("0000100"), "a stranger may read it");
    direct(site);
}

/// The filestore itself is nobody's to ask.
fn direct(site: &Site) {
    let query = "select store_fname from ir_attachment where store_fname is not null limit 1";
    let file = site.sql(query);
    for place in ["/web/filestore", "/filestore", "/.autoodoo", "/web/filestore/.."] {
        for path in [format!("{place}/{}/{file}", site.database), format!("{place}/{file}")] {
            let browser = Browser::new(site);
            let page = browser.ask(&browser.url(&path), &["--path-as-is", "--output", "/dev/null"]);
            assert!((400..500).contains(&page.status), "{path}: {}", page.status);
        }
    }
}

const PAGE: &str = "<!doctype html><html><body><script>alert(document.cookie)</script></body></html>";
const PICTURE: &str = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(document.cookie)</script></svg>";

/// An uploaded page is shown without its scripts, or not shown at all.
pub fn no_script(site: &Site) {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    for (name, mimetype, content) in [
        ("e2e.html", "text/html", PAGE),
        ("e2e.svg", "image/svg+xml", PICTURE),
        ("e2e.xhtml", "application/xhtml+xml", PAGE),
    ] {
        let id = upload(&browser, name, mimetype, content.as_bytes());
        for path in
            [format!("/web/content/{id}"), format!("/web/content/{id}?unique=1"), format!("/web/image/{id}")]
        {
            let page = browser.get(&path);
            let kind = page.header("content-type").to_owned();
            let harmless = !["html", "svg", "xml"].iter().any(|word| kind.contains(word));
            let saved = page.header("content-disposition").starts_with("attachment");
            let policies = page.all("content-security-policy");
            let no_script = ["default-src 'none'", "script-src 'none'", "sandbox"];
            let forbidden =
                policies.iter().any(|policy| no_script.iter().any(|words| policy.contains(words)));
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{path} of {name}");
            assert!(harmless || saved || forbidden, "{path} of {name} runs scripts: {kind}, {policies:?}");
        }
    }
}
