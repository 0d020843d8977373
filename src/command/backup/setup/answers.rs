//! What only a person can tell: whose key a server shows, and what lets this site in.

use jiff::Timestamp;

use crate::cli::SetupArgs;
use crate::command::backup::access::no_credentials;
use crate::command::backup::sealing;
use crate::command::site::Loaded;
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Result};
use crate::host::backup_secrets::BackupSecrets;
use crate::host::files;
use crate::host::ssh::{fingerprints, pinned_line};
use crate::name::Port;
use crate::secret::Secret;
use crate::site::backup::{Place, Target};
use crate::site::value::{HostKey, HostName};
use crate::ui::prompt::{Confirm, Prompter, Text};

/// What is to be written down of one target.
#[derive(Default)]
pub struct Answers {
    /// The line of known_hosts by which its server is known from now on.
    pub known_host: Option<String>,
    pub credentials: Option<(String, Secret)>,
    /// The content of the file that says for whom exports are sealed.
    pub recipients: Option<Vec<u8>>,
}

pub enum Asked {
    Ready(Answers),
    /// Something is missing that nobody is there to tell.
    Lacks(Failure),
}

impl Asked {
    fn known_host(line: String) -> Asked {
        Asked::Ready(Answers { known_host: Some(line), ..Answers::default() })
    }
}

/// The keys that an ssh server shows to anybody.
struct Shown {
    server: String,
    /// As known_hosts has them.
    lines: String,
    /// Kind and fingerprint of each, the best first.
    keys: Vec<(String, String)>,
}

impl Shown {
    fn pinned(&self, pin: &HostKey) -> Option<String> {
        pinned_line(&self.lines, pin)
    }

    fn listed(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(|(kind, print)| format!("{kind} {print}"))
    }
}

/// Kinds of keys in the order in which they are offered for confirmation.
const KINDS: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];

/// Asks about each target. Fails when the person leaves; what one target lacks keeps no other back.
pub fn ask<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    targets: &[Target],
    args: &SetupArgs,
) -> Result<Vec<Asked>> {
    let drops = targets.iter().filter(|target| matches!(target.place, Place::Drop { .. })).count();
    let repositories = targets.iter().filter(|target| matches!(target.place, Place::Sftp { .. })).count();
    let servers = repositories + drops;
    if args.host_key.is_some() && servers != 1 {
        return Err(Failure::usage(format!("--host-key is for one ssh target, and {servers} are meant"))
            .hint("name the target, as in `autoodoo backup setup offsite --host-key SHA256:…`"));
    }
    if !args.recipient.is_empty() && drops != 1 {
        return Err(Failure::usage(format!("--recipient is for one drop target, and {drops} are meant"))
            .hint("name the target, as in `autoodoo backup setup drop --recipient age1…`"));
    }
    let secrets = loaded.dir.backup_secrets();
    let asking = Asking { context, secrets: &secrets, args };
    targets.iter().map(|target| asking.of(loaded, target)).collect()
}

struct Asking<'a, A> {
    context: &'a Context<'a, A>,
    secrets: &'a BackupSecrets,
    args: &'a SetupArgs,
}

