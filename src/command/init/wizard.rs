//! The questions of `init`, and how each answer is held against everything said before.

use super::{Defaults, refusal, summary, to};
use crate::failure::{Failure, Result};
use crate::name::Invalid;
use crate::site::Site;
use crate::site::acme::DirectoryUrl;
use crate::site::draft::{Draft, Given};
use crate::site::release::Release;
use crate::site::value::{Flag, PostgresMajor, TlsMode, Users, version_in_tag};
use crate::ui::prompt::{Confirm, Prompter, Select, Text};

/// Puts one answer into a draft.
type Put<'a> = &'a dyn Fn(&mut Draft, &str) -> Result<(), Invalid>;

/// Asks what a draft still lacks. In the draft, [`Given::Unknown`] marks an open question.
struct Wizard<'a> {
    draft: Draft,
    defaults: &'a Defaults,
    prompter: &'a dyn Prompter,
    /// Whether it has been said how to answer and how to leave.
    begun: bool,
}

/// Asks every open question, and for agreement to what comes of the answers.
pub fn run(draft: Draft, defaults: &Defaults, prompter: &dyn Prompter) -> Result<Site> {
    Wizard { draft, defaults, prompter, begun: false }.run()
}

impl Wizard<'_> {
    fn run(mut self) -> Result<Site> {
        self.open_questions();
        self.check()?;
        self.domain()?;
        self.database()?;
        self.release()?;
        self.postgres()?;
        self.tls()?;
        self.users()?;
        self.language()?;
        self.country()?;
        self.backups()?;
        let site = self.draft.clone().into_site().map_err(|conflicts| refusal(&conflicts))?;
        self.agree(&site)?;
        Ok(site)
    }

    fn open_questions(&mut self) {
        let draft = &mut self.draft;
        open(&mut draft.domain);
        open(&mut draft.database);
        open(&mut draft.users);
        open(&mut draft.language);
        open(&mut draft.country);
        if draft.odoo_image.value().and_then(version_in_tag).is_none() {
            open(&mut draft.odoo_release);
        }
        if draft.postgres_image.value().and_then(version_in_tag).is_none() {
            open(&mut draft.postgres_major);
        }
        open(&mut draft.tls_mode);
        if !matches!(draft.tls_mode.value(), Some(TlsMode::SelfSigned | TlsMode::Acme)) {
            open(&mut draft.tls_certificate);
            open(&mut draft.tls_key);
        }
        if !matches!(draft.tls_mode.value(), Some(TlsMode::SelfSigned | TlsMode::Files)) {
            open(&mut draft.acme.email);
            open(&mut draft.acme.agreed);
        }
    }

    /// Flags that do not fit together are told before the first question.
    fn check(&self) -> Result<()> {
        match self.draft.conflicts().as_slice() {
            [] => Ok(()),
            conflicts => Err(refusal(conflicts)),
        }
    }

    fn domain(&mut self) -> Result<()> {
        if !self.draft.domain.is_unknown() {
            return Ok(());
        }
        let explanation = "The name that people type into the browser; it has to lead to this machine.";
        let default = self.defaults.domain.to_string();
        self.text("Domain", explanation, Some(default), &|draft, answer| {
            draft.domain = Given::Value(answer.parse()?);
            Ok(())
        })
    }

    fn database(&mut self) -> Result<()> {
        if !self.draft.database.is_unknown() {
            return Ok(());
        }
        let explanation = "The database in PostgreSQL that holds everything the company enters.";
        let default = Draft { database: Given::Absent, ..self.draft.clone() }.database();
        self.text("Database", explanation, default.map(|name| name.to_string()), &|draft, answer| {
            draft.database = Given::Value(answer.parse()?);
            Ok(())
        })
    }

    fn release(&mut self) -> Result<()> {
        if !self.draft.odoo_release.is_unknown() {
            return Ok(());
        }
        let explanation =
            "The newest release is the best start; an older one suits data and addons made for it.";
        let items = Release::all().rev().map(|release| (format!("Odoo {release}"), release));
        self.select("Odoo release", explanation, items, |draft, release| {
            draft.odoo_release = Given::Value(release);
        })
    }

    fn postgres(&mut self) -> Result<()> {
        let (true, Some(release)) = (self.draft.postgres_major.is_unknown(), self.draft.release()) else {
            return Ok(());
        };
        let explanation = format!("Majors of PostgreSQL that fit Odoo {release}, the best first.");
        let majors = release.fitting_postgres().iter().filter_map(|major| PostgresMajor::new(*major).ok());
        let items = majors.map(|major| (format!("PostgreSQL {major}"), major));
        self.select("PostgreSQL", &explanation, items, |draft, major| {
            draft.postgres_major = Given::Value(major);
        })
    }

    fn tls(&mut self) -> Result<()> {
        if self.draft.tls_mode.is_unknown() {
            let explanation = "Let's Encrypt certifies a name that leads here from the internet, for nothing and for \
                               good. A local CA works at once, and browsers have to be told to trust it; own files \
                               hold a certificate that you have already.";
            let modes = [
                ("local CA", TlsMode::SelfSigned),
                ("Let's Encrypt", TlsMode::Acme),
                ("own files", TlsMode::Files),
            ];
            let items = modes.map(|(item, mode)| (item.to_owned(), mode));
            self.select("Certificate", explanation, items, |draft, mode| {
                draft.tls_mode = Given::Value(mode);
                if mode != TlsMode::Files {
                    close(&mut draft.tls_certificate);
                    close(&mut draft.tls_key);
                }
                if mode != TlsMode::Acme {
                    close(&mut draft.acme.email);
                    close(&mut draft.acme.agreed);
                }
            })?;
        }
        self.tls_files()?;
        self.acme()
    }

    fn acme(&mut self) -> Result<()> {
        if self.draft.acme.email.is_unknown() {
            let explanation = "Where the CA writes before a certificate ends. `none` leaves it out.";
            self.text("E-mail for the CA", explanation, Some("none".to_owned()), &|draft, answer| {
                let none = answer.eq_ignore_ascii_case("none");
                draft.acme.email = if none { Given::Absent } else { Given::Value(answer.parse()?) };
                Ok(())
            })?;
        }
        if self.draft.acme.agreed.is_unknown() {
            let explanation = self.explained(&terms(self.draft.acme.directory.value()));
            let question = "Do you agree to the CA's terms of service?".to_owned();
            let agreed = self.prompter.confirm(&Confirm { question, explanation, default: false })?;
            if !agreed {
                return Err(Failure::failed(
                    "without its terms the CA certifies nothing; nothing was written",
                ));
            }
            self.draft.acme.agreed = Given::Value(Flag(true));
        }
        Ok(())
    }

    fn tls_files(&mut self) -> Result<()> {
        if self.draft.tls_certificate.is_unknown() {
            let explanation =
                "The certificate and its chain in PEM; a relative path starts at the site directory.";
            self.text("Certificate file", explanation, None, &|draft, answer| {
                draft.tls_certificate = Given::Value(answer.parse()?);
                Ok(())
            })?;
        }
        if self.draft.tls_key.is_unknown() {
            let explanation = "The certificate's key in PEM, without a passphrase.";
            self.text("Key file", explanation, None, &|draft, answer| {
                draft.tls_key = Given::Value(answer.parse()?);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn users(&mut self) -> Result<()> {
        if !self.draft.users.is_unknown() {
            return Ok(());
        }
        let explanation = format!(
            "How many people work with Odoo at the same time of day; this machine serves about {}.",
            self.defaults.served
        );
        let default = Users::DEFAULT.get().to_string();
        self.text("Users", &explanation, Some(default), &|draft, answer| {
            draft.users = Given::Value(answer.parse()?);
            Ok(())
        })
    }

    fn language(&mut self) -> Result<()> {
        if !self.draft.language.is_unknown() {
            return Ok(());
        }
        let explanation = "The first user's language as Odoo writes it, such as en_US, fr_FR or de_DE.";
        let default = self.defaults.language.to_string();
        self.text("Language", explanation, Some(default), &|draft, answer| {
            draft.language = Given::Value(answer.parse()?);
            Ok(())
        })
    }

    fn country(&mut self) -> Result<()> {
        if !self.draft.country.is_unknown() {
            return Ok(());
        }
        let explanation = "The company's country in two letters: it decides the currency and the time zone. `none` leaves \
                           it open.";
        let default = self.defaults.country.as_ref().map_or("none".to_owned(), ToString::to_string);
        self.text("Country", explanation, Some(default), &|draft, answer| {
            let none = answer.eq_ignore_ascii_case("none");
            draft.country = if none { Given::Absent } else { Given::Value(answer.parse()?) };
            Ok(())
        })
    }

    fn backups(&mut self) -> Result<()> {
        if !self.draft.backup.to.is_empty() {
            return Ok(());
        }
        self.target(
            "Backup to",
            "Where backups go, encrypted: a path such as /srv/backup, or a URL such as \
             sftp://user@backup.example.com/odoo, s3://s3.example.com/bucket or rest:https://backup.example.com/odoo. \
             `none` leaves it open, and nothing is backed up until autoodoo.yaml names a place.",
        )?;
        if self.draft.backup.to.is_empty() {
            return Ok(());
        }
        self.target(
            "Second place",
            "A fire, a thief or an intruder takes this server and a backup beside it together: have a second one \
             elsewhere. `none` leaves it out.",
        )
    }

    fn target(&mut self, question: &str, explanation: &str) -> Result<()> {
        self.text(question, explanation, Some("none".to_owned()), &|draft, answer| {
            if !answer.eq_ignore_ascii_case("none") {
                draft.backup.to.push(to(answer.parse()?));
            }
            Ok(())
        })
    }

    fn agree(&mut self, site: &Site) -> Result<()> {
        let question = "Write this site?".to_owned();
        let explanation = self.explained(&summary(site));
        if self.prompter.confirm(&Confirm { question, explanation, default: true })? {
            return Ok(());
        }
        Err(Failure::failed("the site was not agreed to; nothing was written"))
    }

    /// Asks until an answer is valid and fits everything said before.
    fn text(&mut self, question: &str, explanation: &str, default: Option<String>, put: Put) -> Result<()> {
        let explanation = self.explained(explanation);
        let fits = |answer: &str| answered(&self.draft, put, answer);
        let validate = |answer: &str| fits(answer).map(drop);
        let text = Text { question: question.to_owned(), explanation, default, validate: &validate };
        let answer = self.prompter.text(&text)?;
        self.draft = fits(&answer).map_err(Failure::usage)?;
        Ok(())
    }

    /// Offers the items that fit everything said before.
    fn select<T: Clone>(
        &mut self,
        question: &str,
        explanation: &str,
        items: impl IntoIterator<Item = (String, T)>,
        put: fn(&mut Draft, T),
    ) -> Result<()> {
        let with = |value: T| {
            let mut draft = self.draft.clone();
            put(&mut draft, value);
            draft
        };
        let (items, mut drafts): (Vec<String>, Vec<Draft>) = items
            .into_iter()
            .map(|(item, value)| (item, with(value)))
            .filter(|(_, draft)| draft.conflicts().is_empty())
            .unzip();
        let explanation = self.explained(explanation);
        let chosen = self.prompter.select(&Select {
            question: question.to_owned(),
            explanation,
            items,
            default: 0,
        })?;
        self.draft = drafts.swap_remove(chosen);
        Ok(())
    }

    /// The explanation; before the first question also how to answer and how to leave.
    fn explained(&mut self, explanation: &str) -> String {
        if std::mem::replace(&mut self.begun, true) {
            return explanation.to_owned();
        }
        format!("Return takes the answer in brackets. Ctrl-C leaves and writes nothing.\n\n{explanation}")
    }
}

/// Where the terms can be read. `up` shows the address that a CA's directory gives before it orders.
fn terms(directory: Option<&DirectoryUrl>) -> String {
    match directory {
        None => "Let's Encrypt's terms of service: https://letsencrypt.org/repository/".to_owned(),
        Some(url) if url.host().ends_with("letsencrypt.org") => terms(None),
        Some(url) => format!("The terms of service are linked from {url}."),
    }
}

/// Nothing was said: to be asked.
fn open<T>(given: &mut Given<T>) {
    if given.is_absent() {
        *given = Given::Unknown;
    }
}

/// It need not be asked after all.
fn close<T>(given: &mut Given<T>) {
    if given.is_unknown() {
        *given = Given::Absent;
    }
}

/// The draft with this answer, or what is wrong with the answer.
fn answered(draft: &Draft, put: Put, answer: &str) -> Result<Draft, String> {
    let mut draft = draft.clone();
    put(&mut draft, answer).map_err(|Invalid(why)| why)?;
    match draft.conflicts().into_iter().next() {
        Some(conflict) => Err(conflict.message),
        None => Ok(draft),
    }
}
