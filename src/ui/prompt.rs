//! Questions. A command decides what to ask and what an answer means; here it is only asked.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal};

use dialoguer::console::Term;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Result};
use crate::secret::Secret;

/// Says whether an answer will do, and if not, why.
pub type Validate<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// A question whose answer is a line of text.
pub struct Text<'a> {
    pub question: String,
    /// A line that says what the answer is for.
    pub explanation: String,
    /// What an empty answer means; without it there must be an answer.
    pub default: Option<String>,
    pub validate: Validate<'a>,
}

/// A question with a few answers to choose from.
pub struct Select {
    pub question: String,
    pub explanation: String,
    pub items: Vec<String>,
    /// The index of the answer that is taken when nothing is chosen.
    pub default: usize,
}

/// A question of yes or no.
pub struct Confirm {
    pub question: String,
    /// Shown above the question; may have several lines.
    pub explanation: String,
    pub default: bool,
}

/// Asks people. Every method fails when nobody can be asked, and when the person leaves instead
/// of answering.
pub trait Prompter {
    /// Whether anybody is there to answer.
    fn is_interactive(&self) -> bool;
    fn text(&self, text: &Text) -> Result<String>;
    /// Returns the index of the chosen item.
    fn select(&self, select: &Select) -> Result<usize>;
    fn confirm(&self, confirm: &Confirm) -> Result<bool>;
    /// Something that is not shown while it is typed.
    fn password(&self, question: &str) -> Result<Secret>;
}

/// Asks on the terminal: questions on standard error, so that standard output stays clean.
pub struct Terminal {
    term: Term,
}

impl Terminal {
    #[must_use]
    pub fn new() -> Self {
        Terminal { term: Term::stderr() }
    }

    fn begin(&self, question: &str, explanation: &str) -> Result<()> {
        if !self.is_interactive() {
            return Err(no_terminal(question));
        }
        interrupts_are_errors().map_err(|error| lost(&error))?;
        self.term.write_line(&format!("\n{explanation}")).map_err(|error| lost(&error))
    }

    /// The answer, or why there is none. A prompt that is left may have hidden the cursor.
    fn end<T>(&self, answer: dialoguer::Result<Option<T>>) -> Result<T> {
        let _ = self.term.show_cursor();
        match answer.map_err(io::Error::from) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(left()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                let _ = self.term.write_line("");
                Err(left())
            }
            Err(error) => Err(lost(&error)),
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal::new()
    }
}

impl Prompter for Terminal {
    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && self.term.is_term()
    }

    fn text(&self, text: &Text) -> Result<String> {
        self.begin(&text.question, &text.explanation)?;
        let validate = |answer: &String| (text.validate)(answer.trim());
        let mut input = dialoguer::Input::<String>::new().with_prompt(&text.question).validate_with(validate);
        if let Some(default) = &text.default {
            input = input.default(default.clone());
        }
        let answer = self.end(input.interact_text_on(&self.term).map(Some))?;
        Ok(answer.trim().to_owned())
    }

    fn select(&self, select: &Select) -> Result<usize> {
        self.begin(&select.question, &select.explanation)?;
        let prompt = dialoguer::Select::new()
            .with_prompt(&select.question)
            .items(&select.items)
            .default(select.default);
        self.end(prompt.interact_on_opt(&self.term))
    }

    fn confirm(&self, confirm: &Confirm) -> Result<bool> {
        self.begin(&confirm.question, &confirm.explanation)?;
        let prompt = dialoguer::Confirm::new().with_prompt(&confirm.question).default(confirm.default);
        self.end(prompt.interact_on_opt(&self.term))
    }

    fn password(&self, question: &str) -> Result<Secret> {
        self.begin(question, "It is not shown.")?;
        let prompt = dialoguer::Password::new().with_prompt(question).allow_empty_password(true);
        self.end(prompt.interact_on(&self.term).map(Some)).map(Secret::new)
    }
}

/// Makes Ctrl-C at a question an error of the read. While it waits for a key the terminal is raw
/// and the crate `console` turns Ctrl-C into SIGINT itself; without a handler that would end the
/// process before the terminal is put right. The handler stays for the life of the process.
fn interrupts_are_errors() -> io::Result<()> {
    if runtime::Handle::try_current().is_ok() {
        return signal(SignalKind::interrupt()).map(drop);
    }
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    signal(SignalKind::interrupt()).map(drop)
}

fn no_terminal(question: &str) -> Failure {
    Failure::usage(format!(
        "a question would have to be asked (`{question}`), but there is no terminal; give its flag or --yes"
    ))
}

fn left() -> Failure {
    Failure::failed("stopped at a question; nothing was written")
}

fn lost(error: &io::Error) -> Failure {
    Failure::failed("cannot ask on the terminal; nothing was written").because(error)
}

