//! A backup as a single file: tar, zstd, and sealed for age or OpenPGP recipients, as a stream.
