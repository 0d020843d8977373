//! `logs`: lines of the site's services.

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use super::external::place;
use super::site::load;
use super::{Adapters, Context};
use crate::cli::{LogsArgs, Service};
use crate::engine::{Engine, LogQuery};
use crate::failure::{Failure, Result};
use crate::observed::Labelled;
use crate::stack::spec::Role;
use crate::ui::Ui;

const CLOSED_POLL: Duration = Duration::from_millis(200);
const SERVICES: [Role; 5] = [Role::Postgres, Role::Tunnel, Role::Odoo, Role::Cron, Role::Nginx];

pub async fn cmd_logs<A: Adapters>(context: &Context<'_, A>, args: &LogsArgs) -> Result<()> {
    let loaded = load(context)?;
    let query = query(args, context.adapters.clock().now())?;
    let engine = loaded.engine(context).await?;
    let wanted = |role: Role| args.service.map_or_else(|| SERVICES.contains(&role), |s| s.role() == role);
    let mut found: Vec<_> = engine
        .containers()
        .await?
        .into_iter()
        .filter(|container| container.site_id() == Some(loaded.owner.site_id.as_str()))
        .filter(|container| container.role().is_some_and(wanted))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let (Some(Service::Postgres), Some(external)) = (args.service, &loaded.site.postgres.external) {
        return Err(Failure::usage(format!(
            "PostgreSQL at {} is not ours, nor are its log lines",
            place(external)
        )));
    }
    if found.is_empty() {
        let what = args.service.map_or("the site", service_word);
        return Err(Failure::failed(format!("{what} has no container, so there are no log lines"))
            .hint("start the site with `autoodoo up`"));
    }
    let prefix = format!("{}-", loaded.site.name);
    let several = found.len() > 1;
    let readers = found.iter().map(async |container| {
        let label = container.name.strip_prefix(&prefix).unwrap_or(&container.name);
        let mut show = |_, line: &str| {
            // What cannot be written is not worth a second error; a reader that has gone ends it all.
            let _ = if several {
                context.ui.data(&format!("{label:<9} | {line}"))
            } else {
                context.ui.data(line)
            };
        };
        engine.logs(&container.id, &query, &mut show).await
    });
    if args.follow {
        return tokio::select! {
            read = try_join_all(readers) => read.map(drop),
            () = nobody_reads(context.ui) => Ok(()),
        };
    }
    for reader in readers {
        reader.await?;
    }
    Ok(())
}

/// Resolves once the reader of our output has gone, as `head` does.
async fn nobody_reads(ui: &Ui) {
    while !ui.is_closed() {
        tokio::time::sleep(CLOSED_POLL).await;
    }
}

fn service_word(service: Service) -> &'static str {
    service.role().word()
}

fn query(args: &LogsArgs, now: Timestamp) -> Result<LogQuery> {
    let since = args.since.as_deref().map(|text| since(text, now)).transpose()?;
    Ok(LogQuery { follow: args.follow, since, tail: args.tail, timestamps: false })
}

/// A duration back from now, or a point in time; as Unix seconds.
fn since(text: &str, now: Timestamp) -> Result<i64> {
    if let Ok(duration) = text.parse::<SignedDuration>() {
        return Ok(now.as_second() - duration.abs().as_secs());
    }
    text.parse::<Timestamp>().map(Timestamp::as_second).map_err(|_| {
        Failure::usage(format!("`{text}` is no time to look back to"))
            .hint("give a duration such as `10m` or `2h`, or a time such as `2026-01-31T03:00:00Z`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_durations_and_times() {
        let now: Timestamp = "2026-01-31T03:00:00Z".parse().unwrap();
        assert_eq!(since("10m", now).unwrap(), now.as_second() - 600);
        assert_eq!(since("2h", now).unwrap(), now.as_second() - 7200);
        assert_eq!(since("2026-01-31T02:59:00Z", now).unwrap(), now.as_second() - 60);
        assert!(since("yesterday-ish", now).is_err());
    }
}