impl<A: Adapters> Asking<'_, A> {
    fn of(&self, loaded: &Loaded, target: &Target) -> Result<Asked> {
        match &target.place {
            Place::Local { .. } => Ok(Asked::Ready(Answers::default())),
            Place::Sftp { host, port, .. } => self.host_key(target, host, *port),
            Place::Drop { host, port, .. } => match self.host_key(target, host, *port)? {
                Asked::Ready(answers) => self.recipients(target, answers),
                lacks @ Asked::Lacks(_) => Ok(lacks),
            },
            Place::S3 { .. } | Place::Rest { .. } => {
                let known =
                    loaded.dir.backups()?.target(target).is_some_and(|found| found.repository.is_some());
                self.credentials(target, known)
            }
        }
    }

    fn prompter(&self) -> Option<&dyn Prompter> {
        let prompter = self.context.adapters.prompter();
        (prompter.is_interactive() && !self.context.cli.global.yes).then_some(prompter)
    }

    /// The key that the server shows must be the one that was confirmed, or be confirmed now: by the
    /// fingerprint on the command line or by a person. Nothing is trusted at first sight.
    fn host_key(&self, target: &Target, host: &HostName, port: Port) -> Result<Asked> {
        let shown = match self.context.adapters.ssh().host_keys(host, port) {
            Ok(lines) => {
                Shown { server: format!("{host}:{port}"), keys: in_order(fingerprints(&lines)), lines }
            }
            Err(failure) => {
                let hint = format!(
                    "is the address of target {} in autoodoo.yaml right, and the server up?",
                    target.name
                );
                return Ok(Asked::Lacks(failure.hint(hint)));
            }
        };
        if let Some(given) = &self.args.host_key {
            return Ok(shown
                .pinned(given)
                .map_or_else(|| Asked::Lacks(not_shown(&shown, given)), Asked::known_host));
        }
        let pinned = files::read_text_optional(&self.secrets.known_hosts(&target.name))?;
        let trusted = fingerprints(pinned.as_deref().unwrap_or_default());
        if shown.keys.iter().any(|key| trusted.contains(key)) {
            return Ok(Asked::Ready(Answers::default()));
        }
        self.confirmation(target, host, &shown, pinned.is_some())
    }

    /// `before`: another key was confirmed once.
    fn confirmation(&self, target: &Target, host: &HostName, shown: &Shown, before: bool) -> Result<Asked> {
        let best = shown.keys.first().and_then(|(kind, print)| Some((kind, print, print.parse().ok()?)));
        let (Some(prompter), Some((kind, print, pin))) = (self.prompter(), best) else {
            return Ok(Asked::Lacks(unconfirmed(target, shown, before)));
        };
        let explanation = format!("{}\n{COMPARE}", what_it_shows(&shown.server, kind, print, before));
        let question = format!("Is this the key of {host}?");
        let agreed = prompter.confirm(&Confirm { question, explanation, default: false })?;
        match shown.pinned(&pin).filter(|_| agreed) {
            Some(line) => Ok(Asked::known_host(line)),
            None => {
                Ok(Asked::Lacks(Failure::failed(format!("the key of {} was not confirmed", shown.server))))
            }
        }
    }

    /// Exports are sealed for these. What is in force stays, unless others are named now.
    fn recipients(&self, target: &Target, answers: Answers) -> Result<Asked> {
        let now = self.context.adapters.clock().now();
        let said = if !self.args.recipient.is_empty() {
            self.args.recipient.clone()
        } else if let (Some(prompter), true) =
            (self.prompter(), sealing::names_nobody(self.secrets, &target.name)?)
        {
            recipients(prompter, target, now)?
        } else {
            return Ok(Asked::Ready(answers));
        };
        Ok(match sealing::file_for(&said, now) {
            Ok(file) => Asked::Ready(Answers { recipients: Some(file), ..answers }),
            Err(failure) => Asked::Lacks(failure),
        })
    }

    /// S3 has to have them; a REST server may do without, so that is asked only once.
    fn credentials(&self, target: &Target, known: bool) -> Result<Asked> {
        let needed = matches!(target.place, Place::S3 { .. });
        let have = match self.secrets.credentials(&target.name) {
            Ok(have) => have.is_some(),
            Err(failure) => return Ok(Asked::Lacks(failure)),
        };
        if have || known && !needed {
            return Ok(Asked::Ready(Answers::default()));
        }
        let Some(prompter) = self.prompter() else {
            let lacks = needed.then(|| Asked::Lacks(no_credentials(self.secrets, target)));
            return Ok(lacks.unwrap_or_else(|| Asked::Ready(Answers::default())));
        };
        let credentials = if needed { s3(prompter, target)? } else { rest(prompter, target)? };
        Ok(Asked::Ready(Answers { credentials, ..Answers::default() }))
    }
}

