//! Repositories on a directory: together with the `restic` program, when they are damaged, and when
//! the process that writes them is killed. `restic` must be installed.

mod support;

mod damage;
mod kill;
mod restic;
