use std::rc::Rc;
use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;
use crate::event::Unit;
use crate::failure::Kind;

/// A sink that can be read while somebody else holds it.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails every write.
struct Broken(ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

/// A terminal of 80 columns that remembers what was drawn, piece by piece; indicatif fills each
/// line up with spaces instead of ending it.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<String>>);

impl Screen {
    fn drawn(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        80
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().extend([text.trim_end(), "\n"]);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

struct Seen {
    ui: Ui,
    data: Shared,
    talk: Shared,
    screen: Screen,
}

fn seen(mode: Mode, verbosity: Verbosity, colour: bool) -> Seen {
    let (data, talk, screen) = (Shared::default(), Shared::default(), Screen::default());
    let bars = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    let ui = Ui::drawing_on(bars, mode, verbosity, colour, Box::new(data.clone()), Box::new(talk.clone()));
    Seen { ui, data, talk, screen }
}

fn start(ui: &Ui) {
    ui.report(Event::StepStarted {
        number: 3,
        of: 12,
        action: "create volume acme-db-1".to_owned(),
        cause: "it does not exist".to_owned(),
    });
}

fn done(ui: &Ui) {
    ui.report(Event::StepDone { number: 3, of: 12, milliseconds: 249 });
}

fn refused() -> Failure {
    Failure::new(Kind::HealthGate, "Odoo does not answer")
        .because(io::Error::other("connection refused"))
        .evidence(["first line".to_owned(), "last line\n".to_owned()])
        .hint("look at `autoodoo logs odoo`")
}

#[test]
fn a_terminal_keeps_a_line_for_each_step() {
    let seen = seen(Mode::Terminal, Verbosity::Normal, false);
    start(&seen.ui);
    done(&seen.ui);
    start(&seen.ui);
    seen.ui.note("half way");
    seen.ui.report(Event::StepFailed { number: 3, of: 12 });
    insta::assert_snapshot!(seen.talk.text(), @r"
    ✓ [3/12] create volume acme-db-1 (0.2 s)
    half way
    ✗ [3/12] create volume acme-db-1
    ");
    assert_eq!(seen.data.text(), "");
}

#[test]
fn colour_is_an_addition() {
    let seen = seen(Mode::Terminal, Verbosity::Verbose, true);
    start(&seen.ui);
    done(&seen.ui);
    seen.ui.warning("look here");
    assert_eq!(
        seen.talk.text(),
        "\x1b[32m✓\x1b[0m [3/12] create volume acme-db-1: it does not exist (0.2 s)\n\
         \x1b[33mwarning:\x1b[0m look here\n"
    );
}

#[test]
fn a_running_step_shows_what_it_does_within_80_columns() {
    const MIB: u64 = 1024 * 1024;
    let seen = seen(Mode::Terminal, Verbosity::Normal, false);
    start(&seen.ui);
    let long = "the reason is told at such a length that it would not fit into the line by any means at all";
    seen.ui.report(Event::Waiting { reason: long.to_owned(), seconds_at_most: 60 });
    redraw(&seen);
    for (total, unit) in [(Some(900 * MIB), Unit::Bytes), (None, Unit::Bytes), (Some(900), Unit::Items)] {
        seen.ui.report(Event::Progress { done: 512, total, unit, note: "a long note about it".to_owned() });
        redraw(&seen);
    }
    let drawn = seen.screen.drawn();
    for expected in ["create volume acme-db-1", "waiting: the reason", "512 B/900.00 MiB", " left", "512/900"]
    {
        assert!(drawn.contains(expected), "{expected} in {drawn}");
    }
    assert!(!drawn.contains('\x1b'), "no colour was asked for: {drawn}");
    let longest = drawn.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "{longest:?} columns: {drawn}");
}

/// Draws now; the target would otherwise leave out what comes within 50 ms of the last drawing.
fn redraw(seen: &Seen) {
    if let View::Terminal(terminal) = &seen.ui.inner.borrow().view {
        terminal.force_draw();
    }
}

#[test]
fn plain_talk_has_places_and_causes() {
    let seen = seen(Mode::Plain, Verbosity::Normal, true);
    start(&seen.ui);
    done(&seen.ui);
    seen.ui.warning("look here");
    assert_eq!(seen.talk.text(), "[3/12] create volume acme-db-1: it does not exist\nwarning: look here\n");
    assert_eq!(seen.screen.drawn(), "");
}

#[test]
fn quiet_leaves_warnings() {
    for mode in [Mode::Terminal, Mode::Plain] {
        let seen = seen(mode, Verbosity::Quiet, false);
        start(&seen.ui);
        seen.ui.report(Event::Waiting { reason: "Odoo answers".to_owned(), seconds_at_most: 60 });
        done(&seen.ui);
        seen.ui.note("nothing to do");
        seen.ui.warning("look here");
        assert_eq!(seen.talk.text(), "warning: look here\n");
    }
}

#[test]
fn json_is_an_object_a_line_on_standard_output() {
    let seen = seen(Mode::Json, Verbosity::Normal, true);
    start(&seen.ui);
    seen.ui.report(Event::Progress { done: 1, total: None, unit: Unit::Bytes, note: String::new() });
    done(&seen.ui);
    seen.ui.failure(&refused());
    insta::assert_snapshot!(seen.data.text(), @r#"
    {"event":"step-started","number":3,"of":12,"action":"create volume acme-db-1","cause":"it does not exist"}
    {"event":"progress","done":1,"total":null,"unit":"bytes","note":""}
    {"event":"step-done","number":3,"of":12,"milliseconds":249}
    {"event":"failure","kind":"health-gate","exit_code":6,"message":"Odoo does not answer","causes":["connection refused"],"evidence":["first line","last line\n"],"hints":["look at `autoodoo logs odoo`"]}
    "#);
    assert_eq!(seen.talk.text(), "");
}

#[test]
fn a_failure_tells_what_why_and_what_to_do() {
    let seen = seen(Mode::Plain, Verbosity::Quiet, false);
    seen.ui.failure(&refused());
    seen.ui.failure(&Failure::usage("two faults:\nline 1\nline 2"));
    insta::assert_snapshot!(seen.talk.text(), @r"
    error: Odoo does not answer
      cause: connection refused
      | first line
      | last line
      try: look at `autoodoo logs odoo`
    error: two faults:
           line 1
           line 2
    ");
}

#[test]
fn a_failure_ends_the_running_step_on_the_screen() {
    let seen = seen(Mode::Terminal, Verbosity::Normal, false);
    start(&seen.ui);
    seen.ui.failure(&Failure::failed("no"));
    done(&seen.ui);
    assert_eq!(seen.talk.text(), "error: no\n");
}

#[test]
fn data_ends_with_one_newline() {
    let seen = seen(Mode::Terminal, Verbosity::Quiet, false);
    start(&seen.ui);
    seen.ui.data("one").unwrap();
    seen.ui.data("two\n").unwrap();
    assert_eq!(seen.data.text(), "one\ntwo\n");
}

#[test]
fn a_closed_pipe_is_silent_and_a_full_disk_is_not() {
    let ui = |kind| {
        let broken = Box::new(Broken(kind));
        Ui::new(Mode::Plain, Verbosity::Normal, false, broken, Box::new(Broken(ErrorKind::Other)))
    };
    let closed = ui(ErrorKind::BrokenPipe);
    assert!(!closed.is_closed());
    closed.data("lost").unwrap();
    closed.data("lost as well").unwrap();
    assert!(closed.is_closed());

    let full = ui(ErrorKind::StorageFull);
    assert_eq!(full.data("lost").unwrap_err().message, "cannot write to standard output");
    full.note("nobody hears this, and nothing breaks");
    full.failure(&refused());
}
