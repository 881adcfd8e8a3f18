//! A document model that fails in every way a test needs.
