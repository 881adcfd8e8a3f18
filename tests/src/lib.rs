//! End-to-end tests of Reductor. There is nothing to use here; see `tests/`.
