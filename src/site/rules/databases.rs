//! Rules for databases beside the first: no name leads to two of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Rules;
use crate::name::{DbName, Fqdn};
use crate::site::Database;
use crate::site::draft::{DatabaseDraft, Field, Given};
use crate::site::option;
use crate::site::value::{OptionKey, OptionValue};

/// Each has two addresses of its own in the site's network.
const MOST: usize = 40;

/// What is taken by the databases before.
pub(super) struct Taken<'a> {
    pub databases: BTreeSet<&'a DbName>,
    pub names: BTreeSet<&'a Fqdn>,
}

impl Rules {
    pub(super) fn further(
        &mut self,
        drafts: &[DatabaseDraft],
        first: Option<&DbName>,
        names: impl IntoIterator<Item = Fqdn>,
    ) -> Option<Vec<Database>> {
        if drafts.len() > MOST {
            return self.conflict(Field::Key("databases"), format!("at most {MOST} further databases"));
        }
        let names: Vec<Fqdn> = names.into_iter().collect();
        let mut taken = Taken { databases: first.into_iter().collect(), names: names.iter().collect() };
        let databases: Vec<_> = drafts
            .iter()
            .enumerate()
            .map(|(index, draft)| self.further_database(index, draft, &mut taken))
            .collect();
        databases.into_iter().collect()
    }

    fn further_database<'a>(
        &mut self,
        index: usize,
        draft: &'a DatabaseDraft,
        taken: &mut Taken<'a>,
    ) -> Option<Database> {
        let name = self.required(draft.name.clone(), Field::Further(index, "name"));
        let domain = self.required(draft.domain.clone(), Field::Further(index, "domain"));
        if let Some(name) = draft.name.value()
            && !taken.databases.insert(name)
        {
            self.conflict::<()>(Field::Further(index, "name"), format!("database `{name}` is given twice"));
        }
        let hosts = draft.domain.value().map(|domain| ("domain", domain));
        let aliases = draft.aliases.iter().filter_map(Given::value).map(|alias| ("aliases", alias));
        for (key, host) in hosts.into_iter().chain(aliases) {
            if !taken.names.insert(host) {
                let why = format!("`{host}` leads to another database already");
                self.conflict::<()>(Field::Further(index, key), why);
            }
        }
        let aliases: Option<Vec<Fqdn>> =
            draft.aliases.iter().map(|alias| alias.clone().or(|| None)).collect();
        Some(Database { name: name?, domain: domain?, aliases: aliases? })
    }

    /// Lines of odoo.conf that are the user's to write.
    pub(super) fn options(
        &mut self,
        given: Vec<(OptionKey, Given<OptionValue>)>,
    ) -> Option<BTreeMap<OptionKey, OptionValue>> {
        for (key, _) in &given {
            if let Some(instead) = option::instead(key.as_str()) {
                let why = format!("autoodoo writes this line of odoo.conf itself: {instead}");
                self.conflict::<()>(Field::Option(key.clone()), why);
            }
        }
        given.into_iter().map(|(key, value)| Some((key, value.or(|| None)?))).collect()
    }
}