/// A scripted answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Return is pressed: the default.
    Default,
    /// This text is typed, or the item that reads so is chosen.
    Say(&'static str),
    Yes,
    No,
    /// Ctrl-C.
    Leave,
}

/// Answers from a script, for tests. Like a terminal it asks again after an answer that will not
/// do, which takes the next answer of the script.
#[derive(Debug)]
pub struct Scripted {
    interactive: bool,
    answers: RefCell<VecDeque<Answer>>,
    heard: RefCell<Vec<String>>,
}

impl Scripted {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = RefCell::new(answers.into_iter().collect());
        Scripted { interactive: true, answers, heard: RefCell::default() }
    }

    /// Nobody is there.
    #[must_use]
    pub fn absent() -> Self {
        Scripted { interactive: false, ..Scripted::new([]) }
    }

    /// Everything that was asked and objected, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }

    /// Answers that no question took.
    #[must_use]
    pub fn left_over(&self) -> usize {
        self.answers.borrow().len()
    }

    fn ask(&self, question: &str) -> Result<()> {
        self.heard.borrow_mut().push(question.to_owned());
        if self.interactive { Ok(()) } else { Err(no_terminal(question)) }
    }

    fn next(&self, question: &str) -> Result<Answer> {
        match self.answers.borrow_mut().pop_front() {
            Some(Answer::Leave) => Err(left()),
            Some(answer) => Ok(answer),
            None => Err(Failure::failed(format!("the script has no answer to `{question}`"))),
        }
    }

    /// Takes answers until `read` accepts one; it says why it does not.
    fn until<T>(&self, question: &str, read: impl Fn(Answer) -> Result<T, String>) -> Result<T> {
        self.ask(question)?;
        loop {
            match read(self.next(question)?) {
                Ok(value) => return Ok(value),
                Err(objection) => self.heard.borrow_mut().push(format!("! {objection}")),
            }
        }
    }
}

impl Prompter for Scripted {
    fn is_interactive(&self) -> bool {
        self.interactive
    }

    fn text(&self, text: &Text) -> Result<String> {
        self.until(&text.question, |answer| {
            let answer = match answer {
                Answer::Say(answer) => answer.to_owned(),
                _ => text.default.clone().ok_or("an answer is needed")?,
            };
            (text.validate)(&answer).map(|()| answer)
        })
    }

    fn select(&self, select: &Select) -> Result<usize> {
        self.until(&select.question, |answer| match answer {
            Answer::Say(item) => {
                select.items.iter().position(|found| found == item).ok_or(format!("no item `{item}`"))
            }
            _ => Ok(select.default),
        })
    }

    fn confirm(&self, confirm: &Confirm) -> Result<bool> {
        self.until(&confirm.question, |answer| {
            Ok(answer == Answer::Yes || answer == Answer::Default && confirm.default)
        })
    }

    fn password(&self, question: &str) -> Result<Secret> {
        self.until(question, |answer| match answer {
            Answer::Say(typed) => Ok(Secret::new(typed)),
            _ => Err("an answer is needed".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    fn name(validate: Validate<'_>) -> Text<'_> {
        Text { question: "Name".to_owned(), explanation: String::new(), default: None, validate }
    }

    #[test]
    fn nobody_is_asked_without_a_terminal() {
        // Tests run without a terminal on standard input or without one on standard error; where
        // both are terminals, there is somebody to ask.
        let terminal = Terminal::new();
        if terminal.is_interactive() {
            return;
        }
        let failure = terminal.text(&name(&|_| Ok(()))).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.message.contains("there is no terminal; give its flag or --yes"));
    }

    #[test]
    fn leaving_says_that_nothing_was_written() {
        let failure = Scripted::new([Answer::Leave]).text(&name(&|_| Ok(()))).unwrap_err();
        assert_eq!((failure.kind, failure.message.contains("nothing was written")), (Kind::Failed, true));
        let terminal = Terminal::new();
        let interrupted = io::Error::from(ErrorKind::Interrupted);
        let failure = terminal.end::<()>(Err(interrupted.into())).unwrap_err();
        assert!(failure.message.contains("nothing was written"));
        assert!(terminal.end::<()>(Ok(None)).is_err());
    }

    #[test]
    fn interrupts_become_errors_inside_and_outside_a_runtime() {
        interrupts_are_errors().unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async { interrupts_are_errors() }).unwrap();
    }

    #[test]
    fn the_script_is_asked_again_after_a_wrong_answer() {
        let script = Scripted::new([Answer::Default, Answer::Say("bad"), Answer::Say("good")]);
        let validate = |text: &str| if text == "good" { Ok(()) } else { Err("not good".to_owned()) };
        assert_eq!(script.text(&name(&validate)).unwrap(), "good");
        assert_eq!(script.heard(), ["Name", "! an answer is needed", "! not good"]);
        assert_eq!(script.left_over(), 0);
    }
}
