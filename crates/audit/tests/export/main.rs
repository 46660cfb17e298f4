//! Records as other systems take them: each kind in each format stands in `golden/`, for people to read and for the
//! schemas' own checkers; `SLUICE_REFRESH=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

mod golden;
mod hostile;
mod samples;
mod schemas;
