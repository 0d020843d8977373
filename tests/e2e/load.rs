//! Many visitors at a steady pace, whatever the site does meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use autoodoo::host::probe::{Get, HttpProbe, Probe, TlsTrust};
use tokio::task::{JoinSet, LocalSet};

use crate::site::Site;

/// Requests a second, by turns for the login page and for a picture.
const PACE: u32 = 50;
const PATHS: [&str; 2] = ["/web/login", "/base/static/img/avatar_grey.png"];
/// Longer than a visitor waits.
const PATIENCE: Duration = Duration::from_mins(1);

/// What visitors saw.
pub struct Seen {
    pub asked: usize,
    /// Why, and when the request began and failed.
    pub lost: Vec<(String, Instant, Instant)>,
}

impl Seen {
    #[track_caller]
    pub fn lost_nothing(&self) {
        let words: Vec<_> = self.lost.iter().take(3).map(|(why, ..)| why.as_str()).collect();
        assert!(self.lost.is_empty(), "lost {} of {}: {}", self.lost.len(), self.asked, words.join("; "));
        assert!(self.asked > 20, "{} requests are too few to tell", self.asked);
    }

    /// From the first request that failed until the last one did.
    pub fn outage(&self) -> Duration {
        let begun = self.lost.iter().map(|(_, begun, _)| *begun).min();
        let ended = self.lost.iter().map(|(_, _, ended)| *ended).max();
        begun.zip(ended).map(|(begun, ended)| ended - begun).unwrap_or_default()
    }
}

/// Runs `act` while fifty visitors a second come.
pub fn under_load(site: &Site, act: impl FnOnce()) -> Seen {
    under_pace(site, PACE, act)
}

/// Runs `act` while so many visitors a second come.
pub fn under_pace(site: &Site, pace: u32, act: impl FnOnce()) -> Seen {
    let over = AtomicBool::new(false);
    let (first, began) = channel();
    let questions = questions(site);
    thread::scope(|scope| {
        let visitors = scope.spawn(|| visit(&questions, pace, &over, &first));
        let _ = began.recv();
        // Whatever happens, the visitors must be told to stop.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        over.store(true, Ordering::Relaxed);
        let seen = visitors.join().expect("visitors do not panic");
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        eprintln!("           {} requests, {} lost", seen.asked, seen.lost.len());
        seen
    })
}

fn questions(site: &Site) -> Vec<Get> {
    let question = |path: &str| Get {
        connect: SocketAddr::from((Ipv4Addr::LOCALHOST, site.https)),
        tls: Some(TlsTrust::Roots(site.roots())),
        host: format!("{}:{}", site.domain, site.https),
        path: path.to_owned(),
        headers: vec![("User-Agent".to_owned(), "e2e".to_owned())],
        deadline: PATIENCE,
    };
    PATHS.map(question).to_vec()
}

/// Says `first` when the first answer is there.
fn visit(questions: &[Get], pace: u32, over: &AtomicBool, first: &Sender<()>) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut under_way = JoinSet::new();
        let mut seen = Seen { asked: 0, lost: Vec::new() };
        let mut tick = tokio::time::interval(Duration::from_secs(1) / pace);
        while !over.load(Ordering::Relaxed) {
            tick.tick().await;
            let question = questions[under_way.len() % questions.len()].clone();
            let first = first.clone();
            under_way.spawn_local(async move {
                let answer = ask(&question).await;
                let _ = first.send(());
                answer
            });
        }
        for answer in under_way.join_all().await {
            seen.asked += 1;
            seen.lost.extend(answer);
        }
        seen
    })
}

/// What went wrong.
async fn ask(question: &Get) -> Option<(String, Instant, Instant)> {
    let begun = Instant::now();
    let why = match HttpProbe.get(question).await {
        Ok(answer) if answer.status == 200 => return None,
        Ok(answer) => format!("status {}", answer.status),
        Err(error) => error.to_string(),
    };
    let ended = Instant::now();
    Some((format!("{} after {:?}: {why}", question.path, ended - begun), begun, ended))
}
