//! End-to-end tests of Reductor, with real components. There is nothing to use here; the
//! tests are in `tests/`, the guests that misbehave in `guests/`, recorded input in `data/`.
