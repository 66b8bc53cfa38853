//! Phishing: is a host listed, or made to look like a listed one?
pub mod compat;
pub mod distance;
