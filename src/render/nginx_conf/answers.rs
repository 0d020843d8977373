//! What nginx itself has to say, to people and to programs.

use std::fmt::Write;

use super::NginxConf;
use super::server::browser_headers;

struct Answer {
    /// The name of the variable that picks its location.
    name: &'static str,
    status: u16,
    /// For programs. Odoo's own client takes 502 for a lost connection and tries again; it would
    /// believe any other answer in JSON to be Odoo's.
    program_status: u16,
    /// Seconds after which it is worth trying again.
    retry_after: Option<u32>,
    title: &'static str,
    /// English first; the language is that of the page's part (RFC 5646).
    texts: &'static [(&'static str, &'static str)],
}

const ANSWERS: [Answer; 3] = [
    Answer {
        name: "away",
        status: 503,
        program_status: 502,
        retry_after: Some(10),
        title: "Back in a moment",
        texts: &[
            ("en", "This site is being started. The page tries again by itself."),
            ("de", "Die Website wird gerade gestartet. Die Seite versucht es gleich noch einmal."),
            ("es", "El sitio se está iniciando. La página lo intentará de nuevo."),
            ("fr", "Le site est en cours de démarrage. La page va réessayer."),
            ("nl", "De website wordt gestart. De pagina probeert het zo opnieuw."),
        ],
    },
    Answer {
        name: "too_many",
        status: 429,
        program_status: 429,
        retry_after: Some(30),
        title: "Too many attempts",
        texts: &[
            ("en", "Please wait half a minute and try again."),
            ("de", "Bitte warten Sie eine halbe Minute und versuchen Sie es noch einmal."),
            ("es", "Espere medio minuto y vuelva a intentarlo."),
            ("fr", "Veuillez patienter une demi-minute et réessayer."),
            ("nl", "Wacht een halve minuut en probeer het opnieuw."),
        ],
    },
    Answer {
        name: "too_large",
        status: 413,
        program_status: 413,
        retry_after: None,
        title: "This file is too large",
        texts: &[
            ("en", "The limit is <<limit>> MB."),
            ("de", "Die Grenze liegt bei <<limit>> MB."),
            ("es", "El límite es de <<limit>> MB."),
            ("fr", "La limite est de <<limit>> Mo."),
            ("nl", "De grens is <<limit>> MB."),
        ],
    },
];

/// Picks the kind of answer: a page for browsers, JSON for programs.
pub(super) fn maps() -> String {
    let mut text = String::from(
        "    \
    # ---- What nginx says itself: a page to people, JSON to programs
    map \"$http_accept|$content_type|$uri\" $program {
        default 0;
        \"~*^[^|]*text/html\" 0;
        \"~*^[^|]*json\" 1;
        \"~*^[^|]*\\|(?:application/json|text/xml|application/xml)\" 1;
        \"~^[^|]*\\|[^|]*\\|/(?:jsonrpc|json/|xmlrpc/|websocket|longpolling)\" 1;
    }
",
    );
    for Answer { name, .. } in &ANSWERS {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "    map $program ${name} {{\n        0 @{name}_page;\n        1 @{name}_json;\n    }}\n"
        );
    }
    text.push('\n');
    text
}

pub(super) fn locations(conf: &NginxConf) -> String {
    ANSWERS.iter().map(|answer| page(answer, conf) + &json(answer, conf)).collect()
}

fn page(answer: &Answer, conf: &NginxConf) -> String {
    let limit = conf.upload_limit_mib.to_string();
    let texts = answer
        .texts
        .iter()
        .map(|(language, text)| format!("<p lang=\"{language}\">{}</p>", text.replace("<<limit>>", &limit)));
    let again = match answer.name {
        "away" => "<meta http-equiv=\"refresh\" content=\"10\">",
        _ => "",
    };
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">{again}<title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#333}}\
         p+p{{color:#666;margin:.3rem 0}}</style></head><body><h1>{title}</h1>{texts}</body></html>",
        title = answer.title,
        texts = texts.collect::<String>(),
    );
    location(answer, "page", "text/html", answer.status, &body, conf)
}

fn json(answer: &Answer, conf: &NginxConf) -> String {
    let (code, title) = (answer.program_status, answer.title);
    let body = format!("{{\"error\": {{\"code\": {code}, \"message\": \"{title}\"}}}}");
    location(answer, "json", "application/json", code, &body, conf)
}

/// The body stands between single quotes: it has none, and no `$`.
fn location(
    answer: &Answer,
    kind: &str,
    media_type: &str,
    status: u16,
    body: &str,
    conf: &NginxConf,
) -> String {
    let headers = browser_headers(conf, "            ");
    let retry = answer.retry_after.map(|s| format!("            add_header Retry-After {s} always;\n"));
    format!(
        "        \
        location @{}_{kind} {{
            default_type {media_type};
            charset utf-8;
{headers}{}            add_header Cache-Control no-store always;
            return {status} '{body}';
        }}
",
        answer.name,
        retry.unwrap_or_default()
    )
}