fn s3(prompter: &dyn Prompter, target: &Target) -> Result<Option<(String, Secret)>> {
    let explanation =
        format!("Of target {}, {}; the secret key is asked next and not shown.", target.name, target.place);
    let user = one_line(prompter, "Access key", explanation, None)?;
    Ok(Some((user, prompter.password("Secret key")?)))
}

fn rest(prompter: &dyn Prompter, target: &Target) -> Result<Option<(String, Secret)>> {
    let explanation =
        format!("Of target {}, {}; `none` where the server asks for none.", target.name, target.place);
    let user = one_line(prompter, "User", explanation, Some("none".to_owned()))?;
    if user == "none" {
        return Ok(None);
    }
    Ok(Some((user, prompter.password("Password")?)))
}

/// As many as there are.
fn recipients(prompter: &dyn Prompter, target: &Target, now: Timestamp) -> Result<Vec<String>> {
    let mut said: Vec<String> = Vec::new();
    loop {
        let (question, explanation, default) = match said.len() {
            0 => ("Recipient", format!("Exports to target {} are sealed. {RECIPIENT}", target.name), None),
            _ => ("One more recipient", "`none` is the end.".to_owned(), Some(NONE.to_owned())),
        };
        let validate = |answer: &str| {
            if answer == NONE && !said.is_empty() {
                return Ok(());
            }
            let all: Vec<String> = said.iter().cloned().chain([answer.to_owned()]).collect();
            sealing::file_for(&all, now).map(drop).map_err(|failure| failure.to_string())
        };
        let answer = prompter.text(&Text {
            question: question.to_owned(),
            explanation,
            default,
            validate: &validate,
        })?;
        if answer == NONE && !said.is_empty() {
            return Ok(said);
        }
        said.push(answer);
    }
}

const NONE: &str = "none";
const RECIPIENT: &str = "Only who has the private key of a recipient opens them, so it should be in another place: a \
                         recipient of age (age1…, or an ssh public key), or the path of a file with an OpenPGP \
                         public key.";

fn one_line(
    prompter: &dyn Prompter,
    question: &str,
    explanation: String,
    default: Option<String>,
) -> Result<String> {
    let validate = |answer: &str| match answer {
        "" => Err("an answer is needed".to_owned()),
        answer if answer.contains(char::is_whitespace) => Err("it has no spaces".to_owned()),
        _ => Ok(()),
    };
    prompter.text(&Text { question: question.to_owned(), explanation, default, validate: &validate })
}

fn in_order(mut keys: Vec<(String, String)>) -> Vec<(String, String)> {
    let rank = |kind: &str| KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len());
    keys.sort_by_key(|(kind, _)| rank(kind));
    keys
}

const COMPARE: &str = "Compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on that server, \
                       or with what its provider publishes.";

fn what_it_shows(server: &str, kind: &str, print: &str, before: bool) -> String {
    if before {
        return format!(
            "{server} shows ANOTHER key than the one that was confirmed: {kind} {print}. Either the server was set \
             up anew, or somebody stands in between."
        );
    }
    format!("{server} shows this key: {kind} {print}.")
}

fn not_shown(shown: &Shown, given: &HostKey) -> Failure {
    Failure::failed(format!("{} does not show the key {given}; it shows these", shown.server))
        .evidence(shown.listed())
        .hint("either the fingerprint is not that server's, or somebody stands in between; nothing was sent to it")
}

fn unconfirmed(target: &Target, shown: &Shown, before: bool) -> Failure {
    let what = if before {
        "shows another key than the one that was confirmed; it shows these"
    } else {
        "is not known yet by its key; it shows these"
    };
    Failure::usage(format!("{} {what}", shown.server))
        .evidence(shown.listed())
        .hint(COMPARE)
        .hint(format!("then run `autoodoo backup setup {} --host-key SHA256:…`", target.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_kind_of_key_is_offered() {
        let key = |kind: &str| (kind.to_owned(), "SHA256:x".to_owned());
        let order = in_order(["ssh-dss", "ssh-rsa", "ssh-ed25519"].map(key).to_vec());
        assert_eq!(order, ["ssh-ed25519", "ssh-rsa", "ssh-dss"].map(key));
    }
}
