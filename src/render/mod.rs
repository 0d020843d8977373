//! From values to text: every file that the program writes for others to read.

pub mod site_file;
