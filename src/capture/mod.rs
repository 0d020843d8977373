//! One consistent moment of a running site, offered as a [`Source`](crate::repository::source::Source)
//! to repositories and exports.
//!
//! For each database: session A holds Odoo's attachment collector off (`LOCK TABLE ir_attachment IN
//! ROW EXCLUSIVE MODE`), session B exports a snapshot and lists the attachments; the files are hard
//! linked; A ends; B stays until everything has been read, so that every dump is of that moment.
//!
//! Repositories read on threads of their own; the engine is asked on the program's one thread. Dumps
//! and logs pass from here to there in chunks, through channels that hold a few of them.
