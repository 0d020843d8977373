//! The sizes that were chosen for a site on this machine, and `status --sizing`, which explains them.

use std::fmt;

use serde::Serialize;

use super::site::Loaded;
use super::{Adapters, Context};
use crate::observed::EngineKind;
use crate::stack::sizing::{Capacity, Demand, Line, Sizing, explain, size, warnings};
use crate::ui::table::table;

/// The sizes and what they follow from.
pub struct Chosen {
    capacity: Capacity,
    demand: Demand,
    pub sizing: Sizing,
}

impl Chosen {
    #[must_use]
    pub fn of<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, engine: EngineKind) -> Chosen {
        let capacity = context.adapters.machine().capacity(engine, &loaded.site.limits);
        let demand = Demand::of(&loaded.site);
        Chosen { capacity, demand, sizing: size(capacity, demand) }
    }

    /// What the machine is too small for.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        warnings(self.capacity, self.demand, &self.sizing)
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    capacity: Capacity,
    demand: Demand,
    sizing: Sizing,
    lines: Vec<Line>,
    warnings: Vec<String>,
}

#[must_use]
pub fn report(loaded: &Loaded, chosen: Chosen) -> Report {
    let major = loaded.site.postgres.major;
    Report {
        lines: explain(chosen.capacity, chosen.demand, &chosen.sizing, major),
        warnings: chosen.warnings(),
        capacity: chosen.capacity,
        demand: chosen.demand,
        sizing: chosen.sizing,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row =
            |line: &Line| vec![line.part.to_owned(), line.what.clone(), line.value.clone(), line.why.clone()];
        let rows: Vec<_> = self.lines.iter().map(row).collect();
        f.write_str(&table(&["PART", "SIZE", "VALUE", "WHY"], &rows))?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "note: {warning}"))
    }
}
