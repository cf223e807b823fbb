//! The laws of the checker.
