//! Long-tailed image datasets.
